import ArchitectureX86
import Board
import Execution
import HostOS
import Kit
import Memory
import Monitor
import Synchronization
import Testing

/// A guest without a machine around it: memory, buses, and processors on threads of their own.
///
/// Its memory holds what an operating system would set up: all addresses below 4 GiB mapped to themselves, and a
/// handler for each vector that says on a port what came.
final class Rig: Sendable {
  /// Where things lie in physical memory.
  enum Place {
    static let pageTables: UInt64 = 0x1000
    static let descriptors: UInt64 = 0x10000
    static let interrupts: UInt64 = 0x11000
    static let taskState: UInt64 = 0x12000
    static let handlers: UInt64 = 0x20000
    /// A page for each processor, at GS: its number, shifted by 8.
    static let own: UInt64 = 0x3_0000
    /// The top of the first processor's stack; the others' lie 64 KiB higher each.
    static let stack: UInt64 = 0x8_0000
    static let code: UInt64 = 0x10_0000
    static let data: UInt64 = 0x20_0000
    static let memoryEnd: UInt64 = 0x100_0000
    static let rom: UInt64 = 0x200_0000
    static let romSize: UInt64 = 0x1_0000
    /// Neither memory nor anything of a processor's own.
    static let registers: UInt64 = 0x4000_0000
    static let apic: UInt64 = 0xfee0_0000
  }

  /// Where the rig's own devices answer. All else a test puts on the buses itself.
  enum Port {
    /// Writing ends the run of the processor whose number is written.
    static let end: UInt16 = 0x500
    /// What the guest has to say.
    static let report: UInt16 = 0x504
    /// Vectors of the interrupts that came, and in bits 8 to 15 to which processor.
    static let vector: UInt16 = 0x508
    /// Vectors of exceptions; writing ends all runs.
    static let fault: UInt16 = 0x50c
  }

  /// An interrupt that reached its handler.
  struct Interrupt: Equatable, Sendable {
    var vector: UInt8
    var processor = 0
  }

  enum Selector {
    static let code: UInt16 = 0x10
    static let data: UInt16 = 0x18
    static let taskState: UInt16 = 0x40
  }

  let memory: GuestMemory
  let loop: EventLoop
  let clock: GuestClock
  let partition: any Partition<X86>
  let ports = IOBus(wideAccess: .split)
  let registers = IOBus(wideAccess: .refuse)
  let processors: [ProcessorThread]
  private let console: Console

  init(
    _ engine: EngineUnderTest, processors count: Int = 1, timePasses: Bool = true
  ) throws {
    memory = try GuestMemory([
      .init(start: GPA(0), count: Place.memoryEnd),
      .init(start: GPA(Place.rom), count: Place.romSize, kind: .rom),
    ])
    loop = try EventLoop(name: "devices")
    clock = GuestClock(epoch: 0, on: loop)
    if timePasses { clock.start() }
    partition = try engine.make().makePartition(
      PartitionPlan(processors: count, model: EngineUnderTest.model, clock: clock, loop: loop))
    try partition.map(memory)
    console = Console(partition, processors: count)
    ports.map(console, at: UInt64(Port.end)..<UInt64(Port.end) + 16)
    let (partition, ports, registers) = (partition, ports, registers)
    processors = try (0..<count).map {
      try ProcessorThread($0, of: partition, ports: ports, registers: registers)
    }
    try setUpTables()
  }

  deinit {
    for (index, processor) in processors.enumerated() {
      partition.kick(index)
      processor.leave()
    }
    loop.stop()
  }

  // MARK: - What the guest says

  var reports: [UInt32] { console.log.withLock { $0.reports } }
  /// The interrupts that came, in order, on whichever processor.
  var interrupts: [Interrupt] { console.log.withLock { $0.interrupts } }
  var vectors: [UInt8] { interrupts.map(\.vector) }
  var faults: [UInt8] { console.log.withLock { $0.faults } }

  /// Ends a processor's run in the guest's place.
  func end(processor: Int = 0) { console.end(processor) }

  /// Waits until the guest has said something, or until it is too late.
  func waitUntil(within seconds: UInt64 = 60, _ condition: () -> Bool) -> Bool {
    let deadline = HostClock.now.advanced(by: seconds * 1_000_000_000)
    while !condition() {
      guard HostClock.now < deadline else { return false }
      Thread.sleep(until: HostClock.now.advanced(by: 200_000))
    }
    return true
  }

  func wait(nanoseconds: UInt64) {
    Thread.sleep(until: HostClock.now.advanced(by: nanoseconds))
  }

  // MARK: - Memory

  func write(_ bytes: [UInt8], at address: UInt64) throws {
    try memory.write(bytes, at: GPA(address))
  }

  func write(_ value: UInt64, at address: UInt64) throws {
    try memory.store(value, at: GPA(address))
  }

  func read(_ address: UInt64) throws -> UInt64 { try memory.load(at: GPA(address)) }

  // MARK: - Programs

  /// Puts a program where it can be run.
  @discardableResult
  func load(
    at address: UInt64 = Place.code, _ write: (inout Assembler) -> Void
  ) throws -> Assembler {
    var assembler = Assembler(at: address)
    write(&assembler)
    try self.write(assembler.bytes, at: address)
    return assembler
  }

