import ArchitectureX86
import Execution
import HostOS
import Inspection
import InterruptControllers
import Memory
import SameISA
import Synchronization
import X86Processor

/// A guest whose processors are all our own.
final class SoftwarePartition: Partition, @unchecked Sendable {
  typealias ISA = X86

  // Sendable although `memory`, `rights` and `cores` vary: they are set before any processor is bound and never again.
  private let plan: PartitionPlan<X86>
  private let apics: LocalAPICs
  private let sleepers: Sleepers
  private var memory: GuestMemory?
  private var rights: PageRights?
  private var cores: [Core] = []
  /// One for each core, where there are any.
  private var translators: [SameISATranslator?] = []
  private let tier: SoftwareEngine.Tier
  private let bound = Mutex<Set<Int>>([])

  init(_ plan: PartitionPlan<X86>, _ tier: SoftwareEngine.Tier) {
    self.plan = plan
    self.tier = tier
    sleepers = Sleepers(plan.processors)
    apics = LocalAPICs(
      processors: plan.processors, clock: plan.clock, loop: plan.loop,
      tscFrequency: plan.model.tscFrequency, attention: sleepers,
      physicalAddressBits: plan.model.physicalAddressBits)
  }

  func map(_ memory: GuestMemory) throws(EngineError) {
    guard self.memory == nil else { throw EngineError("the guest's memory was mapped twice") }
    let rights = PageRights(memory)
    self.memory = memory
    self.rights = rights
    cores = (0..<plan.processors).map { index in
      Core(
        index: index, memory: memory, rights: rights, apic: apics[index], model: plan.model,
        clock: plan.clock)
    }
    switch tier {
    case .interpreter: break
    case .translator:
      translators = cores.map { core in
        guard let translator = SameISATranslator(for: core) else { return nil }
        core.use(translator)
        return translator
      }
      if translators.contains(where: { $0 == nil }) {
        plan.remark(
          "Code is interpreted: the host is no x86-64 processor, or lets no memory be executable.")
      }
    case .comparison(let record, let isExact):
      for core in cores {
        guard let translator = SameISATranslator(for: core, isExact: isExact, comparing: record)
        else {
          throw EngineError(
            "there is no host code to compare: the host is no x86-64, or forbids it")
        }
        core.use(translator, after: 1)
        translators.append(translator)
      }
    }
    sleepers.connect(cores)
    for core in cores {
      core.neighbours = sleepers
      core.remark = plan.remark
    }
    memory.watchedLines.watcher = sleepers
  }

  func permit(_ access: MemoryAccess, in range: GPARange) throws(EngineError) {
    guard let rights else { throw EngineError("no memory was mapped yet") }
    let pages = try rights.set(access, in: range)
    for core in cores { core.noteRightsChanged(pages: pages) }
  }

  func bindProcessor(_ index: Int) throws(EngineError) -> any VirtualProcessor<X86> {
    guard cores.indices.contains(index) else {
      throw EngineError("there is no processor \(index), or no memory was mapped yet")
    }
    guard bound.withLock({ $0.insert(index).inserted }) else {
      throw EngineError("processor \(index) was bound twice")
    }
    return SoftwareProcessor(cores[index])
  }

  func kick(_ index: Int) {
    guard cores.indices.contains(index) else { return }
    cores[index].kick()
  }

  private var hasTranslator: Bool { translators.contains { $0 != nil } }

  func inspect(_ node: inout Node) {
    node.field("engine", hasTranslator ? "software:translator" : "software:interpreter")
    for core in cores {
      node.child("\(core.index)") { node in
        core.statistics.inspect(&node)
        if hasTranslator, let translator = translators[core.index] {
          node.child("translator") { translator.inspect(&$0) }
        }
        node.child("localAPIC") { apics[core.index].inspect(&$0) }
      }
    }
  }

  var interruptController: (any ProcessorInterrupts)? { apics }

  var dirtyPages: (any DirtyPageTracker)? {
    guard let memory else { return nil }
    return SoftwareDirtyPages(memory, cores)
  }

  var addressLine20: (any AddressLine20)? { cores.isEmpty ? nil : SoftwareAddressLine20(cores) }
}

/// The A20M# pins of all processors.
private final class SoftwareAddressLine20: AddressLine20 {
  private let cores: [Core]

  init(_ cores: [Core]) { self.cores = cores }

  func set(open: Bool) { for core in cores { core.noteAddressLine20(isOpen: open) } }
}

/// Where processors sleep, and how they hear of each other.
private final class Sleepers: CoreNeighbours, ProcessorAttention, MemoryWatcher,
  @unchecked Sendable
{
  // Sendable although `cores` varies: it is set once, before any processor runs.
  private let beds: [Bed]
  private var cores: [Core] = []

  /// What one processor sleeps on.
  private final class Bed: @unchecked Sendable {
    let event = HostOS.Event()
    /// The processor's own thread's.
    var polling = AdaptivePolling(longest: 200_000)
  }

  init(_ count: Int) { beds = (0..<count).map { _ in Bed() } }

  func connect(_ cores: [Core]) { self.cores = cores }

  func sleep(_ core: Core) {
    let bed = beds[core.index]
    bed.polling.wait {
      core.mustWake
    } orSleep: {
      bed.event.clear()
      // Asked after clearing: whatever happens from here on signals the event.
      if !core.mustWake { _ = bed.event.wait() }
    }
  }

  func wake(_ core: Core) { beds[core.index].event.signal() }

  func attend(_ processor: Int) {
    guard cores.indices.contains(processor) else { return }
    cores[processor].attend()
  }

  func pageWatched(page: Int, physical: UInt64, by core: Core) {
    for other in cores where other !== core {
      other.notePageWatched(page: page, physical: physical)
    }
  }

  func haveAllHeard(_ announcements: UInt64) -> Bool {
    cores.allSatisfy { $0.hasHeard(announcements) }
  }

  func watchedLinesChanged(page: Int) {
    for core in cores { core.noteCodeChanged(page: page) }
  }
}

/// Dirty pages of a software partition: processors mark a page when they first write it.
private final class SoftwareDirtyPages: DirtyPageTracker {
  private let memory: GuestMemory
  private let cores: [Core]

  init(_ memory: GuestMemory, _ cores: [Core]) {
    self.memory = memory
    self.cores = cores
  }

  func start() {
    memory.dirtyPages.isEnabled = true
    revoke()
  }

  func stop() { memory.dirtyPages.isEnabled = false }

  func collect() -> [Int] {
    let pages = memory.dirtyPages.collect()
    revoke()
    return pages
  }

  private func revoke() { for core in cores { core.noteWritesWanted() } }
}
