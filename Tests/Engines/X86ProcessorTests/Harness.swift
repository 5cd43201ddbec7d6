import ArchitectureX86
import Board
import CProcessor
import Execution
import Glibc
import InterruptControllers
import Kit
import Memory
import SameISA
import Synchronization

@testable import X86Processor

/// A machine of one processor and 16 MiB of memory, without devices, for hand-made code.
///
/// Its tables are those of an operating system in little: low memory is mapped to itself for the
/// supervisor, every vector has a handler that halts, and selectors are those that Linux uses.
final class TestMachine {
  /// Where things lie in physical memory.
  enum Place {
    static let pageTables: UInt64 = 0x1000
    static let descriptors: UInt64 = 0x10000
    static let interrupts: UInt64 = 0x11000
    static let taskState: UInt64 = 0x12000
    static let localDescriptors: UInt64 = 0x13000
    /// One HLT for each vector, 16 bytes apart.
    static let handlers: UInt64 = 0x20000
    static let kernelStack: UInt64 = 0x40000
    static let faultStack: UInt64 = 0x44000
    static let code: UInt64 = 0x10_0000
    static let data: UInt64 = 0x20_0000
  }

  /// Selectors, as Linux has them.
  enum Selector {
    static let kernelCode: UInt16 = 0x10
    static let kernelData: UInt16 = 0x18
    static let userCode32: UInt16 = 0x23
    static let userData: UInt16 = 0x2b
    static let userCode: UInt16 = 0x33
    static let taskState: UInt16 = 0x40
    static let kernelCode32: UInt16 = 0x50
    static let kernelCode16: UInt16 = 0x58
  }

  /// With ROOST_TEST_TIER=translator, everything that can is made host code the first time it runs.
  static let usesTranslator =
    getenv("ROOST_TEST_TIER").map { String(cString: $0) == "translator" } ?? false

  let memory: GuestMemory
  let core: Core
  let apics: LocalAPICs
  let clock = ManualClock()
  /// Where devices of a test answer.
  let ports = IOBus(wideAccess: .split)
  let deviceRegisters = IOBus(wideAccess: .refuse)
  private let loop = ManualLoop()
  private let surroundings = Surroundings()
  private let watchdog: Watchdog
  var buses: Buses
  private var nextTable = Place.pageTables

  /// - Parameters:
  ///   - features: what the processor has beyond those of its model, as leaf 1 ECX, leaf 7 EBX and ECX.
  ///   - extended: the same of leaf 80000001h EDX.
  ///   - translates: whether code is made host code, where the host permits it.
  ///   - record: where it is told what comes of comparing host code with the interpreter; `nil`: nothing is compared.
  init(
    tscFrequency: UInt64 = 1_000_000_000, features: (UInt32, UInt32, UInt32) = (0, 0, 0),
    extended: UInt32 = 0, translates: Bool = usesTranslator,
    comparing record: ComparisonRecord? = nil
  ) {
    memory = try! GuestMemory([.init(start: GPA(0), count: 16 << 20)])
    apics = LocalAPICs(
      processors: 1, clock: clock, loop: loop, tscFrequency: tscFrequency,
      attention: surroundings)
    var model = X86.CPUModel.x86_64v2
    model.tscFrequency = tscFrequency
    model.features.leaf1ECX |= features.0
    model.features.leaf7EBX |= features.1
    model.features.leaf7ECX |= features.2
    model.features.extendedEDX |= extended
    core = Core(index: 0, memory: memory, apic: apics[0], model: model, clock: clock)
    if translates || record != nil,
      let translator = SameISATranslator(for: core, isExact: true, comparing: record)
    {
      core.use(translator, after: 1)
    }
    buses = Buses(ports: ports, registers: deviceRegisters)
    watchdog = Watchdog(core)
    surroundings.core = core
    core.neighbours = surroundings
    memory.watchedLines.watcher = surroundings
    nextTable += 0x1000
    for page in 0..<UInt64(1024) { map(page << 12, to: page << 12) }
    writeDescriptors()
    enterLongMode()
  }

  deinit { watchdog.stop() }

  // MARK: - Memory

  func write(_ bytes: [UInt8], at address: UInt64) {
    try! memory.write(bytes.span, at: GPA(address))
  }

  func write(_ value: UInt64, at address: UInt64) { try! memory.store(value, at: GPA(address)) }

  func read(_ address: UInt64) -> UInt64 { try! memory.load(UInt64.self, at: GPA(address)) }

  func bytes(at address: UInt64, count: Int) -> [UInt8] {
    try! memory.bytes(at: GPA(address), count: count)
  }

  /// Where a page of the machine's memory lies in the host.
  func host(_ address: UInt64) -> UnsafeMutableRawPointer {
    memory.hostPage(holding: GPA(address))!.base
  }

