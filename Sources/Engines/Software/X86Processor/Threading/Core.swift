package import ArchitectureX86
import Board
package import CProcessor
import Execution
import Glibc
package import InterruptControllers
package import Memory
import Synchronization
package import Work

/// What a core tells the others of its machine.
package protocol CoreNeighbours: AnyObject, Sendable {
  /// `core` began to keep code decoded from a page that nobody did before: whoever may write the page
  /// without being asked must lose that right.
  func pageWatched(page: Int, physical: UInt64, by core: Core)
  /// Whether every core has heard that many announcements of watched pages. From any thread.
  func haveAllHeard(_ announcements: UInt64) -> Bool
  /// Returns once the core must wake. On its own thread.
  func sleep(_ core: Core)
  /// Ends a sleep, if there is one. From any thread.
  func wake(_ core: Core)
}

/// One x86 processor: its registers, its translations, its decoded code, and the loop that runs it.
///
/// Owned by one thread; only what is said to be so may be called from others.
package final class Core: @unchecked Sendable {
  // Sendable although it is not locked: one thread owns it. `post`, `kick` and `attend`, which others call,
  // touch only the messages, which have a lock, and the attention word, which is atomic.
  package let index: Int
  package let cpu: UnsafeMutablePointer<x86_cpu>
  /// What `cpu` lies in, with its tables behind it: see CProcessor.h.
  private let place: UnsafeMutablePointer<UInt8>
  let memory: GuestMemory
  let rights: PageRights
  let apic: LocalAPIC
  let model: X86.CPUModel
  let clock: any VMClock
  var tlb: TLB
  /// For each page of memory, which entry of the TLB may let writes to it pass without being asked: its number plus one;
  /// zero if none does, `severalGrants` if it may be several.
  let grants: UnsafeMutablePointer<UInt16>
  let code: CodeCache
  /// Who makes host code of hot code, if anybody does.
  package internal(set) var translator: (any CodeTranslator)?
  /// What lets it run instructions that are undone, if anything does.
  unowned(unsafe) var rehearsal: Rehearsal?
  /// Where accesses leave the processor; set while it runs.
  var buses: UnsafeMutablePointer<Buses>
  private let noBuses: UnsafeMutablePointer<Buses>
  /// Set once, before the core runs.
  package unowned(unsafe) var neighbours: (any CoreNeighbours)?
  /// Set when the core is bound, before it runs.
  private var thread: pthread_t?

  /// Linear page to decoded page, one entry a slot.
  let codePages: UnsafeMutablePointer<CodePageEntry>
  /// Pages into which a jump entry may lead.
  var executedPages = PageFilter()
  /// Raised when translations of code were dropped: keys of jump entries made before no longer match.
  var codeGeneration: UInt64 = 1
  var globalCodeGeneration: UInt64 = 1
  /// Numbers of the code segments that hold parts of pages: see Core+CodeBounds.swift.
  var boundedSegments: [CodeSpan: UInt64] = [:]

  /// Messages of other cores, and ops for one instruction that is not kept decoded.
  let messages = Mutex<[Message]>([])
  let straddling: UnsafeMutablePointer<x86_op>
  let straddlingCode = StraddlingCode()
  /// The bytes of the instruction that `decodeOne` last looked at.
  var fetched = InstructionBytes()
  var needsCacheReset = false
  /// How many announcements of watched pages it has heard, counted like `WatchedLines.announcements`; whether
  /// translations may have gone away by which it wrote to such pages; and pages that it watches itself of which
  /// others may not have heard. See Core+WatchedPages.swift.
  let heardAnnouncements: Atomic<UInt64>
  var hasLostGrants = false
  var unheardPages: [Int] = []

  /// The entries of PAE paging's first table, as MOV to CR3 loaded them.
  var pageDirectoryPointers = InlineArray<4, UInt64>(repeating: 0)
  /// What there is to say about the guest: set once, before the core runs.
  package var remark: (@Sendable (String) -> Void)?
  /// Model-specific registers that the guest asked for in vain.
  var missingMSRs: Set<UInt32> = []

  var nmiBlocked = false
  /// What the guest's debug registers ask for; whether that is anything; and what of DR6 the instruction in hand has
  /// met.
  var breakpoints = Breakpoints()
  var hasBreakpoints = false
  var pendingDebugStatus: UInt64 = 0
  /// An event of a restored state that is still to enter its handler.
  var injected: X86.InjectedEvent?
  var keptMSRs = X86.KeptMSRs()
  /// What a debugger asked for, and the address at which it has seen the core stand: the instruction there may run.
  var debugStops = DebugStops()
  var isDebugged = false
  var passedBreakpoint: UInt64?
  /// The last exception that an instruction raised, and whether it is not to enter its handler: for
  /// `InstructionEmulator`.
  var raised: Event?
  var holdsExceptions = false
  /// Whether the guest wrote to the local APIC: asked and cleared by `InstructionEmulator`.
  var hasWrittenAPIC = false
  /// What the time-stamp counter counts, from `tscOffset` on.
  let ticks: Oscillator
  private let ticksAreNanoseconds: Bool
  var tscOffset: UInt64 = 0
  var tscAdjust: UInt64 = 0
  var activity = X86.Activity.waitForSIPI
  /// Whether the user's accesses to data are checked for their alignment: see AlignmentChecks.swift.
  var checksAlignment = false
  /// The A20M# pin: while the gate is closed, bit 20 of every physical address is zero. The board's, not the core's:
  /// no reset of the core opens it.
  var a20Mask: UInt64 = .max
  let physicalAddressBits: UInt32
  /// The highest level of paging tables whose entries may be pages: 2 has those of 1 GiB.
  let highestPageLevel: Int
  let hasAVX: Bool
  package let statistics = Statistics()

  /// - Parameters:
  ///   - rights: `nil`: the core may reach all memory, always.
  ///   - keepsCode: whether it will ever be asked to `run`, and keep code decoded.
  package init(
    index: Int, memory: GuestMemory, rights: PageRights? = nil, apic: LocalAPIC,
    model: X86.CPUModel, clock: any VMClock, keepsCode: Bool = true
  ) {
    self.index = index
    self.memory = memory
    self.rights = rights ?? PageRights(memory)
    self.apic = apic
    self.model = model
    self.clock = clock
    physicalAddressBits = model.physicalAddressBits
    highestPageLevel = model.features.hasGigabytePages ? 2 : 1
    hasAVX = model.features.hasAVX
    ticks = Oscillator(frequency: model.tscFrequency)
    ticksAreNanoseconds = model.tscFrequency == 1_000_000_000
    place = reserve(Int(X86_STACK_BYTES) + Int(X86_CPU_BYTES), of: UInt8.self)
    let raw = UnsafeMutableRawPointer(place) + Int(X86_STACK_BYTES)
    cpu = raw.bindMemory(to: x86_cpu.self, capacity: 1)
    tlb = TLB(in: raw + Int(X86_TLB_DISTANCE))
    grants = reserve(memory.dirtyPages.pages, of: UInt16.self)
    heardAnnouncements = Atomic(memory.watchedLines.announcements)
    straddling = .allocate(capacity: StraddlingCode.opsPerEntry)
    code = CodeCache(pages: keepsCode ? memory.dirtyPages.pages : 0)
    codePages = .allocate(capacity: CodePageEntry.count)
    codePages.initialize(repeating: .empty, count: CodePageEntry.count)
    noBuses = .allocate(capacity: 1)
    buses = noBuses
    cpu.pointee.jumps = (raw + Int(X86_JUMPS_DISTANCE)).bindMemory(
      to: x86_jump_entry.self, capacity: Int(X86_JUMP_ENTRIES))
    cpu.pointee.ops = code.firstOp
    cpu.pointee.tlb = tlb.supervisor
    cpu.pointee.owner = Unmanaged.passUnretained(self).toOpaque()
    reset(asBootstrap: index == 0)
  }

  deinit {
    codePages.deallocate()
    noBuses.deallocate()
    straddling.deallocate()
    release(grants, memory.dirtyPages.pages)
    release(place, Int(X86_STACK_BYTES) + Int(X86_CPU_BYTES))
  }
}

