import ArchitectureX86
import Board
import CProcessor
import InterruptControllers
import Testing

@testable import X86Processor

/// Exceptions, interrupts by instruction, and the ways between privilege levels: SDM Vol. 3A chapter 6.
struct SystemExceptionTests {
  private typealias Place = TestMachine.Place
  private typealias Selector = TestMachine.Selector
  private static let userCode: UInt64 = 0x60_0000_0000
  private static let userStack: UInt64 = 0x60_0010_1000

  /// Code at privilege level 0 or 3, with a stack.
  private func machine(_ code: [UInt8], user: Bool = false) -> TestMachine {
    let machine = TestMachine()
    machine.map(Self.userCode, to: Place.code, 7)
    machine.map(Self.userStack - 0x1000, to: Place.data, 7)
    machine.write(code, at: Place.code)
    machine.setPrivilege(user ? 3 : 0)
    if user { machine.cpu.rsp = Self.userStack - 0x100 }
    return machine
  }

  private func start(_ user: Bool) -> UInt64 { user ? Self.userCode : Place.code }

  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let bytes: [UInt8]
    var user = false
    let vector: Int
    var code: UInt64?
    /// How far behind the code's start the saved RIP points.
    var distance: UInt64 = 0

    init(
      _ description: String, _ bytes: [UInt8], user: Bool = false, vector: Int, code: UInt64? = nil,
      distance: UInt64 = 0
    ) {
      testDescription = description
      self.bytes = bytes
      self.user = user
      self.vector = vector
      self.code = code
      self.distance = distance
    }
  }

  static let cases = [
    Case("UD2", [0x0f, 0x0b], vector: 6),
    Case("INT3 returns behind itself", [0xcc], vector: 3, distance: 1),
    Case("INT1 returns behind itself", [0xf1], vector: 1, distance: 1),
    Case("INT n returns behind itself", [0xcd, 0x80], user: true, vector: 0x80, distance: 2),
    Case("INTO is not in 64-bit mode", [0xce], vector: 6),
    Case("PUSH CS is not in 64-bit mode", [0x0e], vector: 6),
    Case("direct far JMP is not in 64-bit mode", [0xea, 0, 0, 0, 0, 0, 0], vector: 6),
    Case("DIV by zero", [0x31, 0xc9, 0xf7, 0xf1], vector: 0, distance: 2),
    Case("HLT at privilege level 3", [0xf4], user: true, vector: 13, code: 0),
    Case("CLI at privilege level 3", [0xfa], user: true, vector: 13, code: 0),
    Case("IN at privilege level 3", [0xe4, 0x80], user: true, vector: 13, code: 0),
    Case("MOV CR0 at privilege level 3", [0x0f, 0x22, 0xc0], user: true, vector: 13, code: 0),
    Case("WRMSR at privilege level 3", [0x0f, 0x30], user: true, vector: 13, code: 0),
    Case("INVLPG at privilege level 3", [0x0f, 0x01, 0x3b], user: true, vector: 13, code: 0),
    Case("SYSRET at privilege level 3", [0x48, 0x0f, 0x07], user: true, vector: 13, code: 0),
    Case("MOV to CR1", [0x0f, 0x22, 0xc8], vector: 6),
    Case("MOV to CS", [0x8e, 0xc8], vector: 6),
    Case(
      "WRMSR to a register that is not there",
      [0xb9, 0xff, 0xff, 0xff, 0x7f, 0x0f, 0x30], vector: 13, code: 0, distance: 5),
    Case(
      "15 bytes are an instruction", [UInt8](repeating: 0x66, count: 14) + [0xcc], vector: 3,
      distance: 15),
    Case("16 bytes are none", [UInt8](repeating: 0x66, count: 15) + [0x90], vector: 13, code: 0),
    Case("LOCK on a register", [0xf0, 0x01, 0xc0], vector: 6),
    Case("LOCK on a load", [0xf0, 0x8b, 0x03], vector: 6),
    Case("LOCK on CMP", [0xf0, 0x39, 0x03], vector: 6),
    Case("LEA of a register", [0x8d, 0xc0], vector: 6),
    // 0xfff8: beyond the table.
    Case(
      "a selector beyond the table", [0xb8, 0xf8, 0xff, 0, 0, 0x8e, 0xd8], vector: 13,
      code: 0xfff8, distance: 5),
    Case(
      "a null selector in SS at privilege level 3", [0x31, 0xc0, 0x8e, 0xd0], user: true,
      vector: 13, code: 0, distance: 2),
    Case(
      "a code segment in SS", [0xb8, 0x10, 0, 0, 0, 0x8e, 0xd0], vector: 13, code: 0x10, distance: 5
    ),
    Case(
      "a segment of the kernel at privilege level 3", [0xb8, 0x18, 0, 0, 0, 0x8e, 0xd8], user: true,
      vector: 13, code: 0x18, distance: 5),
    Case(
      "a segment that is not present", [0xb8, 0x60, 0, 0, 0, 0x8e, 0xd8], vector: 11, code: 0x60,
      distance: 5),
    Case(
      "a stack segment that is not present", [0xb8, 0x60, 0, 0, 0, 0x8e, 0xd0], vector: 12,
      code: 0x60, distance: 5),
  ]

  @Test(arguments: cases)
  func `an instruction raises what the manual says`(_ example: Case) {
    let machine = machine(example.bytes, user: example.user)
    machine.write(0x00cf_1300_0000_ffff, at: Place.descriptors + 0x60)
    #expect(machine.run(from: start(example.user)) == .halted)
    #expect(machine.haltedVector == example.vector)
    #expect(machine.frame?.code == example.code)
    #expect(machine.frame?.rip == start(example.user) + example.distance)
    #expect(machine.frame?.selector == (example.user ? Selector.userCode : Selector.kernelCode))
  }

  @Test func `INT n needs a gate for its privilege level`() {
    let machine = machine([0xcd, 0x30], user: true)
    machine.setGate(0x30, handler: Place.handlers + 0x300, privilege: 0)
    machine.run(from: Self.userCode)
    #expect(machine.haltedVector == 13)
    #expect(machine.frame?.code == 0x30 * 8 + 2)
    #expect(machine.frame?.rip == Self.userCode)
  }

  @Test func `a gate that is not present raises #NP`() {
    let machine = machine([0xcd, 0x30])
    machine.write(0, at: Place.interrupts + 0x30 * 16)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 13)
    machine.setGate(0x30, handler: Place.handlers)
    machine.write(
      machine.read(Place.interrupts + 0x30 * 16) & ~(1 << 47), at: Place.interrupts + 0x30 * 16)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 11)
    #expect(machine.frame?.code == 0x30 * 8 + 2)
  }

  @Test func `a fault on the way to a page fault's handler becomes a double fault`() {
    let machine = machine([0x48, 0x8b, 0x03])
    machine.cpu.rbx = 0x7000_0000_0000
    machine.write(0, at: Place.interrupts + 14 * 16)
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.haltedVector == 8)
    #expect(machine.frame?.code == 0)
    #expect(machine.frame?.rip == Place.code)
  }

  @Test func `a fault on the way to a double fault's handler stops the machine`() {
    let machine = machine([0x0f, 0x0b])
    machine.cpu.pointee.idtr_limit = 0
    #expect(machine.run(from: Place.code) == .tripleFault)
  }

  @Test func `an interrupt takes the stack of its privilege level or of its gate`() {
    let machine = machine([0xcd, 0x30], user: true)
    machine.cpu.rflags = 0x202
    machine.run(from: Self.userCode)
    #expect(machine.haltedVector == 0x30)
    #expect(machine.cpu.rsp == Place.kernelStack - 40)
    #expect(
      machine.frame
        == .init(
          code: nil, rip: Self.userCode + 2, selector: Selector.userCode, flags: 0x202,
          rsp: Self.userStack - 0x100, stackSelector: Selector.userData))
    #expect(machine.cpu.selector(1) == Selector.kernelCode)
    #expect(machine.cpu.selector(2) == 0)
    #expect(machine.cpu.pointee.privilege == 0)
    #expect(machine.cpu.rflags & X86.Flags.interrupt == 0)

    machine.setPrivilege(0)
    machine.cpu.rsp = Place.kernelStack - 0x107
    machine.setGate(0x30, handler: Place.handlers + 0x300, stack: 1, type: 15)
    machine.cpu.rflags = 0x202
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x30)
    #expect(machine.cpu.rsp == Place.faultStack - 40)
    #expect(machine.frame?.rsp == Place.kernelStack - 0x107)
    #expect(machine.frame?.stackSelector == Selector.kernelData)
    #expect(machine.cpu.rflags & X86.Flags.interrupt != 0)
  }

  @Test func `a frame without a change of stack is aligned to 16 bytes`() {
    let machine = machine([0xcd, 0x30])
    machine.cpu.rsp = Place.kernelStack - 0x107
    machine.run(from: Place.code)
    #expect(machine.cpu.rsp == Place.kernelStack - 0x110 - 40)
  }

  @Test func `IRET goes back where the interrupt came from`() {
    let machine = machine([0xcd, 0x30, 0xf4], user: true)
    machine.write([0x48, 0xff, 0xc0, 0x48, 0xcf], at: Place.handlers + 0x300)  // inc rax; iretq
    machine.cpu.rax = 0
    machine.cpu.rflags = 0x202 | X86.Flags.carry | X86.Flags.zero
    machine.run(from: Self.userCode)
    #expect(machine.haltedVector == 13)
    #expect(machine.cpu.rax == 1)
    #expect(
      machine.frame
        == .init(
          code: 0, rip: Self.userCode + 2, selector: Selector.userCode,
          flags: 0x202 | X86.Flags.carry | X86.Flags.zero | X86.Flags.resume,
          rsp: Self.userStack - 0x100, stackSelector: Selector.userData))
  }

  @Test func `IRET to 32-bit code runs it as such`() {
    // push 0x2b; push rax; push 0x202; push 0x23; push rbx; iretq
    let machine = machine([
      0x6a, 0x2b, 0x50, 0x68, 0x02, 0x02, 0, 0, 0x6a, 0x23, 0x53, 0x48, 0xcf,
    ])
    machine.map(0x40_0000, to: Place.code + 0x1000, 7)
    // In 32-bit code 48 is DEC EAX and 0x89 0xd8 MOV EAX, EBX: dec eax; mov eax, ebx; push eax; hlt
    machine.write([0x48, 0x89, 0xd8, 0x50, 0xf4], at: Place.code + 0x1000)
    machine.cpu.rax = 0x40_0800
    machine.cpu.rbx = 0x40_0000
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 13)
    #expect(machine.cpu.rax == 0x40_0000)
    #expect(machine.frame?.rip == 0x40_0004)
    #expect(machine.frame?.selector == Selector.userCode32)
    #expect(machine.frame?.rsp == 0x40_07fc)
  }

  @Test func `SYSCALL and SYSRET change places and flags`() {
    let machine = machine([0x0f, 0x05, 0xf4], user: true)
    machine.cpu.pointee.star = 0x0023_0010_0000_0000
    machine.cpu.pointee.lstar = Place.code + 0x1000
    machine.cpu.pointee.syscall_mask = X86.Flags.interrupt | X86.Flags.direction
    // mov eax, cs; mov ebx, ss; pushfq; pop rdx; sysretq
    machine.map(Place.code + 0x1000, to: Place.code + 0x1000, 3)
    machine.write(
      [
        0x8c, 0xc8, 0x8c, 0xd3, 0x48, 0x89, 0xe5, 0x49, 0x89, 0xc8, 0xbc, 0, 0, 4, 0, 0x9c, 0x5a,
        0x48, 0x89, 0xec, 0x48, 0x0f, 0x07,
      ], at: Place.code + 0x1000)
    machine.cpu.rflags = 0x602 | X86.Flags.carry
    machine.run(from: Self.userCode)
    #expect(machine.haltedVector == 13)
    #expect(machine.frame?.rip == Self.userCode + 2)
    #expect(machine.cpu.rax & 0xffff == 0x10)
    #expect(machine.cpu.rbx & 0xffff == 0x18)
    #expect(machine.cpu.rdx == 0x2 | X86.Flags.carry)
    #expect(machine.cpu.get(64, UInt64.self) == Self.userCode + 2)
    #expect(machine.cpu.get(Slot.r11, UInt64.self) == 0x602 | X86.Flags.carry)
    #expect(machine.frame?.selector == Selector.userCode)
    #expect(machine.frame?.stackSelector == Selector.userData)
    #expect(machine.frame.map { $0.flags & ~X86.Flags.resume } == 0x602 | X86.Flags.carry)
    #expect(machine.frame?.rsp == Self.userStack - 0x100)
  }

  @Test func `loading a segment marks its descriptor as accessed`() {
    let machine = machine([0xb8, 0x60, 0, 0, 0, 0x8e, 0xd8, 0xf4])
    machine.write(0x00cf_9200_0000_ffff, at: Place.descriptors + 0x60)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.read(Place.descriptors + 0x60) == 0x00cf_9300_0000_ffff)
  }

  @Test func `LTR marks its task as busy and refuses one that is`() {
    // mov eax, 0x40; ltr ax; hlt
    let machine = machine([0xb8, 0x40, 0, 0, 0, 0x0f, 0x00, 0xd8, 0xf4])
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.read(Place.descriptors + 0x40) >> 40 & 0xf == 0xb)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 13)
    #expect(machine.frame?.code == 0x40)
  }

  @Test func `a far return leads to 32-bit code and a far jump back`() {
    // push 0x50; push rax; retfq → 32-bit: jmp 0x10:code + 0x20 → 64-bit: inc rcx; hlt
    let machine = machine([0x6a, 0x50, 0x50, 0x48, 0xcb])
    let target = UInt32(Place.code + 0x20)
    machine.write(
      [0xea] + (0..<4).map { UInt8(truncatingIfNeeded: target >> UInt32($0 * 8)) } + [0x10, 0],
      at: Place.code + 0x10)
    machine.write([0x48, 0xff, 0xc1, 0xf4], at: Place.code + 0x20)
    machine.cpu.rax = Place.code + 0x10
    machine.cpu.rcx = 0xffff_ffff
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rcx == 0x1_0000_0000)
    #expect(machine.cpu.selector(1) == Selector.kernelCode)
  }

  // MARK: - Single steps

  @Test func `the trap flag traps behind each instruction`() {
    let machine = machine([
      0x9c, 0x81, 0x0c, 0x24, 0, 1, 0, 0, 0x9d,  // pushfq; or dword ptr [rsp], 0x100; popfq
      0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0,  // inc rax; inc rax
      0x9c, 0x80, 0x64, 0x24, 1, 0xfe, 0x9d,  // pushfq; and byte ptr [rsp + 1], 0xfe; popfq
      0xf4,
    ])
    machine.write([0x48, 0xff, 0xc1, 0x48, 0xcf], at: Place.handlers + 16)  // inc rcx; iretq
    machine.cpu.rax = 0
    machine.cpu.rcx = 0
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.cpu.rax == 2)
    // Behind the POPF that sets it nothing traps yet, behind the one that clears it for the last time.
    #expect(machine.cpu.rcx == 5)
    #expect(machine.core.debugRegisterValue(6) & 1 << 14 != 0)
  }

  @Test func `a repeated string instruction traps behind each element`() {
    let machine = machine([0xf3, 0xaa, 0xf4])
    machine.write(
      [
        0x41, 0xff, 0xc0,  // inc r8d
        0x85, 0xc9, 0x75, 0x05,  // test ecx, ecx; jnz
        0x80, 0x64, 0x24, 0x11, 0xfe,  // and byte ptr [rsp + 17], 0xfe: no more traps
        0x48, 0xcf,  // iretq
      ], at: Place.code + 0x1000)
    machine.setGate(1, handler: Place.code + 0x1000)
    machine.cpu.rcx = 5
    machine.cpu.rdi = Place.data
    machine.cpu.set(64, 0 as UInt64)
    machine.cpu.rflags = 0x102
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rcx == 0)
    #expect(machine.cpu.get(64, UInt64.self) == 5)
  }

  @Test func `INT n while stepping does not trap in its handler`() {
    let machine = machine([0xcd, 0x30])
    machine.cpu.rflags = 0x102
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x30)
    #expect(machine.frame?.flags == 0x102)
  }

  // MARK: - Interrupts

  private func signal(_ vector: UInt32, to machine: TestMachine) {
    machine.core.apic.write(0x1ff, 0xf0)  // software-enable
    machine.apics.signal(.init(address: 0xfee0_0000, data: vector), from: 0)
  }

  @Test func `an interrupt waits for the instruction behind STI`() {
    let machine = machine([0xfb, 0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0, 0xf4])
    signal(0x50, to: machine)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x50)
    #expect(machine.frame?.rip == Place.code + 4)
  }

  @Test func `an interrupt comes though code behind STI never leaves its loop`() {
    // sti; nop; loop: dec ecx; jnz loop; hlt. Once without an interrupt, so that the jump is linked.
    let machine = machine([0xfb, 0x90, 0xff, 0xc9, 0x75, 0xfc, 0xf4])
    machine.cpu.rcx = 10
    machine.cpu.rflags = 2
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    machine.cpu.rflags = 2
    machine.cpu.rcx = 0xffff_ffff
    signal(0x50, to: machine)
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.haltedVector == 0x50)
    #expect(machine.frame?.rip == Place.code + 2)
  }

  @Test func `an interrupt waits for the instruction behind MOV SS`() {
    // sti; mov ss, eax; mov esp, …; nop; hlt
    let machine = machine([0xfb, 0x8e, 0xd0, 0xbc, 0, 0xf0, 3, 0, 0x90, 0xf4])
    machine.cpu.rax = UInt64(Selector.kernelData)
    signal(0x50, to: machine)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x50)
    #expect(machine.frame?.rip == Place.code + 8)
  }

  @Test func `HLT ends with an interrupt`() {
    let machine = machine([0xfb, 0xf4, 0x48, 0xff, 0xc0, 0xfa, 0xf4])
    machine.write(
      [0xb9, 0x0b, 0x08, 0, 0, 0x31, 0xc0, 0x31, 0xd2, 0x48, 0xcf], at: Place.handlers + 0x500)
    machine.cpu.rax = 0
    signal(0x50, to: machine)
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 1)
    #expect(machine.cpu.pointee.rip == Place.code + 7)
  }
}