  static let present: UInt64 = 1
  static let writable: UInt64 = 2
  static let user: UInt64 = 4
  static let noExecute: UInt64 = 1 << 63

  /// Maps a page; `flags` are those of the leaf, all else permits everything.
  func map(_ linear: UInt64, to physical: UInt64, _ flags: UInt64 = present | writable) {
    write(physical | flags, at: entry(of: linear))
  }

  /// Where the leaf entry of a page lies.
  func entry(of linear: UInt64) -> UInt64 {
    var table = Place.pageTables
    for level in [39, 30, 21] as [UInt64] {
      let slot = table + (linear >> level & 0x1ff) * 8
      if read(slot) & 1 == 0 {
        write(nextTable | 7, at: slot)
        nextTable += 0x1000
        precondition(nextTable <= Place.descriptors, "room for page tables")
      }
      table = read(slot) & 0x000f_ffff_ffff_f000
    }
    return table + (linear >> 12 & 0x1ff) * 8
  }

  // MARK: - Descriptors

  private func writeDescriptors() {
    let descriptors: [(UInt16, UInt64)] = [
      (0x10, 0x00af_9b00_0000_ffff), (0x18, 0x00cf_9300_0000_ffff),
      (0x20, 0x00cf_fb00_0000_ffff), (0x28, 0x00cf_f300_0000_ffff),
      (0x30, 0x00af_fb00_0000_ffff),
      (0x40, 0x0000_8900_0000_0067 | Place.taskState << 16),
      (0x50, 0x00cf_9b00_0000_ffff), (0x58, 0x0000_9b00_0000_ffff),
    ]
    for (selector, descriptor) in descriptors {
      write(descriptor, at: Place.descriptors + UInt64(selector))
    }
    for vector in 0..<256 {
      setGate(vector, handler: Place.handlers + UInt64(vector) * 16)
      write([0xf4], at: Place.handlers + UInt64(vector) * 16)
    }
    write(Place.kernelStack, at: Place.taskState + 4)  // RSP0
    write(Place.faultStack, at: Place.taskState + 36)  // IST1
    write([0x68, 0], at: Place.taskState + 102)  // no port permissions
  }

  /// A 64-bit gate: type 14 disables interrupts, 15 does not.
  func setGate(
    _ vector: Int, handler: UInt64, stack: UInt64 = 0, privilege: UInt64 = 3, type: UInt64 = 14
  ) {
    let low =
      handler & 0xffff | UInt64(Selector.kernelCode) << 16 | stack << 32
      | (0x80 | privilege << 5 | type) << 40 | (handler >> 16 & 0xffff) << 48
    write(low, at: Place.interrupts + UInt64(vector) * 16)
    write(handler >> 32, at: Place.interrupts + UInt64(vector) * 16 + 8)
  }

  // MARK: - State

  var cpu: UnsafeMutablePointer<x86_cpu> { core.cpu }

  /// 64-bit mode with paging, at privilege level 0, interrupts off.
  func enterLongMode() {
    core.reset(asBootstrap: true)
    cpu.pointee.cr0 =
      X86.CR0.paging | X86.CR0.protection | X86.CR0.writeProtect | X86.CR0.numericError
      | X86.CR0.extensionType
    cpu.pointee.cr3 = Place.pageTables
    cpu.pointee.cr4 = X86.CR4.physicalAddressExtension | X86.CR4.fxsave | X86.CR4.globalPages
    cpu.pointee.efer =
      X86.EFER.longModeEnable | X86.EFER.longModeActive | X86.EFER.executeDisable
      | X86.EFER.systemCall
    cpu.pointee.gdtr_base = Place.descriptors
    cpu.pointee.gdtr_limit = 0xfff
    cpu.pointee.idtr_base = Place.interrupts
    cpu.pointee.idtr_limit = 0xfff
    cpu.pointee.tr_selector = Selector.taskState
    cpu.pointee.tr_base = Place.taskState
    cpu.pointee.tr_limit = 0x67
    cpu.pointee.tr_attributes = 0x8b
    setPrivilege(0)
    core.flushTranslations(global: true)
    cpu.rsp = Place.kernelStack - 0x1000
  }

  /// 64-bit code at privilege level 0 or 3, with the selectors of Linux.
  func setPrivilege(_ level: UInt32) {
    let isUser = level == 3
    core.cpu.setSegment(
      1, selector: isUser ? Selector.userCode : Selector.kernelCode, base: 0, limit: 0xffff_ffff,
      attributes: isUser ? 0xa0fb : 0xa09b)
    core.cpu.setSegment(
      2, selector: isUser ? Selector.userData : Selector.kernelData, base: 0, limit: 0xffff_ffff,
      attributes: isUser ? 0xc0f3 : 0xc093)
    for segment in [0, 3, 4, 5] {
      core.cpu.setSegment(segment, selector: 0, base: 0, limit: 0, attributes: 0x1_0000)
    }
    cpu.pointee.privilege = level
    core.modeChanged()
  }

