import ArchitectureX86
import Board
import Memory
import Testing

@testable import X86Processor

/// One instruction at a time, for another engine.
@Suite struct InstructionEmulatorTests {
  private typealias Place = TestMachine.Place

  private let machine = TestMachine()
  private let emulator: InstructionEmulator

  init() {
    emulator = InstructionEmulator(
      index: 0, processors: 4, memory: machine.memory, model: .x86_64v2, clock: machine.clock)
  }

  /// The machine's state, about to run `code`.
  private func state(at code: [UInt8]) -> X86.State {
    machine.write(code, at: Place.code)
    var state = machine.core.state
    state.rip = Place.code
    state.activity = .active
    return state
  }

  private func execute(_ state: X86.State) throws -> InstructionEmulator.Outcome {
    try emulator.execute(state, &machine.buses)
  }

  @Test func `one instruction is carried out, and no more`() throws {
    var before = state(at: [0x48, 0xff, 0xc0, 0x48, 0xff, 0xc0])  // inc rax; inc rax
    before.registers[0] = 41
    let outcome = try execute(before)
    var expected = before
    expected.registers[0] = 42
    expected.rip += 3
    expected.rflags = outcome.state.rflags
    expected.tsc = outcome.state.tsc
    #expect(outcome.state == expected)
    #expect(outcome.instruction.all == [0x48, 0xff, 0xc0])
    #expect("\(outcome.instruction)" == "48 ff c0")
    #expect(!outcome.hasChangedAPIC && !outcome.isTripleFault && outcome.messages.isEmpty)
  }

  @Test(
    arguments: [
      ([0xeb, 0x10], 0x12),  // jmp
      ([0xeb, 0xfe], 0),  // jmp to itself
      ([0xe8, 0x10, 0, 0, 0], 0x15),  // call
      ([0x75, 0x20], 0x22),  // jnz
      ([0xe9, 0x00, 0x20, 0, 0], 0x2005),  // jmp to another page
    ] as [([UInt8], UInt64)])
  func `a jump ends at its target`(_ code: [UInt8], _ distance: UInt64) throws {
    // Wherever it ends: inc rax.
    for offset in 2..<0x30 { machine.write([0x48, 0xff, 0xc0], at: Place.code + UInt64(offset)) }
    var before = state(at: code)
    before.rflags = 2
    for _ in 0..<3 {
      let after = try execute(before).state
      #expect(after.rip == Place.code + distance)
      #expect(after.registers[0] == before.registers[0])
    }
  }

  @Test func `memory is as it is now, code and translations too`() throws {
    #expect(try execute(state(at: [0xb0, 1])).state.registers[0] & 0xff == 1)  // mov al, 1
    machine.host(Place.code).storeBytes(of: 2, toByteOffset: 1, as: UInt8.self)
    var before = machine.core.state
    before.rip = Place.code
    before.activity = .active
    #expect(try execute(before).state.registers[0] & 0xff == 2)
    // Another page at the same address.
    machine.write([0xb0, 3], at: Place.code + 0x3000)
    machine.map(Place.code, to: Place.code + 0x3000)
    #expect(try execute(before).state.registers[0] & 0xff == 3)
    #expect(machine.memory.watchedLines.watched(page: Int(Place.code >> 12)) == 0)
  }

  @Test func `what is written is noted as dirty`() throws {
    var before = state(at: [0x48, 0x89, 0x03])  // mov [rbx], rax
    before.registers[3] = Place.data
    for _ in 0..<2 {
      machine.memory.dirtyPages.isEnabled = true
      _ = machine.memory.dirtyPages.collect()
      _ = try execute(before)
      #expect(machine.memory.dirtyPages.collect().contains(Int(Place.data >> 12)))
    }
  }

  @Test func `an exception is delivered`() throws {
    let outcome = try execute(state(at: [0x0f, 0x0b]))  // ud2
    #expect(outcome.state.rip == Place.handlers + 6 * 16)
    #expect(outcome.state.activity == .active)
    #expect(machine.read(outcome.state.registers[4]) == Place.code)
  }

  @Test func `a page fault leaves its address in CR2`() throws {
    var before = state(at: [0x48, 0x8b, 0x03])  // mov rax, [rbx]
    before.registers[3] = 0x7fff_0000
    let after = try execute(before).state
    #expect(after.rip == Place.handlers + 14 * 16)
    #expect(after.cr2 == 0x7fff_0000)
  }

  @Test func `a triple fault shuts the processor down`() throws {
    var before = state(at: [0x0f, 0x0b])
    before.idtr.limit = 0
    let outcome = try execute(before)
    #expect(outcome.isTripleFault)
    #expect(outcome.state.activity == .shutdown)
  }

  @Test func `HLT leaves the processor halted, and a halted one executes nothing`() throws {
    let halted = try execute(state(at: [0xf4, 0x90])).state
    #expect(halted.activity == .halted)
    #expect(halted.rip == Place.code + 1)
    let outcome = try execute(halted)
    #expect(outcome.state == halted)
    #expect(outcome.instruction.all.isEmpty)
  }

