import ArchitectureX86
import Board
import CProcessor
import InterruptControllers
import Testing

@testable import X86Processor

/// The guest's own debugging: SDM Vol. 3B chapter 17.
struct BreakpointTests {
  private typealias Place = TestMachine.Place
  private static let stepBit: UInt64 = 1 << 14

  private func machine(_ code: [UInt8]) -> TestMachine {
    let machine = TestMachine()
    machine.write(code, at: Place.code)
    machine.cpu.rbx = Place.data
    return machine
  }

  /// A breakpoint in DR0: 0 execute, 1 write, 2 port, 3 read or write.
  private func arm(
    _ machine: TestMachine, _ address: UInt64, kind: UInt64, length: UInt64 = 0, number: UInt64 = 0
  ) {
    switch number {
    case 0: machine.cpu.pointee.debug.0 = address
    default: machine.cpu.pointee.debug.3 = address
    }
    machine.cpu.pointee.debug.7 |=
      2 << (2 * number) | (kind | length << 2) << (16 + 4 * number) | 0x400
    machine.core.debugControlChanged()
  }

  private func status(_ machine: TestMachine) -> UInt64 { machine.cpu.pointee.debug.6 & 0xe00f }

  @Test func `an instruction breakpoint faults before its instruction, and RF lets it pass`() {
    // inc eax; inc eax; hlt. The handler sets RF in its frame and returns.
    let machine = machine([0xff, 0xc0, 0xff, 0xc0, 0xf4])
    arm(machine, Place.code + 2, kind: 0)
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 1)
    #expect(machine.frame?.rip == Place.code + 2)
    #expect(machine.frame.map { $0.flags & X86.Flags.resume } == 0)
    #expect(machine.cpu.rax == 1)
    #expect(status(machine) == 1)
    // or qword [rsp+16], 0x10000; iretq
    machine.write([0x48, 0x81, 0x4c, 0x24, 16, 0, 0, 1, 0, 0x48, 0xcf], at: Place.handlers + 16)
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 2)
    #expect(machine.cpu.rflags & X86.Flags.resume == 0)
  }

  @Test func `an instruction breakpoint is met in every round of a loop`() {
    // mov ecx, 5; l: inc eax; dec ecx; jnz l; hlt. The handler counts and resumes.
    let machine = machine([0xb9, 5, 0, 0, 0, 0xff, 0xc0, 0xff, 0xc9, 0x75, 0xfa, 0xf4])
    machine.run(from: Place.code)  // decoded and linked before
    arm(machine, Place.code + 7, kind: 0, number: 3)
    machine.write(
      [0x41, 0xff, 0xc0, 0x48, 0x81, 0x4c, 0x24, 16, 0, 0, 1, 0, 0x48, 0xcf],
      at: Place.handlers + 16)
    machine.cpu.set(64, 0 as UInt64)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.get(64, UInt64.self) == 5)
    #expect(status(machine) == 8)
  }

  @Test func `a repeated string instruction is met once`() {
    let machine = machine([0xf3, 0xaa, 0xf4])
    arm(machine, Place.code, kind: 0)
    machine.write(
      [0x41, 0xff, 0xc0, 0x48, 0x81, 0x4c, 0x24, 16, 0, 0, 1, 0, 0x48, 0xcf],
      at: Place.handlers + 16)
    machine.cpu.set(64, 0 as UInt64)
    machine.cpu.rdi = Place.data + 0xff8
    machine.cpu.rcx = 20
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.get(64, UInt64.self) == 1)
    #expect(machine.cpu.rcx == 0)
  }

  struct Access: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let bytes: [UInt8]
    var kind: UInt64 = 1
    var length: UInt64 = 3
    var offset: UInt64 = 0x10
    var isHit = true
  }

  static let accesses = [
    Access(testDescription: "a write", bytes: [0x89, 0x43, 0x10]),
    Access(testDescription: "a byte of it", bytes: [0x88, 0x43, 0x13]),
    Access(testDescription: "a write beside it", bytes: [0x89, 0x43, 0x14], isHit: false),
    Access(testDescription: "a write that ends in it", bytes: [0x89, 0x43, 0x0d]),
    Access(testDescription: "a read where writes count", bytes: [0x8b, 0x43, 0x10], isHit: false),
    Access(testDescription: "a read", bytes: [0x8b, 0x43, 0x10], kind: 3),
    Access(testDescription: "an addition", bytes: [0x01, 0x43, 0x10]),
    Access(testDescription: "an exchange", bytes: [0x87, 0x43, 0x10]),
    Access(testDescription: "a locked addition", bytes: [0xf0, 0x01, 0x43, 0x10]),
    Access(testDescription: "a vector store", bytes: [0x0f, 0x11, 0x43, 0x08]),
    Access(testDescription: "an x87 store", bytes: [0xd9, 0x5b, 0x10]),
    Access(
      testDescription: "a push", bytes: [0x48, 0x89, 0xdc, 0x50], offset: 0xff0, isHit: false),
    Access(testDescription: "eight bytes", bytes: [0x88, 0x43, 0x17], length: 2),
    Access(testDescription: "one byte", bytes: [0x88, 0x43, 0x11], length: 0, isHit: false),
    Access(
      testDescription: "across a page", bytes: [0x89, 0x83, 0xfe, 0x0f, 0, 0], offset: 0x1000),
  ]

  @Test(arguments: accesses)
  func `a data breakpoint traps behind the access`(_ example: Access) {
    let machine = machine(example.bytes + [0xff, 0xc1, 0xf4])
    arm(machine, Place.data + example.offset, kind: example.kind, length: example.length)
    machine.cpu.rcx = 0
    machine.run(from: Place.code)
    if example.isHit {
      #expect(machine.haltedVector == 1)
      #expect(machine.frame?.rip == Place.code + UInt64(example.bytes.count))
      #expect(status(machine) == 1)
      #expect(machine.cpu.rcx == 0)
    } else {
      #expect(machine.haltedVector == nil)
      #expect(status(machine) == 0)
    }
  }

  @Test func `a repeated store traps behind the element that hits`() {
    let machine = machine([0xf3, 0xaa, 0xf4])
    arm(machine, Place.data + 0x10, kind: 1)
    machine.cpu.rdi = Place.data + 0xe
    machine.cpu.rcx = 10
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 1)
    #expect(machine.frame?.rip == Place.code)
    #expect(machine.cpu.rcx == 7)
    #expect(machine.cpu.rdi == Place.data + 0x11)
  }

  @Test func `a breakpoint on a port needs CR4.DE`() {
    for isExtended in [true, false] {
      let machine = machine([0xe6, 0x81, 0xff, 0xc1, 0xf4])
      if isExtended { machine.cpu.pointee.cr4 |= X86.CR4.debuggingExtensions }
      arm(machine, 0x80, kind: 2, length: 1)
      machine.run(from: Place.code)
      #expect(machine.haltedVector == (isExtended ? 1 : nil))
      if isExtended { #expect(machine.frame?.rip == Place.code + 2) }
    }
  }

  @Test func `a step and a hit come as one exception`() {
    // push 0x102; popf; mov [rbx], eax
    let machine = machine([0x68, 2, 1, 0, 0, 0x9d, 0x89, 0x03, 0xf4])
    arm(machine, Place.data, kind: 1)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 1)
    #expect(machine.frame?.rip == Place.code + 8)
    #expect(status(machine) == Self.stepBit | 1)
  }

  @Test func `what MOV SS holds back comes behind the next instruction`() {
    // mov ss, [rbx]; inc ecx; hlt
    let machine = machine([0x8e, 0x13, 0xff, 0xc1, 0xf4])
    machine.write([0x18, 0], at: Place.data)
    arm(machine, Place.data, kind: 3, length: 1)
    machine.cpu.rcx = 0
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 1)
    #expect(machine.frame?.rip == Place.code + 4)
    #expect(machine.cpu.rcx == 1)
  }

  @Test func `single steps do not stop behind MOV SS`() {
    // push 0x102; popf; mov ss, ax; nop; hlt
    let machine = machine([0x68, 2, 1, 0, 0, 0x9d, 0x8e, 0xd0, 0x90, 0xf4])
    machine.cpu.rax = 0x18
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 1)
    #expect(machine.frame?.rip == Place.code + 9)
  }

  @Test func `with GD the debug registers are out of reach until the handler has come`() {
    let machine = machine([0x0f, 0x21, 0xc0, 0xf4])
    machine.cpu.pointee.debug.7 = 0x2400
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 1)
    #expect(machine.frame?.rip == Place.code)
    #expect(status(machine) == 1 << 13)
    #expect(machine.cpu.pointee.debug.7 == 0x400)
  }

  @Test func `MOV to DR7 arms at once`() {
    // mov rax, code+…; mov dr0, rax; mov eax, 0x402; mov dr7, rax; nop; nop; hlt
    let machine = machine(
      [
        0x48, 0xc7, 0xc0, 0x13, 0, 0x10, 0, 0x0f, 0x23, 0xc0, 0xb8, 2, 4, 0, 0, 0x0f, 0x23, 0xf8,
        0x90, 0x90, 0xf4,
      ])
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 1)
    #expect(machine.frame?.rip == Place.code + 0x13)
  }

  @Test func `INT1 needs no gate for its level`() {
    let machine = machine([0xf1])
    machine.map(0x60_0000_0000, to: Place.code, 7)
    machine.setGate(1, handler: Place.handlers + 16, privilege: 0)
    machine.setPrivilege(3)
    machine.run(from: 0x60_0000_0000)
    #expect(machine.haltedVector == 1)
    #expect(machine.frame?.rip == 0x60_0000_0001)
    #expect(status(machine) == 0)
  }

  @Test func `an NMI waits until IRET has been carried out`() throws {
    // inc eax; iretq, with a frame on the stack that leads to code + 0x40.
    let machine = machine([0xff, 0xc0, 0x48, 0xcf])
    machine.write([0xff, 0xc0, 0xf4], at: Place.code + 0x40)
    let frame: [UInt64] = [Place.code + 0x40, 0x10, 2, machine.cpu.rsp, 0x18]
    for (index, value) in frame.enumerated() {
      machine.write(value, at: machine.cpu.rsp + UInt64(index) * 8)
    }
    machine.cpu.rax = 0
    machine.cpu.pointee.rip = Place.code
    var state = machine.core.state
    state.events.nmiPending = true
    state.events.nmiBlocked = true
    try machine.core.restore(state)
    machine.resume()
    #expect(machine.haltedVector == 2)
    #expect(machine.frame?.rip == Place.code + 0x40)
    #expect(machine.cpu.rax == 1)
    #expect(machine.core.nmiBlocked)
  }
}
