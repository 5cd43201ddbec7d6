import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// 32-bit protected mode: its paging (SDM Vol. 3A §4.3, §4.4), its interrupts and privilege levels
/// (SDM Vol. 3A §6.12, §5.8).
struct SystemProtectedTests {
  private typealias Place = TestMachine.Place
  private typealias Selector = TestMachine.Selector
  private static let directory: UInt64 = 0x18000
  private static let taskState: UInt64 = 0x19000
  private static let interrupts: UInt64 = 0x1a000

  /// A machine in 32-bit protected mode at privilege level 0, without paging, with a 32-bit gate for each of
  /// the first 64 vectors.
  private func machine(_ code: [UInt8]) -> TestMachine {
    let machine = TestMachine()
    machine.cpu.pointee.efer = 0
    machine.cpu.pointee.cr0 = X86.CR0.protection | X86.CR0.extensionType | X86.CR0.numericError
    machine.cpu.pointee.cr4 = 0
    set(machine, code: Selector.kernelCode32, 0xc09b, data: Selector.kernelData, 0xc093)
    for vector in 0..<64 as Range<UInt64> {
      let handler = Place.handlers + vector * 16
      machine.write(
        handler & 0xffff | UInt64(Selector.kernelCode32) << 16 | 0xee00 << 32
          | (handler >> 16) << 48, at: Self.interrupts + vector * 8)
    }
    machine.cpu.pointee.idtr_base = Self.interrupts
    machine.cpu.pointee.idtr_limit = 0x1ff
    machine.cpu.pointee.tr_base = Self.taskState
    machine.cpu.pointee.tr_limit = 0x67
    machine.write([0, 0, 4, 0, UInt8(Selector.kernelData), 0], at: Self.taskState + 4)
    machine.core.flushTranslations(global: true)
    machine.write(code, at: Place.code)
    return machine
  }

  private func set(
    _ machine: TestMachine, code: UInt16, _ codeRights: UInt32, data: UInt16, _ dataRights: UInt32
  ) {
    machine.cpu.setSegment(
      1, selector: code, base: 0, limit: 0xffff_ffff, attributes: codeRights)
    for segment in [0, 2, 3] {
      machine.cpu.setSegment(
        segment, selector: data, base: 0, limit: 0xffff_ffff, attributes: dataRights)
    }
    machine.cpu.pointee.privilege = UInt32(code & 3)
    machine.core.modeChanged()
  }

  private func word(_ machine: TestMachine, _ depth: UInt64) -> UInt32 {
    UInt32(truncatingIfNeeded: machine.read(machine.cpu.rsp + depth * 4))
  }

  // MARK: - Paging