  @Test func `the shadow of STI and MOV SS comes out and goes in`() throws {
    var before = state(at: [0xfb, 0x90])  // sti; nop
    let after = try execute(before).state
    #expect(after.events.interruptShadow)
    #expect(after.rflags & X86.Flags.interrupt != 0)
    #expect(try !execute(after).state.events.interruptShadow)
    before = state(at: [0x8e, 0xd0, 0x90])  // mov ss, eax; nop
    before.registers[0] = UInt64(TestMachine.Selector.kernelData)
    #expect(try execute(before).state.events.interruptShadow)
  }

  @Test func `interrupts and NMIs wait`() throws {
    var before = state(at: [0x90, 0x90])
    before.rflags |= X86.Flags.interrupt
    before.events.nmiPending = true
    before.apic?.registers[0x0f] |= 0x100  // enabled
    before.apic?.registers[0x22] = 1  // vector 0x40 is requested
    let after = try execute(before).state
    #expect(after.rip == Place.code + 1)
    #expect(after.events.nmiPending)
    #expect(after.apic?.registers[0x22] == 1)
  }

  @Test func `a traced instruction ends in its trap`() throws {
    var before = state(at: [0xeb, 0x10])  // jmp
    before.rflags |= X86.Flags.trap
    let after = try execute(before).state
    #expect(after.rip == Place.handlers + 16)
    #expect(machine.read(after.registers[4]) == Place.code + 0x12)
    #expect(after.debug[4] & 1 << 14 != 0)
  }

  @Test func `a repeated string instruction goes on for long, but not for ever`() throws {
    var before = state(at: [0xf3, 0xaa])  // rep stosb
    before.registers[1] = 100
    before.registers[7] = Place.data
    var after = try execute(before).state
    #expect(after.registers[1] == 0)
    #expect(after.rip == Place.code + 2)
    // Backwards, which goes byte by byte.
    before.rflags |= X86.Flags.direction
    before.registers[1] = 10_000
    before.registers[7] = Place.data + 0x3000
    var calls = 0
    after = before
    while after.rip == Place.code, calls < 10 {
      after = try execute(after).state
      calls += 1
    }
    #expect(calls == 3)
    #expect(after.registers[1] == 0)
    #expect(after.registers[7] == Place.data + 0x3000 - 10_000)
  }

  @Test func `accesses outside memory go to the buses`() throws {
    let device = RecordingDevice()
    machine.deviceRegisters.map(device, at: 0x1_0000_0000..<0x1_0000_1000)
    machine.ports.map(device, at: 0x70..<0x72)
    machine.map(0x30_0000, to: 0x1_0000_0000)
    var before = state(at: [0xa5])  // movsd
    before.registers[6] = 0x30_0010
    before.registers[7] = Place.data
    _ = try execute(before)
    #expect(machine.read(Place.data) & 0xffff_ffff == 0x10)
    before = state(at: [0xe6, 0x71])  // out 0x71, al
    before.registers[0] = 0x5a
    _ = try execute(before)
    #expect(device.written == [0x5a])
  }

  @Test func `interprocessor interrupts come out as messages`() throws {
    machine.map(0x30_0000, to: 0xfee0_0000)
    func send(_ command: UInt64, _ destination: UInt32 = 0) throws -> [MSI] {
      var before = state(at: [0x89, 0x03])  // mov [rbx], eax
      before.apic?.registers[0x31] = destination
      before.registers[0] = command
      before.registers[3] = 0x30_0300
      let outcome = try execute(before)
      #expect(outcome.hasChangedAPIC)
      #expect(outcome.state.apic?.registers[0x30] == UInt32(command))
      #expect(outcome.state.apic?.registers[0x22] == 0)
      return outcome.messages
    }
    func message(_ id: UInt64, _ data: UInt32) -> MSI {
      MSI(address: 0xfee0_0000 | id << 12, data: data | 1 << 14)
    }
    #expect(try send(0x4055, 2 << 24) == [message(2, 0x55)])
    #expect(try send(0x4_4055) == [message(0, 0x55)])
    #expect(try send(0xc_4055) == (1..<4).map { message($0, 0x55) })
    #expect(try send(0xc_4500) == (1..<4).map { message($0, 0x500) })  // INIT
    #expect(try send(0x4055, 9 << 24) == [])
    #expect(
      try send(0x4855, 3 << 24) == [MSI(address: 0xfee0_3004, data: 0x4055)])  // logical
  }

  @Test func `the end of a level-triggered interrupt comes out`() throws {
    machine.map(0x30_0000, to: 0xfee0_0000)
    var before = state(at: [0x89, 0x03])
    before.registers[3] = 0x30_00b0
    before.apic?.registers[0x12] = 1  // vector 0x40 in service,
    before.apic?.registers[0x1a] = 1  // level-triggered
    let outcome = try execute(before)
    #expect(outcome.endedInterrupts == [0x40])
    #expect(outcome.state.apic?.registers[0x12] == 0)
  }

  @Test func `an impossible state is refused`() {
    var before = state(at: [0x90])
    before.registers = []
    #expect(throws: StateError.self) { try execute(before) }
  }
}

/// Reads as its offsets, and remembers what was written.
private final class RecordingDevice: IODevice, @unchecked Sendable {
  // Sendable although it varies: one thread only uses it.
  var written: [UInt64] = []
  func read(_ access: Access) throws(IOError) -> UInt64 { access.offset }
  func write(_ value: UInt64, _ access: Access) throws(IOError) { written.append(value) }
}