  /// Puts a program in place that ends with the processor's run, and runs it from the processor's beginning.
  @discardableResult
  func run(
    processor: Int = 0, _ change: @escaping @Sendable (inout X86.State) -> Void = { _ in },
    program write: (inout Assembler) -> Void
  ) throws -> X86.State {
    try load(at: Place.code) {
      write(&$0)
      $0.end(processor)
    }
    return try run(processor: processor, from: Place.code, change)
  }

  /// Runs from an address until the guest ends it.
  @discardableResult
  func run(
    processor: Int = 0, from address: UInt64,
    _ change: @escaping @Sendable (inout X86.State) -> Void = { _ in }
  ) throws -> X86.State {
    try begin(processor: processor, from: address, change).get()
  }

  /// Lets a processor run until the guest ends it.
  func begin(
    processor: Int = 0, from address: UInt64,
    _ change: @escaping @Sendable (inout X86.State) -> Void = { _ in }
  ) -> Answer<X86.State> {
    let console = console
    return processors[processor].begin { vp, buses in
      var state = try vp.state(of: .zero)
      state.enterLongMode(at: address, of: processor)
      change(&state)
      try vp.setState(state, of: .zero)
      return try console.runToEnd(processor, vp, &buses)
    }
  }

  /// Lets a processor run on from where it stands until the guest ends it.
  func resume(processor: Int = 0) -> Answer<X86.State> {
    let console = console
    return processors[processor].begin { vp, buses in
      try console.runToEnd(processor, vp, &buses)
    }
  }

  func state(of processor: Int = 0) throws -> X86.State {
    try processors[processor].perform { vp, _ in try vp.state(of: .zero) }
  }

  func setState(_ state: X86.State, of processor: Int = 0) throws {
    try processors[processor].perform { vp, _ in try vp.setState(state, of: .zero) }
  }
}

/// The run ended otherwise than the guest meant it to.
struct UnexpectedEnd: Error, CustomStringConvertible {
  let description: String
}

/// The rig's own devices.
private final class Console: IODevice {
  struct Log: Sendable {
    var reports: [UInt32] = []
    var interrupts: [Rig.Interrupt] = []
    var faults: [UInt8] = []
    var ended: Set<Int> = []
  }
  let log = Mutex(Log())
  private let partition: any Partition<X86>
  private let processors: Int

  init(_ partition: any Partition<X86>, processors: Int) {
    self.partition = partition
    self.processors = processors
  }

  func read(_ access: Access) throws(IOError) -> UInt64 { throw .noSuchRegister }

  func write(_ value: UInt64, _ access: Access) throws(IOError) {
    let port = Rig.Port.end + UInt16(access.offset)
    log.withLock { log in
      switch port {
      case Rig.Port.report: log.reports.append(UInt32(truncatingIfNeeded: value))
      case Rig.Port.vector:
        log.interrupts.append(
          .init(vector: UInt8(truncatingIfNeeded: value), processor: Int(value >> 8 & 0xff)))
      case Rig.Port.fault:
        log.faults.append(UInt8(truncatingIfNeeded: value))
        log.ended.formUnion(0..<processors)
      default: break
      }
    }
    if port == Rig.Port.end { end(Int(truncatingIfNeeded: value)) }
    if port == Rig.Port.fault { for index in 0..<processors { partition.kick(index) } }
  }

  func end(_ processor: Int) {
    log.withLock { _ = $0.ended.insert(processor) }
    partition.kick(processor)
  }

  /// Runs until the guest says that it is done.
  func runToEnd(
    _ index: Int, _ processor: ProcessorThread.Processor, _ buses: inout Buses
  ) throws -> X86.State {
    while true {
      let exit = try processor.run(&buses)
      let (isDone, faults) = log.withLock { log in (log.ended.remove(index) != nil, log.faults) }
      guard exit == .kicked else { throw UnexpectedEnd(description: "the run ended with \(exit)") }
      let state = try processor.state(of: .zero)
      guard faults.isEmpty else {
        throw UnexpectedEnd(
          description:
            "exceptions \(faults); stack pointer \(String(state.registers[4], radix: 16))")
      }
      if isDone { return state }
    }
  }
}

extension Assembler {
  /// Ends the processor's run: what follows is not reached. RAX and RDX are lost.
  mutating func end(_ processor: Int = 0) {
    output(UInt32(processor), port: Rig.Port.end)
    let again = placed()
    jump(to: again)
  }

  /// Tells the test the low half of a register. RAX and RDX are lost.
  mutating func report(_ register: X86.Register) {
    move(.rax, register)
    move(.rdx, UInt64(Rig.Port.report))
    output(.doubleword)
  }

  /// Gives interrupts time to come. R14 is lost.
  mutating func dawdle() {
    move(.r14, 3000)
    let again = placed()
    compute(.subtract, .r14, 1)
    jump(if: .notZero, to: again)
  }

  /// Writes a register of the local APIC. R15 is lost.
  mutating func setAPIC(_ offset: Int32, _ value: UInt32) {
    move(.r15, Rig.Place.apic)
    store(Int32(bitPattern: value), Memory(base: .r15, displacement: offset))
  }
}