extension Core {
  /// Makes the calling thread the core's.
  package func becomeCurrent() { thread = pthread_self() }

  /// Whether the caller is the core's own thread.
  var isCurrent: Bool { thread.map { pthread_equal($0, pthread_self()) != 0 } ?? false }

  /// Power-on state: SDM Vol. 3A Table 9-1.
  package func reset(asBootstrap: Bool) {
    initialise()
    activity = asBootstrap ? .active : .waitForSIPI
    cpu.pointee.mxcsr = 0x1f80
    cpu.pointee.pat = 0x0007_0406_0007_0406
    cpu.pointee.misc_enable = 1
    cpu.pointee.xcr0 = 1
    cpu.pointee.pkru = 0
    keptMSRs = X86.KeptMSRs()
    tscOffset = 0 &- ticksNow
    tscAdjust = 0
    apic.tscOffset = tscOffset
    resetVectorState(cpu)
  }

  /// What INIT resets too: SDM Vol. 3A Table 9-1, the INIT column.
  func initialise() {
    for register in 0..<16 { cpu.set(UInt8(register * 8), 0 as UInt64) }
    cpu.set(Slot.rdx, UInt64(model.leaf(1, 0)?.eax ?? 0))
    cpu.rflags = 0
    cpu.pointee.cr0 = 0x6000_0010
    cpu.pointee.cr2 = 0
    cpu.pointee.cr3 = 0
    cpu.pointee.cr4 = 0
    cpu.pointee.efer = 0
    for segment in 0..<6 {
      cpu.setSegment(segment, selector: 0, base: 0, limit: 0xffff, attributes: 0x93)
    }
    cpu.setSegment(1, selector: 0xf000, base: 0xffff_0000, limit: 0xffff, attributes: 0x9b)
    cpu.pointee.gdtr_base = 0
    cpu.pointee.gdtr_limit = 0xffff
    cpu.pointee.idtr_base = 0
    cpu.pointee.idtr_limit = 0xffff
    cpu.pointee.ldtr_selector = 0
    cpu.pointee.ldtr_base = 0
    cpu.pointee.ldtr_limit = 0xffff
    cpu.pointee.ldtr_attributes = 0x82
    cpu.pointee.tr_selector = 0
    cpu.pointee.tr_base = 0
    cpu.pointee.tr_limit = 0xffff
    cpu.pointee.tr_attributes = 0x8b
    withUnsafeMutableBytes(of: &cpu.pointee.debug) { bytes in
      bytes.initializeMemory(as: UInt64.self, repeating: 0)
      bytes.storeBytes(of: 0xffff_0ff0, toByteOffset: 48, as: UInt64.self)
      bytes.storeBytes(of: 0x400, toByteOffset: 56, as: UInt64.self)
    }
    cpu.pointee.interrupt_shadow = 0
    pendingDebugStatus = 0
    debugControlChanged()
    nmiBlocked = false
    injected = nil
    cpu.pointee.privilege = 0
    modeChanged()
    flushTranslations(global: true)
    setOffset(0xfff0)
  }

