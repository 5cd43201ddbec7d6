package import CProcessor
import Glibc
import Memory

/// Lets a core run instructions that are undone afterwards, to compare what they do with what something else makes of
/// them.
///
/// A rehearsal reaches memory and nothing else. An access that cannot be undone, to a device or to code that is kept
/// decoded, does not happen: it spoils the rehearsal. What the page tables note of accesses stays, and so do entries of
/// the TLB: the same accesses follow. While a core has one, no write of its interpreter passes unasked, also outside
/// rehearsals, so that host code writes only where the instructions rehearsed have written.
///
/// One for a core, used on its thread.
package final class Rehearsal {
  private unowned(unsafe) let core: Core
  private var isOn = false
  /// Whether something was wanted that cannot be undone.
  package private(set) var isSpoiled = false
  private var pages: [KeptPage] = []
  private var pageCount = 0
  private var written: [Written] = []
  /// Linear pages that were written.
  private var linearPages: [UInt64] = []
  private var accesses: [Access] = []
  private var step = 0

  /// A page of memory that was to be written.
  private struct KeptPage {
    var index: Int
    var physical: UInt64
    var host: UnsafeMutableRawPointer
    /// What it was before, and what `keepResult` found in it.
    let before: UnsafeMutableRawPointer
    let result: UnsafeMutableRawPointer
  }

  /// Bytes that were written.
  private struct Written {
    let page: Int
    let offset: Int
    let count: Int
  }

  private struct Access {
    let step: Int
    let linear: UInt64
    let isWrite: Bool
  }

  private static let pageSize = 4096

  /// A rehearsal for a core that has not run yet.
  package init(_ core: Core) {
    self.core = core
    core.rehearsal = self
  }

  deinit {
    for page in pages {
      page.before.deallocate()
      page.result.deallocate()
    }
  }

  // MARK: - Running

  /// Begins anew: what was written before stays written.
  package func begin() {
    isSpoiled = false
    pageCount = 0
    written.removeAll(keepingCapacity: true)
    linearPages.removeAll(keepingCapacity: true)
    accesses.removeAll(keepingCapacity: true)
  }

  /// Runs instructions until `body` is done with them.
  ///
  /// `body` gets a function that runs one, by its first op in `RehearsedCode`, and answers whether it went through: if
  /// not, an exception was raised or the rehearsal is spoiled. Then `rip` is where the core goes on.
  package func run(_ body: ((UnsafePointer<x86_op>) -> Bool) -> Void) {
    let cpu = core.cpu
    let (table, isBlind) = (cpu.pointee.tlb, cpu.pointee.is_blind)
    cpu.pointee.tlb = core.tlb.blind()
    // Jumps look at it before they go on with their target.
    x86_attention_set(cpu, Attention.alone)
    isOn = true
    isSpoiled = false
    step = 0
    body { op in
      cpu.pointee.exit = LeaveReason.lookUp
      op.pointee.run(cpu, op)
      step += 1
      return cpu.pointee.exit == LeaveReason.lookUp && !isSpoiled
    }
    isOn = false
    x86_attention_clear(cpu, Attention.alone)
    (cpu.pointee.tlb, cpu.pointee.is_blind) = (table, isBlind)
  }

  /// Whether the only accesses of a step, the first since `begin` with that number, are such as need no help of the
  /// core's: to memory that is in the TLB, each inside a page.
  ///
  /// - Parameter bytes: of each.
  package func isPlain(step: Int, bytes: Int) -> Bool {
    var any = false
    let table = core.tlb.table(user: core.cpu.pointee.privilege == 3)
    for access in accesses where access.step == step {
      any = true
      let page = access.linear & ~pageMask
      let entry = table + tlbNumber(access.linear)
      guard Int(access.linear & pageMask) + bytes <= Self.pageSize, entry.pointee.read_tag == page,
        !access.isWrite || mayGrant(entry, page)
      else { return false }
    }
    return any
  }

  // MARK: - Memory

  /// Makes memory what it was before.
  package func undo() {
    for bytes in written {
      let page = pages[bytes.page]
      memcpy(page.host + bytes.offset, page.before + bytes.offset, bytes.count)
    }
  }

  /// Makes all of the pages what they were before, also where nobody has told of a write.
  package func undoWholePages() {
    for number in 0..<pageCount {
      memcpy(pages[number].host, pages[number].before, Self.pageSize)
    }
  }

  /// Keeps what the pages hold now, for `differences`.
  package func keepResult() {
    for number in 0..<pageCount {
      memcpy(pages[number].result, pages[number].host, Self.pageSize)
    }
  }

  /// A run of bytes in which memory is not what it was for `keepResult`.
  package struct Difference: Sendable {
    package let physical: UInt64
    package let kept: [UInt8]
    package let present: [UInt8]
  }

  package var hasDifferences: Bool {
    (0..<pageCount).contains { memcmp(pages[$0].result, pages[$0].host, Self.pageSize) != 0 }
  }

  package var differences: [Difference] {
    (0..<pageCount).flatMap { number in
      let page = pages[number]
      let kept = UnsafeRawBufferPointer(start: page.result, count: Self.pageSize)
      let present = UnsafeRawBufferPointer(start: page.host, count: Self.pageSize)
      var found: [Difference] = []
      var offset = 0
      while let first = (offset..<Self.pageSize).first(where: { kept[$0] != present[$0] }) {
        let end = (first..<Self.pageSize).first { kept[$0] == present[$0] } ?? Self.pageSize
        found.append(
          Difference(
            physical: page.physical + UInt64(first), kept: Array(kept[first..<end]),
            present: Array(present[first..<end])))
        offset = end
      }
      return found
    }
  }

  // MARK: - Host code

  /// Lets host code write, as long as `body` runs, where the instructions rehearsed have written.
  package func permitWrites(_ body: () -> Void) {
    let table = core.tlb.table(user: core.cpu.pointee.privilege == 3)
    for page in linearPages {
      let entry = table + tlbNumber(page)
      if mayGrant(entry, page) { entry.pointee.write_tag = page }
    }
    body()
    for page in linearPages {
      let entry = table + tlbNumber(page)
      if entry.pointee.write_tag == page { entry.pointee.write_tag = x86_tlb_entry.slow(page) }
    }
  }

  private func mayGrant(_ entry: UnsafeMutablePointer<x86_tlb_entry>, _ page: UInt64) -> Bool {
    guard entry.pointee.translates(page),
      entry.pointee.physical & UInt64(X86_TLB_WRITABLE) != 0,
      entry.pointee.physical & UInt64(X86_TLB_DEVICE | X86_TLB_USER) == 0,
      case .memory(let page) = core.destination(ofWriteTo: entry.pointee.physical & ~pageMask)
    else { return false }
    return core.memory.watchedLines.watched(page: page.index) == 0
  }
}

