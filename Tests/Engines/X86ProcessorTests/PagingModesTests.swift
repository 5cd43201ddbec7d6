import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// What paging has beyond its tables: registers of PAE, reserved bits, SMAP, UMIP, PCID, five levels. SDM Vol. 3A
/// chapter 4.
struct PagingModesTests {
  private typealias Place = TestMachine.Place
  private typealias ProtectedPlace = TestMachine.ProtectedPlace
  private typealias Raised = TestMachine.Raised
  private static let smap: UInt32 = 1 << 20
  private static let page: UInt64 = 0x60_0010_0000

  // MARK: - PAE

  /// PAE paging by large pages, the first two of which are mapped to themselves.
  private func paeMachine(_ code: [UInt8]) -> TestMachine {
    let machine = TestMachine.protected(code)
    for index in 0..<4 as Range<UInt64> {
      machine.write(0, at: ProtectedPlace.directory + index * 8)
    }
    machine.write((ProtectedPlace.directory + 0x4000) | 1, at: ProtectedPlace.directory)
    for index in 0..<2 as Range<UInt64> {
      machine.write(index << 21 | 0x83, at: ProtectedPlace.directory + 0x4000 + index * 8)
    }
    machine.cpu.pointee.cr3 = ProtectedPlace.directory
    machine.cpu.pointee.cr4 = X86.CR4.physicalAddressExtension
    machine.cpu.pointee.cr0 |= X86.CR0.paging
    machine.core.reloadPageDirectoryPointers()
    machine.core.flushTranslations(global: true)
    return machine
  }