  /// Start-up IPI: real mode at `vector` × 4096 (SDM Vol. 3A §8.4.3).
  func startUp(vector: UInt8) {
    cpu.setSegment(
      1, selector: UInt16(vector) << 8, base: UInt64(vector) << 12, limit: 0xffff,
      attributes: 0x9b)
    modeChanged()
    setOffset(0)
    activity = .active
  }

  /// Works out again what follows from CS, privilege, CR0 and EFER.
  func modeChanged() {
    let attributes = cpu.attributes(1)
    let isLong = cpu.isLongModeActive && attributes & 0x2000 != 0
    cpu.pointee.code_mode = isLong ? 2 : attributes & 0x4000 != 0 ? 1 : 0
    cpu.pointee.address_mask = isLong ? .max : 0xffff_ffff
    cpu.updateSegmentRules()
    cpu.updateCodeBounds()
    selectTranslations()
    updateStackMask()
    cpu.pointee.has_flat_segments = cpu.hasFlatSegments ? 1 : 0
    updateCodeKeys()
  }

  /// Works out again what follows from a segment other than CS.
  func segmentChanged() {
    updateStackMask()
    let isFlat: UInt32 = cpu.hasFlatSegments ? 1 : 0
    if isFlat != cpu.pointee.has_flat_segments {
      cpu.pointee.has_flat_segments = isFlat
      updateCodeKeys()
    }
  }

  /// Whether x87, SSE or AVX instructions raise an exception instead of working.
  var isVectorDisabled: Bool {
    cpu.pointee.cr0 & (X86.CR0.emulation | X86.CR0.taskSwitched) != 0
      || cpu.pointee.cr4 & X86.CR4.fxsave == 0
      || hasAVX && (cpu.pointee.cr4 & X86.CR4.xsave == 0 || cpu.pointee.xcr0 & 6 != 6)
  }

  /// What decoded code depends on: see `CodeVariant`.
  var codeVariant: Int {
    CodeVariant(
      mode: CodeMode(rawValue: cpu.pointee.code_mode) ?? .bits64,
      isFlat: cpu.pointee.has_flat_segments != 0, isVectorDisabled: isVectorDisabled,
      isUser: cpu.pointee.privilege == 3
    ).number
  }

  /// Jump entries hold in one address space, mode and privilege.
  func updateCodeKeys() {
    let mode = UInt64(codeVariant) << 2
    cpu.pointee.code_key = codeGeneration << 8 | mode | 1
    cpu.pointee.code_key_global = globalCodeGeneration << 8 | mode | 2
    cpu.pointee.code_key_bounded = 0
  }