  var registers: [UInt64] {
    get { (0..<16).map { cpu.get(UInt8($0 * 8), UInt64.self) } }
    set { for (number, value) in newValue.enumerated() { cpu.set(UInt8(number * 8), value) } }
  }

  // MARK: - Running

  /// How a run ended.
  enum Stop: Equatable {
    /// HLT; `rip` is behind it.
    case halted
    case tripleFault
    /// Neither within the watchdog's patience.
    case timedOut
  }

  /// Runs from `rip` until HLT.
  @discardableResult
  func run(from rip: UInt64) -> Stop {
    cpu.pointee.rip = rip
    return resume()
  }

  /// Runs on from where the machine stands.
  @discardableResult
  func resume() -> Stop {
    core.activity = .active
    core.becomeCurrent()
    watchdog.begin()
    defer { watchdog.end() }
    switch core.run(&buses) {
    case .tripleFault: return .tripleFault
    default: return core.activity == .halted ? .halted : .timedOut
    }
  }

  /// Which vector's handler halted the machine; `nil` if it stopped elsewhere.
  var haltedVector: Int? {
    let distance = cpu.pointee.rip &- 1 &- Place.handlers
    return distance < 0x1000 && distance % 16 == 0 ? Int(distance / 16) : nil
  }

  /// What the processor pushed on the way to a handler, at the top of the stack.
  struct Frame: Equatable {
    var code: UInt64?
    var rip: UInt64
    var selector: UInt16
    var flags: UInt64
    var rsp: UInt64
    var stackSelector: UInt16
  }

  var frame: Frame? {
    guard let vector = haltedVector else { return nil }
    let hasCode = [8, 10, 11, 12, 13, 14, 17].contains(vector)
    let base = cpu.rsp + (hasCode ? 8 : 0)
    return Frame(
      code: hasCode ? read(cpu.rsp) : nil, rip: read(base),
      selector: UInt16(truncatingIfNeeded: read(base + 8)), flags: read(base + 16),
      rsp: read(base + 24), stackSelector: UInt16(truncatingIfNeeded: read(base + 32)))
  }
}

/// What a core needs around it: whoever would let it sleep makes it return instead.
private final class Surroundings: CoreNeighbours, ProcessorAttention, MemoryWatcher,
  @unchecked Sendable
{
  // Sendable although `core` varies: it is set once, before anything runs.
  unowned(unsafe) var core: Core?

  func pageWatched(page: Int, physical: UInt64, by core: Core) {}
  func haveAllHeard(_ announcements: UInt64) -> Bool { true }
  func sleep(_ core: Core) { core.kick() }
  func wake(_ core: Core) {}
  func attend(_ processor: Int) { core?.attend() }
  func watchedLinesChanged(page: Int) { core?.noteCodeChanged(page: page) }
}

/// Kicks a core that runs for longer than any test should: a bug must not hang the suite.
private final class Watchdog: Sendable {
  private static let patience: UInt32 = 20  // seconds
  private let runs = Atomic<UInt64>(0)
  private let isRunning = Atomic<Bool>(false)
  private let isStopped = Atomic<Bool>(false)

  init(_ core: Core) {
    let box = Unmanaged.passRetained(Box(self, core))
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { argument in
        let box = Unmanaged<Box>.fromOpaque(argument!).takeRetainedValue()
        box.watchdog.watch(box.core)
        return nil
      }, box.toOpaque())
    pthread_detach(thread)
  }

  private final class Box {
    let watchdog: Watchdog
    let core: Core
    init(_ watchdog: Watchdog, _ core: Core) {
      self.watchdog = watchdog
      self.core = core
    }
  }

  func begin() {
    runs.add(1, ordering: .relaxed)
    isRunning.store(true, ordering: .relaxed)
  }

  func end() { isRunning.store(false, ordering: .relaxed) }
  func stop() { isStopped.store(true, ordering: .relaxed) }

  private func watch(_ core: Core) {
    var seen: UInt64 = 0
    var seconds: UInt32 = 0
    while !isStopped.load(ordering: .relaxed) {
      sleep(1)
      let now = runs.load(ordering: .relaxed)
      seconds = now == seen && isRunning.load(ordering: .relaxed) ? seconds + 1 : 0
      seen = now
      if seconds >= Self.patience { core.kick() }
    }
  }
}
