import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// Tasks: SDM Vol. 3A chapter 7.
struct TaskSwitchTests {
  private typealias Place = TestMachine.Place
  private typealias ProtectedPlace = TestMachine.ProtectedPlace
  private typealias Selector = TestMachine.Selector
  private typealias Raised = TestMachine.Raised
  private static let other: UInt16 = 0x70
  private static let gate: UInt16 = 0x78
  private static let otherCode: UInt64 = Place.code + 0x100
  private static let otherStack: UInt64 = Place.data + 0x800

  /// A machine whose code is `code`, and another task that may be switched to.
  private func machine(_ code: [UInt8], is32Bit: Bool = true) -> TestMachine {
    let machine = TestMachine.protected(code)
    machine.cpu.pointee.tr_attributes = 0x8b
    machine.setDescriptor(
      Self.other, base: ProtectedPlace.otherTask, limit: is32Bit ? 0x67 : 0x2b,
      rights: is32Bit ? 0x89 : 0x81)
    machine.setSystemGate(
      at: Place.descriptors + UInt64(Self.gate), to: Self.other, 0, type: 5)
    if is32Bit {
      set(machine, 0x20, Self.otherCode)
      set(machine, 0x24, 0x2)
      for register in 0..<8 as Range<UInt64> {
        set(machine, 0x28 + register * 4, register == 4 ? Self.otherStack : 0x100 + register)
      }
      for segment in 0..<6 as Range<UInt64> {
        let selector = segment == 1 ? Selector.kernelCode32 : Selector.kernelData
        set(machine, 0x48 + segment * 4, UInt64(selector))
      }
    } else {
      set(machine, 0x0e, 0x100, 2)
      set(machine, 0x10, 0x2, 2)
      for register in 0..<8 as Range<UInt64> {
        set(machine, 0x12 + register * 2, register == 4 ? 0x800 : 0x100 + register, 2)
      }
      machine.setDescriptor(0x80, base: Place.code, limit: 0xffff, rights: 0x409b)
      machine.setDescriptor(0x88, base: Place.data, limit: 0xffff, rights: 0x4093)
      for (index, selector) in [0x88, 0x80, 0x88, 0x88].enumerated() {
        set(machine, 0x22 + UInt64(index) * 2, UInt64(selector), 2)
      }
    }
    machine.write([0xf4], at: Self.otherCode)
    return machine
  }

  private func set(_ machine: TestMachine, _ offset: UInt64, _ value: UInt64, _ size: Int = 4) {
    machine.write(SampleBuilder.bytes(value, size), at: ProtectedPlace.otherTask + offset)
  }

  private func state(_ machine: TestMachine, _ offset: UInt64) -> UInt64 {
    machine.read(ProtectedPlace.taskState + offset) & 0xffff_ffff
  }

  private func isBusy(_ machine: TestMachine, _ selector: UInt16) -> Bool {
    machine.read(Place.descriptors + UInt64(selector)) >> 41 & 1 != 0
  }

  /// A far JMP or CALL.
  private func far(_ opcode: UInt8, _ selector: UInt16 = other) -> [UInt8] {
    [opcode, 0, 0, 0, 0] + SampleBuilder.bytes(UInt64(selector), 2)
  }