  /// Drops cached translations, of data and of code: those of this address space, or all.
  func flushTranslations(global: Bool) {
    noteLostGrants()
    if global {
      tlb.flushAll()
      forgetCodeAddresses()
    } else {
      tlb.flushNonGlobal()
      codeGeneration += 1
      updateCodeKeys()
    }
  }

  /// INVLPG.
  func flushTranslation(of linear: UInt64) {
    noteLostGrants()
    if tlb.flush(page: linear) || executedPages.mayContain(linear) { forgetCodeAddresses() }
    let entry = CodePageEntry.slot(codePages, linear)
    if entry.pointee.linear == linear & ~pageMask { entry.pointee = .empty }
  }

  /// Makes every jump entry look its code up again.
  func forgetCodeAddresses() {
    codeGeneration += 1
    globalCodeGeneration += 1
    executedPages.removeAll()
    updateCodeKeys()
  }

  /// The time-stamp counter.
  var timeStampCounter: UInt64 { ticksNow &+ tscOffset }

  /// Ticks since power-on, of which the local APIC's deadline timer knows too.
  var ticksNow: UInt64 {
    let now = clock.now
    return ticksAreNanoseconds ? now.nanoseconds : ticks.ticks(at: now)
  }

  // MARK: - Accesses that the processor makes of its own accord

  /// Reads memory as the supervisor, for descriptors and frames.
  func systemLoad(_ linear: UInt64, _ size: Int, user: Bool = false) throws(Fault) -> UInt64 {
    let linear = linear & (cpu.isLongModeActive ? .max : 0xffff_ffff)
    let first = Int(pageMask &+ 1 &- linear & pageMask)
    if size > first {
      var value: UInt64 = 0
      for index in 0..<size {
        value |= try systemLoad(linear &+ UInt64(index), 1, user: user) << UInt64(8 * index)
      }
      return value
    }
    guard let entry = translate(linear, write: false, user: user) else { throw takeFault() }
    let physical = entry.physical & ~pageMask | linear & pageMask
    guard let page = reachablePage(physical) else {
      return deviceRead(physical, AccessWidth(rawValue: UInt8(size))!)
    }
    let host = page.base + Int(physical & pageMask)
    switch size {
    case 1: return UInt64(host.load(as: UInt8.self))
    case 2: return UInt64(host.loadUnaligned(as: UInt16.self))
    case 4: return UInt64(host.loadUnaligned(as: UInt32.self))
    default: return host.loadUnaligned(as: UInt64.self)
    }
  }

  func systemStore(
    _ linear: UInt64, _ value: UInt64, _ size: Int, user: Bool = false
  ) throws(Fault) {
    let linear = linear & (cpu.isLongModeActive ? .max : 0xffff_ffff)
    let first = Int(pageMask &+ 1 &- linear & pageMask)
    if size > first {
      guard translate(linear, write: true, user: user) != nil,
        translate(linear &+ UInt64(first), write: true, user: user) != nil
      else { throw takeFault() }
      for index in 0..<size {
        try systemStore(
          linear &+ UInt64(index), value >> UInt64(8 * index) & 0xff, 1, user: user)
      }
      return
    }
    guard let entry = translate(linear, write: true, user: user) else { throw takeFault() }
    let physical = entry.physical & ~pageMask | linear & pageMask
    store(value, size, atPhysical: physical)
  }

  /// The exception that a translation raised, taken back to be thrown.
  func takeFault() -> Fault {
    cpu.pointee.exit = LeaveReason.lookUp
    return Fault(
      vector: UInt8(truncatingIfNeeded: cpu.pointee.exception_vector),
      code: cpu.pointee.exception_has_code != 0 ? cpu.pointee.exception_code : nil)
  }

  /// Where `size` bytes of a page lie that may be written though not without being asked: pages of which
  /// code is decoded. `nil`: not memory, not writable, or across a page.
  func hostForWriting(_ linear: UInt64, _ size: Int) -> (UnsafeMutableRawPointer, Int)? {
    guard linear & pageMask <= pageMask &+ 1 &- UInt64(size),
      !hasBreakpoints || !hasDataBreakpoint(page: linear),
      let entry = translate(linear, write: true),
      entry.physical & UInt64(X86_TLB_DEVICE) == 0,
      case .memory(let page) = destination(ofStoreTo: entry.physical & ~pageMask)
    else { return nil }
    return (page.base + Int(linear & pageMask), page.index)
  }
}
