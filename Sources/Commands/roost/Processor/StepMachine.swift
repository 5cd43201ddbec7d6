import ArchitectureX86
import Board
import Memory
import Monitor
import Work
import X86Processor

/// A processor with memory and nothing else, for single instructions.
///
/// Memory is 4 GiB of RAM at physical address zero, which reads as zero where nothing was given. In 64-bit mode the
/// page tables, unless they are the line's own, map those 4 GiB to themselves, and pages that a line names elsewhere
/// to frames above them. Used by one thread.
final class StepMachine {
  private static let ramSize: UInt64 = 4 << 30
  /// Where our page tables lie: CR3 in 64-bit mode.
  static let tables: UInt64 = ramSize
  /// Room for tables and frames behind the RAM.
  private static let hiddenSize: UInt64 = 64 << 20
  /// The first page that is not one of the tables which stay.
  private static let firstFrame = tables + 6 * 4096

  private let memory: GuestMemory
  private let clock = StillClock()
  private var buses: Buses
  private var emulators: [String: InstructionEmulator] = [:]
  private let standardModel: X86.CPUModel

  /// - Parameter model: of lines that name none.
  init(model: X86.CPUModel) throws(HostMemoryError) {
    standardModel = model
    memory = try GuestMemory([
      .init(start: GPA(0), count: Self.ramSize),
      .init(start: GPA(Self.tables), count: Self.hiddenSize),
    ])
    memory.dirtyPages.isEnabled = true
    buses = Buses(ports: IOBus(wideAccess: .split), registers: IOBus(wideAccess: .refuse))
    // PML4, its first table, and four of 2 MiB pages.
    store(Self.tables + 0x1000 | Entry.table, at: Self.tables)
    for gigabyte in 0..<4 as Range<UInt64> {
      let directory = Self.tables + 0x2000 + gigabyte << 12
      store(directory | Entry.table, at: Self.tables + 0x1000 + gigabyte * 8)
      for page in 0..<512 as Range<UInt64> {
        store(gigabyte << 30 | page << 21 | Entry.leaf | Entry.large, at: directory + page * 8)
      }
    }
  }

  /// Accessed and dirty already, so that nothing is written to them: SDM Vol. 3A §4.5.
  private enum Entry {
    static let table: UInt64 = 0x27
    static let leaf: UInt64 = 0x67
    static let large: UInt64 = 0x80
  }

  private func store(_ value: UInt64, at address: UInt64) {
    try? memory.store(value, at: GPA(address))
  }

  private func load(_ address: UInt64) -> UInt64 {
    (try? memory.load(UInt64.self, at: GPA(address))) ?? 0
  }

  // MARK: - Running

  /// What came of a request.
  struct Outcome {
    var state: X86.State
    /// How many instructions came to their end.
    var executed = 0
    var exception: X86.InjectedEvent?
    /// Runs of bytes: those that were given, and those that changed.
    var memory: [(address: UInt64, bytes: [UInt8])] = []
  }

  func run(_ request: StepRequest) throws(StepProblem) -> Outcome {
    let model = try request.model.map { (name) throws(StepProblem) in try X86.CPUModel.named(name) }
    let emulator = emulator(model ?? standardModel)
    var lent: [UInt64: UInt64] = [:]
    defer { clean(lent) }
    for (address, page) in request.memory.pages {
      let frame = try frame(of: address, request, &lent)
      do throws(MemoryFault) {
        try memory.write(page.bytes, at: GPA(frame))
      } catch {
        throw StepProblem("There is no memory at \(Self.hex(address)).")
      }
    }
    var outcome = Outcome(state: request.state(on: model ?? standardModel))
    do throws(StateError) {
      while outcome.executed < request.count, outcome.state.activity == .active {
        let result = try emulator.execute(outcome.state, &buses, delivers: request.delivers)
        outcome.state = result.state
        outcome.exception = result.exception
        if result.isTripleFault { outcome.state.activity = .shutdown }
        if result.exception != nil, !request.delivers { break }
        outcome.executed += 1
      }
    } catch {
      throw StepProblem("No processor can be in this state: \(error.description).")
    }
    outcome.memory = changes(request, lent)
    return outcome
  }

  private func emulator(_ model: X86.CPUModel) -> InstructionEmulator {
    if let made = emulators[model.name] { return made }
    let made = InstructionEmulator(
      index: 0, processors: 1, memory: memory, model: model, clock: clock)
    emulators[model.name] = made
    return made
  }

  // MARK: - Memory

