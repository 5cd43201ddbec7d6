import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// Far transfers: conforming code, call gates and changes of privilege: SDM Vol. 3A §5.8.
struct CallGateTests {
  private typealias Place = TestMachine.Place
  private typealias ProtectedPlace = TestMachine.ProtectedPlace
  private typealias Selector = TestMachine.Selector
  private typealias Raised = TestMachine.Raised
  private static let gate: UInt16 = 0x78
  private static let code: UInt16 = 0x70
  private static let target: UInt64 = Place.code + 0x100

  /// Code at level 3 that calls (9A) or jumps (EA) to the gate, RPL 3.
  private func machine(_ opcode: UInt8, selector: UInt16 = gate | 3, user: Bool = true)
    -> TestMachine
  {
    let machine = TestMachine.protected(
      [opcode, 0, 0, 0, 0] + SampleBuilder.bytes(UInt64(selector), 2) + [0xcd, 0x31])
    machine.write([0xf4], at: Self.target)
    machine.setFlat(user: user)
    return machine
  }

  @Test
  func `a call through a gate takes the inner stack with its parameters, and RET releases both`() {
    // push 0x11; push 0x22; call gate; int 0x31
    let machine = TestMachine.protected(
      [0x6a, 0x11, 0x6a, 0x22, 0x9a, 0, 0, 0, 0, 0x7b, 0, 0xcd, 0x31])
    machine.setFlat(user: true)
    machine.setCallGate(Self.gate, to: Selector.kernelCode32, Self.target, parameters: 2)
    // mov eax, [esp+8]; mov ebx, [esp+12]; mov ecx, cs; mov edx, esp; retf 8
    machine.write(
      [0x8b, 0x44, 0x24, 8, 0x8b, 0x5c, 0x24, 12, 0x8c, 0xc9, 0x89, 0xe2, 0xca, 8, 0],
      at: Self.target)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x31)
    #expect(machine.cpu.rax == 0x22)
    #expect(machine.cpu.rbx == 0x11)
    #expect(machine.cpu.rcx & 0xffff == UInt64(Selector.kernelCode32))
    #expect(machine.cpu.rdx == ProtectedPlace.innerStack - 24)
    // The frame of INT 0x31: both parameters are gone from the user's stack.
    #expect(machine.word(3) == UInt32(ProtectedPlace.userStack))
    #expect(machine.word(4) == UInt32(Selector.userData))
    #expect(machine.word(0) == UInt32(Place.code) + 13)
  }

  @Test func `a gate of 16 bits pushes words`() {
    let machine = machine(0x9a)
    machine.setDescriptor(Self.code, base: Place.code, limit: 0xffff, rights: 0x409b)
    machine.setCallGate(Self.gate, to: Self.code, 0x100, type: 4, parameters: 1)
    machine.write([0xcd, 0xab], at: ProtectedPlace.userStack)
    machine.run(from: Place.code)
    #expect(machine.cpu.pointee.rip == Self.target + 1)
    #expect(machine.cpu.rsp == ProtectedPlace.innerStack - 10)
    let words = (0..<5).map { machine.read(machine.cpu.rsp + UInt64($0) * 2) & 0xffff }
    #expect(
      words == [
        (Place.code + 7) & 0xffff, UInt64(Selector.userCode32), 0xabcd,
        ProtectedPlace.userStack & 0xffff, UInt64(Selector.userData),
      ])
  }

  @Test func `a gate to code of the same level keeps the stack`() {
    let machine = machine(0x9a)
    machine.setDescriptor(Self.code, base: 0, limit: 0xfffff, rights: 0xc0fb)
    machine.setCallGate(Self.gate, to: Self.code, Self.target, parameters: 3)
    machine.write([0xcd, 0x31], at: Self.target)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x31)
    #expect(machine.word(1) == UInt32(Self.code | 3))
    #expect(machine.word(3) == UInt32(ProtectedPlace.userStack) - 8)
    #expect(
      machine.read(ProtectedPlace.userStack - 8)
        == (Place.code + 7) | UInt64(Selector.userCode32) << 32)
  }

  @Test func `conforming code runs at the level of its caller`() {
    for opcode in [0x9a, 0xea] as [UInt8] {
      let machine = machine(opcode, selector: Self.code)
      machine.setDescriptor(Self.code, base: Self.target, limit: 0xff, rights: 0x409f)
      machine.write([0xcd, 0x31], at: Self.target)
      machine.run(from: Place.code)
      #expect(machine.haltedVector == 0x31)
      #expect(machine.word(1) == UInt32(Self.code | 3))
      #expect(machine.word(0) == 2)
    }
  }

  /// What a far JMP or CALL at level 3 refuses.
  struct Refusal: CustomTestStringConvertible, Sendable {
    let testDescription: String
    var opcode: UInt8 = 0x9a
    var selector: UInt16 = 0x7b
    var gatePrivilege: UInt64 = 3
    var gateType: UInt64 = 12
    var target: UInt16 = 0x70
    var rights: UInt64 = 0xc09b
    var limit: UInt64 = 0xfffff
    var stack: UInt16 = 0x18
    var stackRights: UInt64?
    var taskLimit: UInt32 = 0x67
    let vector: Int
    let code: UInt32
  }

  static let refusals = [
    Refusal(testDescription: "a null selector", selector: 3, vector: 13, code: 0),
    Refusal(
      testDescription: "a selector beyond the table", selector: 0x1003, vector: 13, code: 0x1000),
    Refusal(testDescription: "data", selector: 0x2b, vector: 13, code: 0x28),
    Refusal(testDescription: "inner code without a gate", selector: 0x53, vector: 13, code: 0x50),
    Refusal(testDescription: "a gate for another level", gatePrivilege: 2, vector: 13, code: 0x78),
    Refusal(testDescription: "an interrupt gate", gateType: 14, vector: 13, code: 0x78),
    Refusal(testDescription: "a gate to nothing", target: 0, vector: 13, code: 0),
    Refusal(testDescription: "a gate to data", rights: 0xc093, vector: 13, code: 0x70),
    Refusal(
      testDescription: "a gate to code that is not there", rights: 0xc01b, vector: 11, code: 0x70),
    Refusal(
      testDescription: "a jump through a gate to inner code", opcode: 0xea, vector: 13, code: 0x70),
    Refusal(testDescription: "a gate beyond its segment", limit: 0, vector: 13, code: 0),
    Refusal(testDescription: "a null inner stack", stack: 0, vector: 10, code: 0),
    Refusal(
      testDescription: "an inner stack of another level", stack: 0x2b, vector: 10, code: 0x28),
    Refusal(
      testDescription: "an inner stack with another RPL", stack: 0x1a, vector: 10, code: 0x18),
    Refusal(
      testDescription: "a read-only inner stack", stack: 0x80, stackRights: 0xc091, vector: 10,
      code: 0x80),
    Refusal(
      testDescription: "an inner stack that is not there", stack: 0x80, stackRights: 0xc013,
      vector: 12, code: 0x80),
    Refusal(
      testDescription: "a task state too short for the stack", taskLimit: 8, vector: 10, code: 0x40),
  ]

  @Test(arguments: refusals)
  func `a far transfer is refused as the manual says`(_ example: Refusal) {
    let machine = machine(example.opcode, selector: example.selector)
    machine.setDescriptor(
      Self.code, base: 0, limit: example.limit,
      rights: example.rights & (example.limit == 0 ? 0x7fff : 0xffff))
    machine.setCallGate(
      Self.gate, to: example.target, Self.target, type: example.gateType,
      privilege: example.gatePrivilege)
    if let rights = example.stackRights {
      machine.setDescriptor(example.stack, base: 0, limit: 0xfffff, rights: rights)
    }
    machine.write(SampleBuilder.bytes(UInt64(example.stack), 2), at: ProtectedPlace.taskState + 8)
    machine.cpu.pointee.tr_limit = example.taskLimit
    // Handlers at the same level find the stack they are on, whatever the task state says.
    machine.setDescriptor(0x88, base: 0, limit: 0xfffff, rights: 0xc0fb)
    for vector in [10, 11, 12, 13] as [UInt64] {
      machine.setProtectedGate(vector, handler: Place.code + 0x200 + vector * 16, selector: 0x88)
      // int 0x40 + vector: a gate of its own tells them apart at level 3.
      machine.write([0xeb, 0xfe], at: Place.code + 0x200 + vector * 16)
    }
    machine.cpu.pointee.rip = Place.code
    machine.core.activity = .active
    // One instruction, and its exception.
    #expect(machine.core.runAlone(&machine.buses, repetitions: 0))
    let distance = machine.cpu.pointee.rip - Place.code - 0x200
    #expect(distance == UInt64(example.vector) * 16)
    #expect(machine.word(0) == example.code)
    #expect(machine.word(1) == UInt32(Place.code))
    #expect(machine.cpu.rsp == ProtectedPlace.userStack - 16)
  }

  @Test func `an inner stack without room is #SS with its selector`() {
    let machine = machine(0x9a)
    machine.setCallGate(Self.gate, to: Selector.kernelCode32, Self.target)
    machine.setDescriptor(0x80, base: Place.data, limit: 0xff, rights: 0x4093)
    machine.write(
      SampleBuilder.bytes(0x80 << 32 | 8, 8), at: ProtectedPlace.taskState + 4)
    machine.setDescriptor(0x88, base: 0, limit: 0xfffff, rights: 0xc0fb)
    machine.setProtectedGate(12, handler: Place.code + 0x200, selector: 0x88)
    machine.cpu.pointee.rip = Place.code
    machine.core.activity = .active
    #expect(machine.core.runAlone(&machine.buses, repetitions: 0))
    #expect(machine.cpu.pointee.rip == Place.code + 0x200)
    #expect(machine.word(0) == 0x80)
  }

  @Test func `a far return to a stack of 16 bits keeps the upper half of the pointer`() {
    // retf to level 3 with a 16-bit stack: push ss:sp, cs:ip first.
    let machine = TestMachine.protected([
      0x6a, 0x73, 0x68, 0, 8, 0, 0, 0x6a, 0x23, 0x68, 0, 1, 0x10, 0, 0xcb,
    ])
    machine.setDescriptor(0x70, base: Place.data, limit: 0xffff, rights: 0x00f3)
    machine.write([0x89, 0xe0, 0xcd, 0x31], at: Self.target)  // mov eax, esp
    machine.cpu.rsp = 0x3_f000
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x31)
    #expect(machine.cpu.rax == 0x3_0800)
  }

  @Test func `a gate of 64 bits takes the inner stack and RET goes back`() {
    // call far [rip+…]: level 3 in 64-bit mode.
    let machine = TestMachine()
    machine.map(0x60_0000_0000, to: Place.code, 7)
    machine.map(0x60_0010_0000, to: Place.data, 7)
    machine.write([0xff, 0x1d, 0x10, 0, 0, 0, 0xcd, 0x31], at: Place.code)
    machine.write([0, 0, 0, 0, 0x7b, 0], at: Place.code + 0x16)
    let handler = Place.code + 0x100
    machine.setCallGate(0x78, to: Selector.kernelCode, handler)
    machine.write(0, at: Place.descriptors + 0x80)
    // mov rax, rsp; mov rbx, [rsp+24]; mov ecx, ss; retfq
    machine.write(
      [0x48, 0x89, 0xe0, 0x48, 0x8b, 0x5c, 0x24, 24, 0x8c, 0xd1, 0x48, 0xcb], at: handler)
    machine.setPrivilege(3)
    machine.cpu.rsp = 0x60_0010_0800
    machine.run(from: 0x60_0000_0000)
    #expect(machine.haltedVector == 0x31)
    #expect(machine.cpu.rax == Place.kernelStack - 32)
    #expect(machine.cpu.rbx == UInt64(Selector.userData))
    #expect(machine.cpu.rcx == 0)
    #expect(machine.frame?.rip == 0x60_0000_0008)
    #expect(machine.frame?.rsp == 0x60_0010_0800)
    // Its upper half must be of no type.
    machine.write(0x0100_0000_0000, at: Place.descriptors + 0x80)
    machine.setPrivilege(3)
    machine.cpu.rsp = 0x60_0010_0800
    machine.run(from: 0x60_0000_0000)
    #expect(machine.haltedVector == 13)
    #expect(machine.frame?.code == 0x78)
  }
}