  @Test func `a jump to a task saves this one and loads that one`() {
    let machine = machine(far(0xea))
    machine.registers = (0..<16).map { UInt64($0) + 0x40 }
    machine.cpu.rsp = 0x3_f000
    machine.cpu.rflags = 0xc93  // OF, DF, SF, AF, CF
    machine.run(from: Place.code)
    #expect(machine.cpu.pointee.rip == Self.otherCode + 1)
    #expect(machine.registers[0...3] == [0x100, 0x101, 0x102, 0x103])
    #expect(machine.cpu.rsp == Self.otherStack)
    #expect(machine.registers[5...7] == [0x105, 0x106, 0x107])
    #expect(machine.cpu.rflags == 2)
    #expect(machine.cpu.pointee.tr_selector == Self.other)
    #expect(machine.cpu.pointee.tr_base == ProtectedPlace.otherTask)
    #expect(machine.cpu.pointee.cr0 & X86.CR0.taskSwitched != 0)
    #expect(state(machine, 0x20) == Place.code + 7)
    #expect(state(machine, 0x24) == 0xc93)
    #expect(
      (0..<8).map { state(machine, 0x28 + $0 * 4) } == [
        0x40, 0x41, 0x42, 0x43, 0x3_f000, 0x45, 0x46, 0x47,
      ])
    #expect(state(machine, 0x4c) & 0xffff == UInt64(Selector.kernelCode32))
    #expect(state(machine, 0x50) & 0xffff == UInt64(Selector.kernelData))
    #expect(!isBusy(machine, Selector.taskState))
    #expect(isBusy(machine, Self.other))
  }

  @Test(arguments: [other, gate])
  func `a call nests a task, and IRET comes back`(_ selector: UInt16) {
    // call; inc ebx; hlt. The other: inc eax; iret; inc eax; jmp back for the second call.
    let machine = machine(far(0x9a, selector) + [0x43, 0xf4])
    machine.write([0x40, 0xcf, 0x40, 0xf4], at: Self.otherCode)
    machine.cpu.rbx = 1
    machine.cpu.rax = 7
    machine.run(from: Place.code)
    #expect(machine.cpu.pointee.rip == Place.code + 9)
    #expect(machine.cpu.rbx == 2)
    #expect(machine.cpu.rax == 7)
    #expect(machine.cpu.pointee.tr_selector == Selector.taskState)
    #expect(machine.cpu.rflags & X86.Flags.nestedTask == 0)
    #expect(isBusy(machine, Selector.taskState))
    #expect(!isBusy(machine, Self.other))
    let other = ProtectedPlace.otherTask
    #expect(machine.read(other) & 0xffff == UInt64(Selector.taskState))
    #expect(machine.read(other + 0x20) & 0xffff_ffff == Self.otherCode + 2)
    #expect(machine.read(other + 0x24) & 0x4000 == 0)
    #expect(machine.read(other + 0x28) & 0xffff_ffff == 0x101)
    // Called again it goes on behind its IRET, nested.
    machine.run(from: Place.code)
    #expect(machine.cpu.pointee.rip == Self.otherCode + 4)
    #expect(machine.cpu.rax == 0x102)
    #expect(machine.cpu.rflags & X86.Flags.nestedTask != 0)
  }

  @Test func `an interrupt through a task gate brings its error code to the new stack`() {
    // mov ax, 0x1000; mov ds, ax: a selector beyond the table.
    let machine = machine([0x66, 0xb8, 0x08, 0x10, 0x8e, 0xd8, 0xf4])
    machine.setProtectedGate(13, handler: 0, selector: Self.other, type: 5)
    machine.run(from: Place.code)
    #expect(machine.cpu.pointee.rip == Self.otherCode + 1)
    #expect(machine.cpu.rsp == Self.otherStack - 4)
    #expect(machine.word(0) == 0x1008)
    #expect(state(machine, 0x20) == Place.code + 4)
    #expect(state(machine, 0x24) & UInt64(X86.Flags.resume) != 0)
    #expect(machine.cpu.rflags & X86.Flags.nestedTask != 0)
    #expect(isBusy(machine, Selector.taskState) && isBusy(machine, Self.other))
  }

  @Test func `INT through a task gate goes on behind itself after IRET`() {
    let machine = machine([0xcd, 0x30, 0x43, 0xf4])
    machine.setProtectedGate(0x30, handler: 0, selector: Self.other, type: 5)
    machine.write([0xcf], at: Self.otherCode)
    machine.cpu.rbx = 0
    machine.run(from: Place.code)
    #expect(machine.cpu.pointee.rip == Place.code + 4)
    #expect(machine.cpu.rbx == 1)
  }

  @Test func `a task of 16 bits is saved and loaded in words`() {
    let machine = machine(far(0x9a) + [0xf4], is32Bit: false)
    machine.write([0x40, 0x90, 0xcf], at: Self.otherCode)  // inc eax; nop; iret
    machine.run(from: Place.code)
    #expect(machine.cpu.pointee.rip == Place.code + 8)
    let other = ProtectedPlace.otherTask
    #expect(machine.read(other) & 0xffff == UInt64(Selector.taskState))
    #expect(machine.read(other + 0x0e) & 0xffff == 0x103)
    #expect(machine.read(other + 0x12) & 0xffff == 0x101)
    #expect(machine.read(other + 0x1a) & 0xffff == 0x800)
  }

  @Test func `a task may be of virtual-8086 code`() {
    let machine = machine(far(0xea))
    set(machine, 0x24, 0x2_0002)
    set(machine, 0x20, 0x10)
    for (index, selector) in [0x2000, 0x1000, 0x3000, 0x2100, 0, 0].enumerated() {
      set(machine, 0x48 + UInt64(index) * 4, UInt64(selector))
    }
    // mov al, ds:[0]; int 0x31 needs IOPL 3: hlt faults instead.
    machine.write([0xa0, 0, 0, 0xf4], at: 0x1_0010)
    machine.write([0x5a], at: 0x2_1000)
    set(machine, 4, ProtectedPlace.innerStack)
    set(machine, 8, UInt64(Selector.kernelData))
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(13, code: 0, at: 0x13))
    #expect(machine.cpu.rax & 0xff == 0x5a)
    #expect(machine.word(2) == 0x1000)
    #expect(machine.word(3) & 0x2_0000 != 0)
    #expect(machine.word(5) == 0x3000)
  }

  @Test func `the trap bit of a task raises #DB before its first instruction`() {
    let machine = machine(far(0xea))
    set(machine, 0x64, 1, 2)
    machine.cpu.pointee.debug.7 = 0x7ff
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(1, at: Self.otherCode))
    #expect(machine.cpu.pointee.debug.6 & 0xe00f == 0x8000)
    // L0 to L3 and LE are cleared, G0 to G3 and GE stay.
    #expect(machine.cpu.pointee.debug.7 == 0x6aa)
  }

  /// Something that is wrong with the task to which a CALL leads.
  struct Refusal: CustomTestStringConvertible, Sendable {
    let testDescription: String
    var rights: UInt64 = 0x89
    var limit: UInt64 = 0x67
    /// An offset in the task state, and what is there.
    var change: (UInt64, UInt64)?
    var user = false
    let vector: Int
    let code: UInt32
    /// Whether it is the new task's fault.
    var isNew = false
  }

  static let refusals = [
    Refusal(testDescription: "a busy task", rights: 0x8b, vector: 13, code: 0x70),
    Refusal(testDescription: "a task that is not there", rights: 0x09, vector: 11, code: 0x70),
    Refusal(testDescription: "a task state that is too short", limit: 0x66, vector: 10, code: 0x70),
    Refusal(testDescription: "a task for another level", user: true, vector: 13, code: 0x70),
    Refusal(
      testDescription: "an LDT of the wrong type", change: (0x60, 0x18), vector: 10, code: 0x18,
      isNew: true),
    Refusal(testDescription: "no code", change: (0x4c, 0), vector: 10, code: 0, isNew: true),
    Refusal(
      testDescription: "data as code", change: (0x4c, 0x18), vector: 10, code: 0x18, isNew: true),
    Refusal(
      testDescription: "code with another RPL", change: (0x4c, 0x53), vector: 10, code: 0x50,
      isNew: true),
    Refusal(
      testDescription: "code that is not there", change: (0x4c, 0x90), vector: 11, code: 0x90,
      isNew: true),
    Refusal(testDescription: "no stack", change: (0x50, 0), vector: 10, code: 0, isNew: true),
    Refusal(
      testDescription: "a stack of another level", change: (0x50, 0x2b), vector: 10, code: 0x28,
      isNew: true),
    Refusal(
      testDescription: "a stack that is not there", change: (0x50, 0x98), vector: 12, code: 0x98,
      isNew: true),
    Refusal(
      testDescription: "execute-only code as data", change: (0x54, 0xa0), vector: 10, code: 0xa0,
      isNew: true),
    Refusal(
      testDescription: "data that is not there", change: (0x54, 0x98), vector: 11, code: 0x98,
      isNew: true),
    Refusal(
      testDescription: "an instruction pointer beyond its segment", change: (0x4c, 0xa8),
      vector: 13, code: 0, isNew: true),
  ]

  @Test(arguments: refusals)
  func `a task that will not do is refused in the old or the new one`(_ example: Refusal) {
    let machine = machine(far(0x9a, example.user ? Self.other | 3 : Self.other))
    machine.setDescriptor(
      Self.other, base: ProtectedPlace.otherTask, limit: example.limit, rights: example.rights)
    machine.setDescriptor(0x90, base: 0, limit: 0xfffff, rights: 0xc01b)
    machine.setDescriptor(0x98, base: 0, limit: 0xfffff, rights: 0xc013)
    machine.setDescriptor(0xa0, base: 0, limit: 0xfffff, rights: 0xc099)
    machine.setDescriptor(0xa8, base: 0, limit: 0xff, rights: 0x409b)
    if let (offset, value) = example.change { set(machine, offset, value) }
    // Each of these exceptions has a task of its own: a stack that is always good.
    for vector in [10, 11, 12, 13] as [UInt64] {
      let selector = UInt16(0x100 + vector * 8)
      let base: UInt64 = 0x1c000 + vector * 0x80
      machine.setDescriptor(selector, base: base, limit: 0x67, rights: 0x89)
      for offset in stride(from: 0 as UInt64, to: 0x68, by: 4) {
        machine.write([0, 0, 0, 0], at: base + offset)
      }
      let fields: [(UInt64, UInt64)] = [
        (0x20, Place.handlers + vector * 16), (0x24, 2), (0x38, 0x3_8000), (0x4c, 0x50),
        (0x50, 0x18),
      ]
      for (offset, value) in fields {
        machine.write(SampleBuilder.bytes(value, 4), at: base + offset)
      }
      machine.setProtectedGate(vector, handler: 0, selector: selector, type: 5)
    }
    if example.user { machine.setFlat(user: true) }
    machine.run(from: Place.code)
    #expect(machine.haltedVector == example.vector)
    #expect(machine.word(0) == example.code)
    let base = 0x1c000 + UInt64(example.vector) * 0x80
    #expect(
      machine.read(base) & 0xffff == UInt64(example.isNew ? Self.other : Selector.taskState))
    let interrupted = example.isNew ? ProtectedPlace.otherTask : ProtectedPlace.taskState
    #expect(
      machine.read(interrupted + 0x20) & 0xffff_ffff
        == (example.isNew ? Self.otherCode : Place.code))
  }

  @Test func `IRET to a task that is not busy is #TS`() {
    let machine = machine([0xcf])
    machine.cpu.rflags = 0x4002
    machine.write(SampleBuilder.bytes(UInt64(Self.other), 2), at: ProtectedPlace.taskState)
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(10, code: UInt32(Self.other)))
  }

  @Test func `a task whose state cannot be written is left as it is`() {
    // The old task's state is on a page that may not be written: the switch faults and changes nothing.
    let machine = machine(far(0xea))
    machine.write(0x83, at: ProtectedPlace.directory)
    machine.write((ProtectedPlace.directory + 0x4000) | 3, at: ProtectedPlace.directory + 4)
    machine.write(ProtectedPlace.taskState | 1, at: ProtectedPlace.directory + 0x4000)
    machine.cpu.pointee.tr_base = 0x40_0000
    machine.cpu.pointee.cr3 = ProtectedPlace.directory
    machine.cpu.pointee.cr4 = X86.CR4.pageSizeExtensions
    machine.cpu.pointee.cr0 |= X86.CR0.paging | X86.CR0.writeProtect
    machine.core.flushTranslations(global: true)
    machine.cpu.rax = 0x1234
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(14, code: 3))
    #expect(machine.cpu.rax == 0x1234)
    #expect(machine.cpu.pointee.tr_selector == Selector.taskState)
    #expect(!isBusy(machine, Self.other))
    #expect(machine.cpu.pointee.cr2 == 0x40_0020)
  }
}