extension Core {
  /// Whether nothing hears of its accesses to memory that could not be undone: no breakpoint of the guest's.
  package var canRehearse: Bool { !hasBreakpoints && pendingDebugStatus == 0 }
}

// MARK: - What the core tells

extension Rehearsal {
  /// Before something that cannot be undone: whether it must not happen.
  func prevents() -> Bool {
    if isOn { isSpoiled = true }
    return isOn
  }

  /// Before a write to a page: whether it may happen.
  func permitsWrite(to page: GuestMemory.HostPage, _ physical: UInt64) -> Bool {
    guard isOn else { return true }
    guard core.memory.watchedLines.watched(page: page.index) == 0 else {
      isSpoiled = true
      return false
    }
    if number(of: page.index) == nil { keep(page, physical & ~pageMask) }
    return true
  }

  private func number(of page: Int) -> Int? {
    (0..<pageCount).first { pages[$0].index == page }
  }

  private func keep(_ page: GuestMemory.HostPage, _ physical: UInt64) {
    if pageCount == pages.count {
      func room() -> UnsafeMutableRawPointer {
        .allocate(byteCount: Self.pageSize, alignment: 64)
      }
      pages.append(
        KeptPage(index: 0, physical: 0, host: page.base, before: room(), result: room()))
    }
    pages[pageCount].index = page.index
    pages[pageCount].physical = physical
    pages[pageCount].host = page.base
    memcpy(pages[pageCount].before, page.base, Self.pageSize)
    pageCount += 1
  }

  /// After a write: whether nobody else needs to hear of it.
  func hears(page: Int, from offset: Int, count: Int) -> Bool {
    guard isOn, let number = number(of: page) else { return false }
    written.append(Written(page: number, offset: offset, count: count))
    return true
  }

  /// The page tables note an access, which is not undone.
  func noteMark(page: Int, at offset: Int, _ bits: UInt8) {
    guard isOn, let number = number(of: page) else { return }
    let before = pages[number].before.assumingMemoryBound(to: UInt8.self)
    before[offset] |= bits
  }

  func noteAccess(_ linear: UInt64, write: Bool) {
    guard isOn else { return }
    accesses.append(Access(step: step, linear: linear, isWrite: write))
    if write, !linearPages.contains(linear & ~pageMask) {
      linearPages.append(linear & ~pageMask)
    }
  }
}