  @Test func `the first table of PAE is read when CR3 is written, and not again`() {
    // mov eax, [0x40000000]: through the second pointer, which memory has and the register has not.
    let machine = paeMachine([0xa1, 0, 0, 0, 0x40, 0xf4])
    machine.write((ProtectedPlace.directory + 0x4000) | 1, at: ProtectedPlace.directory + 8)
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(14, code: 0))
    // mov eax, cr3; mov cr3, eax; mov eax, [0x40200000]
    machine.setFlat(user: false)
    machine.write(0x1234_5678, at: Place.data)
    machine.write(
      [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8, 0xa1, 0, 0, 0x20, 0x40, 0xf4], at: Place.code)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 0x1234_5678)
  }

  @Test func `reserved bits in the first table of PAE keep CR3 as it is`() {
    for bit in [1, 2, 5, 6, 7, 8, 40, 63] as [UInt64] {
      let machine = paeMachine([0xb8, 0, 0xa0, 1, 0, 0x0f, 0x22, 0xd8])
      machine.write([0, 0xd0, 1, 0], at: Place.code + 1)
      machine.write((ProtectedPlace.directory + 0x4000) | 1, at: 0x1d000)
      machine.write(1 << bit | 1, at: 0x1d008)
      machine.run(from: Place.code)
      #expect(machine.raised == Raised(13, code: 0, at: Place.code + 5), "\(bit)")
      #expect(machine.cpu.pointee.cr3 == ProtectedPlace.directory)
      machine.write(1 << bit, at: 0x1d008)  // not present: nothing is reserved
      machine.setFlat(user: false)
      machine.write([0xf4], at: Place.code + 8)
      machine.run(from: Place.code)
      #expect(machine.haltedVector == nil, "\(bit)")
    }
  }

  @Test func `reserved bits of PAE entries fault as such`() {
    for bit in [52, 60, 62] as [UInt64] {
      let machine = paeMachine([0xa1, 0, 0, 0x40, 0, 0xf4])
      machine.write(1 << bit | 0x83, at: ProtectedPlace.directory + 0x4010)
      machine.run(from: Place.code)
      #expect(machine.raised == Raised(14, code: 9))
    }
  }

  @Test func `large pages of 32-bit paging reach above 4 GiB as far as addresses go`() {
    // Bit 13 is bit 32 of the address, where there is no memory; bits 20 and 21 are reserved with 39 bits.
    for (bit, code) in [(13, nil), (20, 9), (21, 9)] as [(UInt64, UInt32?)] {
      let machine = TestMachine.protected([0xa1, 0, 0, 0x40, 0, 0xf4])
      machine.write(0x83 | (1 << bit | 0x83) << 32, at: ProtectedPlace.directory)
      machine.cpu.pointee.cr3 = ProtectedPlace.directory
      machine.cpu.pointee.cr4 = X86.CR4.pageSizeExtensions
      machine.cpu.pointee.cr0 |= X86.CR0.paging
      machine.core.flushTranslations(global: true)
      machine.run(from: Place.code)
      if let code {
        #expect(machine.raised == Raised(14, code: code))
      } else {
        #expect(machine.haltedVector == nil)
        #expect(machine.cpu.rax == 0xffff_ffff)
      }
    }
  }

  // MARK: - SMAP, UMIP, PCID

  @Test func `with SMAP the supervisor reaches the user's pages only while AC is set`() {
    // stac; mov eax, [rbx]; clac; mov ecx, [rbx]
    let machine = TestMachine(features: (0, Self.smap, 0))
    machine.map(Self.page, to: Place.data, 7)
    machine.write(0x1234, at: Place.data)
    machine.write(
      [0x0f, 0x01, 0xcb, 0x8b, 0x03, 0x89, 0x03, 0x0f, 0x01, 0xca, 0x8b, 0x0b, 0xf4],
      at: Place.code)
    machine.cpu.pointee.cr4 |= X86.CR4.supervisorAccessPrevention
    machine.core.flushTranslations(global: true)
    machine.cpu.rbx = Self.page
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 0x1234)
    #expect(machine.haltedVector == 14)
    #expect(machine.frame?.code == 1)
    #expect(machine.frame?.rip == Place.code + 10)
  }

  /// As kernels copy to their users: many bytes at once, here code that has run already by another mapping.
  @Test
  func
    `with SMAP the supervisor copies to the user's pages, and what was decoded from them is decoded anew`()
  {
    let machine = TestMachine(features: (0, Self.smap, 0))
    let routine = Place.code + 0x1000
    machine.map(Self.page, to: routine, 7)
    machine.write(
      [
        0x0f, 0x01, 0xcb,  // stac
        0xb9, 0x40, 0x00, 0x00, 0x00,  // mov ecx, 64
        0x48, 0x89, 0xdf,  // mov rdi, rbx
        0xf3, 0xa4,  // rep movsb
        0xff, 0xd5,  // call rbp
        0xff, 0xca,  // dec edx
        0x75, 0xf0,  // jnz
        0x0f, 0x01, 0xca,  // clac
        0xb9, 0x40, 0x00, 0x00, 0x00,  // mov ecx, 64
        0xf3, 0xaa,  // rep stosb
        0xf4,
      ], at: Place.code)
    var routines = [UInt8](repeating: 0x90, count: 128)
    routines.replaceSubrange(60..<64, with: [0x83, 0xc0, 0x01, 0xc3])  // add eax, 1; ret
    routines.replaceSubrange(124..<128, with: [0x6b, 0xc0, 0x2a, 0xc3])  // imul eax, eax, 42
    machine.write(routines, at: Place.data)
    machine.cpu.pointee.cr4 |= X86.CR4.supervisorAccessPrevention
    machine.core.flushTranslations(global: true)
    machine.cpu.rbx = Self.page
    machine.cpu.rsi = Place.data
    machine.cpu.set(Slot.rbp, routine)
    machine.cpu.set(Slot.rdx, 2 as UInt64)
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 42)
    #expect(machine.bytes(at: routine, count: 64) == Array(routines[64...]))
    // After CLAC nothing of it is written.
    #expect(machine.haltedVector == 14)
    #expect(machine.cpu.rcx == 64)
  }

  @Test func `without SMAP there are no STAC and CLAC, nor at level 3`() {
    for (features, user) in [(0, false), (Self.smap, true)] as [(UInt32, Bool)] {
      let machine = TestMachine(features: (0, features, 0))
      machine.map(Self.page, to: Place.code, 7)
      machine.write([0x0f, 0x01, 0xcb], at: Place.code)
      if user { machine.setPrivilege(3) }
      machine.run(from: Self.page)
      #expect(machine.haltedVector == 6)
    }
  }

  @Test func `with UMIP the user does not see where tables lie`() {
    let forms: [[UInt8]] = [
      [0x0f, 0x01, 0x03], [0x0f, 0x01, 0x0b], [0x0f, 0x00, 0xc0], [0x0f, 0x00, 0xc8],
      [0x0f, 0x01, 0xe0],
    ]
    for form in forms {
      for isPrevented in [true, false] {
        let machine = TestMachine(features: (0, 0, 1 << 2))
        machine.map(Self.page, to: Place.code, 7)
        machine.write(form + [0xcd, 0x31], at: Place.code)
        machine.setPrivilege(3)
        machine.cpu.rbx = Self.page + 0x100
        if isPrevented { machine.cpu.pointee.cr4 |= X86.CR4.userModeInstructionPrevention }
        machine.run(from: Self.page)
        #expect(machine.haltedVector == (isPrevented ? 13 : 0x31), "\(form)")
      }
    }
  }

  @Test func `INVPCID drops translations, and refuses what the manual says`() {
    // Type and the descriptor's two words, with PCIDs on or off; whether it faults.
    let cases: [(UInt64, UInt64, UInt64, Bool, Bool)] = [
      (0, 0, Self.page, false, false), (0, 5, Self.page, true, false),
      (0, 5, Self.page, false, true), (0, 0x1000, Self.page, true, true),
      (0, 0, 0x8000_0000_0000, true, true), (1, 0, 0, false, false), (2, 0, 0, false, false),
      (3, 0, 0, false, false), (4, 0, 0, false, true),
    ]
    for (type, context, linear, hasContexts, isRefused) in cases {
      let machine = TestMachine(features: (1 << 17, 1 << 10, 0))
      machine.map(Self.page, to: Place.data)
      machine.write(0x11, at: Place.data)
      machine.write(0x22, at: Place.data + 0x1000)
      machine.write(context, at: Place.data + 0x2000)
      machine.write(linear, at: Place.data + 0x2008)
      if hasContexts { machine.cpu.pointee.cr4 |= X86.CR4.processContextIdentifiers }
      // mov eax, [rbx]; mov [rdi], rsi (the entry of that page); invpcid rdx, [r8]; mov ecx, [rbx]; hlt
      machine.write(
        [
          0x8b, 0x03, 0x48, 0x89, 0x37, 0x66, 0x41, 0x0f, 0x38, 0x82, 0x10, 0x8b, 0x0b, 0xf4,
        ], at: Place.code)
      machine.cpu.rbx = Self.page
      machine.cpu.rdi = machine.entry(of: Self.page)
      machine.cpu.rsi = (Place.data + 0x1000) | 3
      machine.cpu.rdx = type
      machine.cpu.set(64, Place.data + 0x2000)
      machine.run(from: Place.code)
      #expect(machine.haltedVector == (isRefused ? 13 : nil), "\(type) \(context)")
      if !isRefused { #expect(machine.cpu.rcx == 0x22) }
    }
  }

  @Test func `CR4.PCIDE needs long mode and a CR3 without a number`() {
    // mov rax, cr4; bts eax, 17; mov cr4, rax
    let code: [UInt8] = [0x0f, 0x20, 0xe0, 0x0f, 0xba, 0xe8, 17, 0x0f, 0x22, 0xe0, 0xf4]
    for (number, isRefused) in [(0, false), (5, true)] as [(UInt64, Bool)] {
      let machine = TestMachine(features: (1 << 17, 0, 0))
      machine.write(code, at: Place.code)
      machine.cpu.pointee.cr3 |= number
      machine.run(from: Place.code)
      #expect(machine.haltedVector == (isRefused ? 13 : nil))
    }
    let machine = TestMachine()
    machine.write(code, at: Place.code)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 13)
  }

  // MARK: - Pages of 1 GiB

  /// SDM Vol. 3A §4.5: the PS flag of a PDPTE is reserved where CPUID.80000001H:EDX.Page1GB is 0.
  @Test(arguments: [false, true])
  func `a page of 1 GiB needs a processor that announces it`(_ isThere: Bool) {
    // mov eax, [rbx]: entry 1 of the fourth level leads to a table whose entry 0 is a page at 0.
    let machine = TestMachine(extended: isThere ? 1 << 26 : 0)
    let table: UInt64 = 0x1d000
    for index in 0..<512 as Range<UInt64> { machine.write(0, at: table + index * 8) }
    machine.write(0x83, at: table)
    machine.write(table | 7, at: Place.pageTables + 8)
    machine.core.flushTranslations(global: true)
    machine.write([0x8b, 0x03, 0xf4], at: Place.code)
    machine.write(0x5678, at: Place.data)
    machine.cpu.rbx = 1 << 39 | Place.data
    machine.run(from: Place.code)
    if isThere {
      #expect(machine.haltedVector == nil)
      #expect(machine.cpu.rax == 0x5678)
    } else {
      #expect(machine.haltedVector == 14)
      #expect(machine.frame?.code == 9)  // present, reserved
    }
  }

  // MARK: - Five levels

  @Test func `five levels translate 57 bits`() {
    let machine = TestMachine(features: (0, 0, 1 << 16))
    // A table of the fifth level whose entries 0 and 5 lead to the four levels that are there.
    let top: UInt64 = 0x1d000
    for index in 0..<512 as Range<UInt64> { machine.write(0, at: top + index * 8) }
    machine.write(Place.pageTables | 7, at: top)
    machine.write(Place.pageTables | 7, at: top + 5 * 8)
    machine.cpu.pointee.cr3 = top
    machine.cpu.pointee.cr4 |= X86.CR4.linearAddress57
    machine.core.flushTranslations(global: true)
    machine.write([0x8b, 0x03, 0x8b, 0x0e, 0xf4], at: Place.code)
    machine.write(0x5678, at: Place.data)
    machine.cpu.rbx = 5 << 48 | Place.data
    machine.cpu.rsi = 1 << 56
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 0x5678)
    #expect(machine.haltedVector == 13)
    #expect(machine.frame?.rip == Place.code + 2)
  }
}
