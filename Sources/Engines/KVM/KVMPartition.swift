import ArchitectureX86
import CKVM
import Execution
import Glibc
import HostOS
import Inspection
import InterruptControllers
import Memory
import Synchronization
import Work
import X86Processor

/// A guest that KVM runs.
final class KVMPartition: Partition, @unchecked Sendable {
  typealias ISA = X86

  // Sendable although some of it varies: `map` and the tracker are set before any processor is bound, and never
  // again.
  let plan: PartitionPlan<X86>
  let host: KVMHost
  let machine: KVMHandle
  let attention: [Attention]
  let interrupts: KVMInterrupts
  let routes: MessageRoutes
  let timeKeeper: TimeKeeper
  let coalescing: KVMWriteCoalescer?
  let doorbellRegistrar: KVMDoorbells
  let statistics: [KVMStatistics]
  let hasUserModeQuirk: Bool
  private let dirtyRingEntries: Int?
  private let mappingSize: Int
  private(set) var map: MemoryMap?
  private(set) var tracker: KVMDirtyPages?
  /// The same permissions as KVM's slots, for instructions that the interpreter carries out.
  private(set) var rights: PageRights?
  private let bound = Mutex<Set<Int>>([])
  private let changes = Mutex(())
  private let isChanging = Atomic<Bool>(false)

  init(
    _ plan: PartitionPlan<X86>, host: KVMHost, dirtyLog: KVMEngine.DirtyLog
  ) throws(EngineError) {
    self.plan = plan
    self.host = host
    machine = try host.makeMachine()
    let signal = kvm_install_kick_signal()
    guard signal > 0 else {
      throw EngineError("no signal can be set up to call processors out of their guest")
    }
    attention = (0..<plan.processors).map { _ in Attention(signalNumber: signal) }
    statistics = (0..<plan.processors).map { _ in KVMStatistics() }
    mappingSize = Int(
      try host.handle.request(
        KVM_REQUEST_GET_VCPU_MMAP_SIZE, 0, "say how large a processor's mapping is"))
    dirtyRingEntries = dirtyLog == .ring ? KVMDirtyPages.ringEntries : nil
    hasUserModeQuirk = UserModeQuirk.isPresent(host)
    try Self.setUp(
      machine, host: host, dirtyRing: dirtyRingEntries,
      seen: hasUserModeQuirk ? UserModeQuirk.registers : [])
    routes = MessageRoutes(machine)
    interrupts = KVMInterrupts(machine, routes: routes, attention: attention)
    timeKeeper = TimeKeeper(plan.clock, frequency: plan.model.tscFrequency)
    coalescing = KVMWriteCoalescer(machine, host: host)
    doorbellRegistrar = KVMDoorbells(machine)
  }

  /// What must be said before there are processors.
  private static func setUp(
    _ machine: KVMHandle, host: KVMHost, dirtyRing: Int?, seen: Set<UInt32>
  ) throws(EngineError) {
    // Where Intel processors without unrestricted guest keep what they need for real mode: the last pages
    // beneath the firmware's, which no RAM reaches.
    try machine.request(KVM_REQUEST_SET_TSS_ADDR, 0xfeff_d000, "place its task state segment")
    var identityMap: UInt64 = 0xfeff_c000
    try machine.request(
      KVM_REQUEST_SET_IDENTITY_MAP_ADDR, &identityMap, "place its identity page table")
    try enable(
      KVM_CAP_SPLIT_IRQCHIP, UInt64(MessageRoutes.levelInputs), on: machine,
      "leave the I/O APIC to user space")
    if host.capability(KVM_CAP_X2APIC_API) != 0 {
      try enable(
        KVM_CAP_X2APIC_API,
        UInt64(KVM_X2APIC_API_USE_32BIT_IDS | KVM_X2APIC_API_DISABLE_BROADCAST_QUIRK),
        on: machine, "use 32-bit APIC IDs")
    }
    // Every access to a model-specific register that KVM does not keep itself is answered here.
    try enable(
      KVM_CAP_X86_USER_SPACE_MSR,
      UInt64(
        KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL),
      on: machine, "leave unknown model-specific registers to user space")
    try MSRFilter.install(on: machine, seen: seen)
    if host.capability(KVM_CAP_EXIT_ON_EMULATION_FAILURE) != 0 {
      try enable(
        KVM_CAP_EXIT_ON_EMULATION_FAILURE, 1, on: machine, "report what it cannot emulate")
    }
    if let dirtyRing {
      guard host.capability(KVM_CAP_DIRTY_LOG_RING_ACQ_REL) > 0 else {
        throw EngineError("this host's KVM lacks KVM_CAP_DIRTY_LOG_RING_ACQ_REL")
      }
      try enable(
        KVM_CAP_DIRTY_LOG_RING_ACQ_REL,
        UInt64(dirtyRing * MemoryLayout<kvm_dirty_gfn>.stride), on: machine, "keep dirty rings")
    } else if host.capability(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) != 0 {
      try enable(
        KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, UInt64(KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE),
        on: machine, "clear dirty pages when told")
    }
  }