  @Test func `32-bit paging translates by two tables`() {
    let machine = machine([0xa1, 0x00, 0x50, 0x40, 0x00, 0xa3, 0x04, 0x50, 0x40, 0x00, 0xf4])
    // The first 4 MiB by one large page, the next by a table: 0x405000 is Place.data.
    machine.write(0x83, at: Self.directory)
    machine.write((Self.directory + 0x4000) | 3, at: Self.directory + 4)
    machine.write(Place.data | 3, at: Self.directory + 0x4000 + 5 * 4)
    machine.write(0x1234_5678, at: Place.data)
    machine.cpu.pointee.cr3 = Self.directory
    machine.cpu.pointee.cr4 = X86.CR4.pageSizeExtensions
    machine.cpu.pointee.cr0 |= X86.CR0.paging
    machine.core.flushTranslations(global: true)
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 0x1234_5678)
    #expect(machine.read(Place.data) == 0x1234_5678_1234_5678)
    #expect(machine.read(Self.directory) & 0xff == 0xa3)
    #expect(machine.read(Self.directory + 0x4014) & 0xfff == 0x63)
  }

  @Test func `PAE paging translates by three tables`() {
    let machine = machine([0xa1, 0x00, 0x50, 0x40, 0x00, 0xf4])
    machine.write((Self.directory + 0x4000) | 1, at: Self.directory)  // pointers
    for index in 0..<2 as Range<UInt64> {
      machine.write(index << 21 | 0x83, at: Self.directory + 0x4000 + index * 8)
    }
    machine.write((Self.directory + 0x5000) | 3, at: Self.directory + 0x4010)
    machine.write(Place.data | 3, at: Self.directory + 0x5000 + 5 * 8)
    machine.write(0x1234_5678, at: Place.data)
    machine.cpu.pointee.cr3 = Self.directory
    machine.cpu.pointee.cr4 = X86.CR4.physicalAddressExtension
    machine.cpu.pointee.cr0 |= X86.CR0.paging
    machine.core.reloadPageDirectoryPointers()
    machine.core.flushTranslations(global: true)
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 0x1234_5678)
  }

  @Test func `a page that is not present faults with a 32-bit frame`() {
    let machine = machine([0xa1, 0x00, 0x60, 0x40, 0x00, 0xf4])
    machine.write(0x83, at: Self.directory)
    machine.cpu.pointee.cr3 = Self.directory
    machine.cpu.pointee.cr4 = X86.CR4.pageSizeExtensions
    machine.cpu.pointee.cr0 |= X86.CR0.paging
    machine.core.flushTranslations(global: true)
    let stack = machine.cpu.rsp
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 14)
    #expect(machine.cpu.pointee.cr2 == 0x40_6000)
    #expect(machine.cpu.rsp == stack - 16)
    #expect(word(machine, 0) == 0)
    #expect(word(machine, 1) == UInt32(Place.code))
    #expect(word(machine, 2) == UInt32(Selector.kernelCode32))
  }

  // MARK: - Segments

  @Test func `an access beyond a segment's limit faults`() {
    let machine = machine([0xa1, 0xfd, 0x0f, 0x00, 0x00, 0xf4])
    machine.cpu.setSegment(3, selector: 0x18, base: Place.data, limit: 0xfff, attributes: 0x4093)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 13)
    #expect(word(machine, 0) == 0)
    machine.write([0xfc], at: Place.code + 1)
    machine.write(0x77, at: Place.data + 0xffc)
    machine.cpu.rsp = Place.kernelStack
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 0x77)
  }

  @Test func `a null segment may be loaded but not used`() {
    let machine = machine([0x31, 0xc0, 0x8e, 0xd8, 0xa1, 0, 0, 0, 0, 0xf4])
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 13)
    #expect(word(machine, 1) == UInt32(Place.code) + 4)
  }

  @Test func `a segment that grows down begins above its limit`() {
    let machine = machine([0xa1, 0xff, 0x0f, 0x00, 0x00, 0xf4])
    machine.cpu.setSegment(3, selector: 0x18, base: Place.data, limit: 0xfff, attributes: 0x4097)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 13)
    machine.write([0x00, 0x10], at: Place.code + 1)
    machine.write(0x99, at: Place.data + 0x1000)
    machine.cpu.rsp = Place.kernelStack
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 0x99)
  }

  // MARK: - Privilege levels

  @Test func `an interrupt takes the stack of the task state, and IRET gives it back`() {
    let machine = machine([0xcd, 0x30, 0xcd, 0x31])
    machine.write([0x40, 0xcf], at: Place.handlers + 0x300)  // inc eax; iret
    set(machine, code: Selector.userCode32, 0xc0fb, data: Selector.userData, 0xc0f3)
    machine.cpu.rax = 0
    machine.cpu.rsp = Place.data + 0x800
    machine.cpu.rflags = 0x202
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x31)
    #expect(machine.cpu.rax == 1)
    #expect(machine.cpu.rsp == 0x4_0000 - 20)
    #expect(machine.cpu.selector(2) == Selector.kernelData)
    #expect(
      (0..<5).map { word(machine, $0) } == [
        UInt32(Place.code) + 4, UInt32(Selector.userCode32), 0x202, UInt32(Place.data) + 0x800,
        UInt32(Selector.userData),
      ])
  }

  @Test func `IRET to a lower privilege level drops segments of the higher`() {
    // push 0x2b; push 0x200800; push 0x202; push 0x23; push user; iret
    let machine = machine([
      0x6a, 0x2b, 0x68, 0, 8, 0x20, 0, 0x68, 2, 2, 0, 0, 0x6a, 0x23, 0x68, 0x20, 0, 0x10, 0, 0xcf,
    ])
    // mov eax, ds; mov ebx, es
    machine.write([0x8c, 0xd8, 0x8c, 0xc3, 0xcd, 0x31], at: Place.code + 0x20)
    machine.cpu.setSegment(
      0, selector: Selector.userData, base: 0, limit: 0xffff_ffff, attributes: 0xc0f3)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x31)
    #expect(machine.cpu.rax & 0xffff == 0)
    #expect(machine.cpu.rbx & 0xffff == UInt64(Selector.userData))
  }

  @Test func `SYSENTER and SYSEXIT change places`() {
    let machine = machine([0x0f, 0x34])
    machine.cpu.pointee.sysenter_cs = UInt64(Selector.kernelCode)
    machine.cpu.pointee.sysenter_esp = Place.kernelStack
    machine.cpu.pointee.sysenter_eip = Place.code + 0x40
    // mov eax, cs; mov ecx, 0x200800; mov edx, code + 0x20; sysexit
    machine.write(
      [0x8c, 0xc8, 0xb9, 0, 8, 0x20, 0, 0xba, 0x20, 0, 0x10, 0, 0x0f, 0x35], at: Place.code + 0x40)
    machine.write([0x8c, 0xcb, 0xcd, 0x31], at: Place.code + 0x20)  // mov ebx, cs; int 0x31
    set(machine, code: Selector.userCode32, 0xc0fb, data: Selector.userData, 0xc0f3)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x31)
    #expect(machine.cpu.rax & 0xffff == UInt64(Selector.kernelCode))
    #expect(machine.cpu.rbx & 0xffff == UInt64(Selector.kernelCode) + 16 | 3)
    #expect(word(machine, 3) == 0x20_0800)
  }

  @Test func `virtual-8086 code runs with paragraphs and leaves by an interrupt`() {
    // The frame of IRET to virtual-8086 mode: GS FS DS ES SS ESP EFLAGS CS EIP.
    let machine = machine([0xcf])
    let frame: [UInt32] = [0, 0x1000, 0x2_3202, 0x100, 0x3000, 0x2000, 0x2100, 0, 0]
    // Code at 1000:0: mov ax, ds; mov [0], ax; int 0x31
    machine.write([0x8c, 0xd8, 0xa3, 0, 0, 0xcd, 0x31], at: 0x1_0000)
    machine.write([UInt8](repeating: 0, count: 16), at: 0x2_1000)
    var position = machine.cpu.rsp
    for value in frame {
      machine.write(SampleBuilder.bytes(UInt64(value), 4), at: position)
      position += 4
    }
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x31)
    #expect(machine.read(0x2_1000) & 0xffff == 0x2100)
    #expect(machine.cpu.pointee.privilege == 0)
    #expect(machine.cpu.rflags & X86.Flags.virtual8086 == 0)
    #expect((0..<9).map { word(machine, $0) } == [7] + frame.dropFirst())
    #expect(machine.cpu.selector(3) == 0)
  }
}