  /// The physical page behind a page that a line names; `lent` has those that were mapped for it.
  private func frame(
    of address: UInt64, _ request: StepRequest, _ lent: inout [UInt64: UInt64]
  ) throws(StepProblem) -> UInt64 {
    if address < Self.ramSize { return address }
    guard request.mode == .long64, !request.hasOwnTables else {
      throw StepProblem(
        "There is no memory at \(Self.hex(address)): physical addresses end at 4 GiB.")
    }
    guard (Int64(bitPattern: address) << 16) >> 16 == Int64(bitPattern: address) else {
      throw StepProblem("\(Self.hex(address)) is not a canonical address.")
    }
    var table = Self.tables
    for level in [39, 30, 21] as [UInt64] {
      let slot = table + (address >> level & 0x1ff) * 8
      if load(slot) == 0 { store(try lend(&lent) | Entry.table, at: slot) }
      table = load(slot) & 0x000f_ffff_ffff_f000
    }
    let frame = try lend(&lent)
    lent[frame] = address
    store(frame | Entry.leaf, at: table + (address >> 12 & 0x1ff) * 8)
    return frame
  }

  /// A page above the RAM; one that becomes a table stands for no address of the guest.
  private func lend(_ lent: inout [UInt64: UInt64]) throws(StepProblem) -> UInt64 {
    let frame = Self.firstFrame + UInt64(lent.count) << 12
    guard frame < Self.tables + Self.hiddenSize else {
      throw StepProblem("The line names more pages above 4 GiB than there is room for.")
    }
    lent[frame] = .max
    return frame
  }

  /// What there is to say about memory, in the order of addresses. Forgets which pages were written.
  private func changes(
    _ request: StepRequest, _ lent: [UInt64: UInt64]
  ) -> [(address: UInt64, bytes: [UInt8])] {
    var pages: [UInt64: UInt64] = [:]
    for frame in memory.dirtyPages.collect().map({ memory.address(ofPage: $0).rawValue }) {
      if frame < Self.ramSize {
        pages[frame] = frame
      } else if let address = lent[frame], address != .max {
        pages[address] = frame
      }
    }
    for address in request.memory.pages.keys where address < Self.ramSize {
      pages[address] = address
    }
    for (frame, address) in lent where address != .max { pages[address] = frame }
    var runs: [(address: UInt64, bytes: [UInt8])] = []
    for (address, frame) in pages.sorted(by: { $0.key < $1.key }) {
      guard let bytes = try? memory.bytes(at: GPA(frame), count: 4096) else { continue }
      let before = request.memory.pages[address]
      for offset in 0..<4096 {
        let isGiven = before?.given[offset] ?? false
        guard isGiven || bytes[offset] != before?.bytes[offset] ?? 0 else { continue }
        let place = address + UInt64(offset)
        if let last = runs.last, last.address &+ UInt64(last.bytes.count) == place {
          runs[runs.count - 1].bytes.append(bytes[offset])
        } else {
          runs.append((place, [bytes[offset]]))
        }
      }
      if frame < Self.ramSize { zero(frame) }
    }
    return runs
  }

  /// Takes back what a line had mapped and written.
  private func clean(_ lent: [UInt64: UInt64]) {
    for page in memory.dirtyPages.collect() { zero(memory.address(ofPage: page).rawValue) }
    guard !lent.isEmpty else { return }
    for frame in lent.keys { zero(frame) }
    // The entries that led there: all of the first table but its first entry, which is for the RAM.
    for entry in 1..<512 as Range<UInt64> { store(0, at: Self.tables + entry * 8) }
    for entry in 4..<512 as Range<UInt64> { store(0, at: Self.tables + 0x1000 + entry * 8) }
    _ = memory.dirtyPages.collect()
  }

  private func zero(_ page: UInt64) { try? memory.fill(0, at: GPA(page), count: 4096) }

  static func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
}

/// Guest time that stands still: every line starts at zero.
private final class StillClock: VMClock {
  var now: VMInstant { VMInstant(nanoseconds: 0) }
  var epoch: Int64 { 0 }
  var starts: UInt64 { 0 }
  func makeAlarm(on loop: any Loop, _ ring: @escaping @Sendable () -> Void) -> any Alarm {
    Silent()
  }

  private final class Silent: Alarm {
    func set(_ deadline: VMInstant?) {}
  }
}

extension X86.CPUModel {
  /// The model of a name in a line.
  static func named(_ name: String) throws(StepProblem) -> X86.CPUModel {
    do throws(ConfigurationError) {
      return try ProcessorModel.parse(name)
    } catch {
      throw StepProblem(error.description)
    }
  }
}