  private static func enable(
    _ capability: Int32, _ argument: UInt64, on machine: KVMHandle, _ attempt: String
  ) throws(EngineError) {
    var request = kvm_enable_cap()
    request.cap = UInt32(capability)
    request.args.0 = argument
    try machine.request(KVM_REQUEST_ENABLE_CAP, &request, attempt)
  }
}

// MARK: - What is made of it

extension KVMPartition {
  func map(_ memory: GuestMemory) throws(EngineError) {
    guard map == nil else { throw EngineError("the guest's memory was mapped twice") }
    let map = try MemoryMap(memory, of: machine, host: host)
    self.map = map
    rights = PageRights(memory)
    tracker = KVMDirtyPages(
      map, of: machine, usesRings: dirtyRingEntries != nil,
      clears: host.capability(KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) != 0)
  }

  func permit(_ access: MemoryAccess, in range: GPARange) throws(EngineError) {
    guard let map else { throw EngineError("no memory was mapped yet") }
    try withoutProcessors { () throws(EngineError) in
      if dirtyRingEntries != nil { tracker?.emptyRings() }
      try map.permit(access, range) { (slot) throws(EngineError) in
        try tracker?.collect(from: slot)
      }
      _ = try rights?.set(access, in: range)
    }
  }

  func bindProcessor(_ index: Int) throws(EngineError) -> any VirtualProcessor<X86> {
    guard attention.indices.contains(index), let map, let tracker else {
      throw EngineError("there is no processor \(index), or no memory was mapped yet")
    }
    guard bound.withLock({ $0.insert(index).inserted }) else {
      throw EngineError("processor \(index) was bound twice")
    }
    let handle = KVMHandle(
      taking: try machine.request(KVM_REQUEST_CREATE_VCPU, index, "make processor \(index)"))
    let mapping = try ProcessorMapping(handle, size: mappingSize, dirtyRing: dirtyRingEntries)
    if dirtyRingEntries != nil { tracker.add(mapping) }
    return try KVMProcessor(index, handle, mapping, of: self, memory: map.memory)
  }

  func kick(_ index: Int) {
    guard attention.indices.contains(index) else { return }
    attention[index].ask(.kick)
  }

  func inspect(_ node: inout Node) {
    node.field("engine", "kvm")
    node.field("completesUserModeEntries", hasUserModeQuirk)
    node.field("memorySlots", map?.slots.count ?? 0)
    for (index, statistics) in statistics.enumerated() {
      node.child("\(index)") { statistics.inspect(&$0) }
    }
  }

  var interruptController: (any ProcessorInterrupts)? { interrupts }
  var dirtyPages: (any DirtyPageTracker)? { tracker }
  var doorbells: (any DoorbellRegistrar)? { doorbellRegistrar }
  var messageTriggers: (any MessageTriggers)? { routes }
  var writeCoalescer: (any WriteCoalescer)? { coalescing }
}

// MARK: - Without processors

extension KVMPartition {
  /// Runs `body` while no processor is in the guest: for changes that take several steps, of which none
  /// may be seen. A processor's own thread may call it, from a device.
  func withoutProcessors(_ body: () throws(EngineError) -> Void) throws(EngineError) {
    try changes.withLock { (_) throws(EngineError) in
      isChanging.store(true, ordering: .sequentiallyConsistent)
      defer { isChanging.store(false, ordering: .sequentiallyConsistent) }
      // Once is enough: who enters from now on leaves by itself.
      for processor in attention where processor.isInside { processor.nudge() }
      for processor in attention { while processor.isInside { sched_yield() } }
      try body()
    }
  }

  /// Says that the processor is about to enter the guest; waits while memory changes.
  @inline(__always)
  func enterGuest(_ attention: Attention) {
    while true {
      attention.enter()
      guard _slowPath(isChanging.load(ordering: .sequentiallyConsistent)) else { return }
      attention.leave()
      changes.withLock { _ in }
    }
  }
}
