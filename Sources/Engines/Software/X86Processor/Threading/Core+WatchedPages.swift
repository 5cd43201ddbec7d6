import Memory
import Synchronization

// A core that begins to watch a page, to keep code decoded from it, announces that to the others. Until they have
// heard of it they may write to the page by translations that let them do so unasked.

extension Core {
  /// Watches lines of a page before they are decoded: a write that comes later is noticed.
  func watch(page: Int, physical: UInt64, from first: Int, through last: Int) {
    // From its first line on this core's own writes to the page are noticed, whoever watches it already. What it wrote
    // may be missing from what others decoded, as when a translation goes away.
    if !code.keeps(page), revokeWrites(to: page, physical: physical) { noteLostGrants() }
    code.keep(WatchedLines.lines(from: first, through: last), of: page)
    // All that is kept: if another core has unwatched the page, its word of that is still on its way.
    let lines = code.keptLines(page)
    guard memory.watchedLines.watched(page: page) & lines != lines else { return }
    guard memory.watchedLines.watch(lines, page: page) else { return }
    hear()
    _ = revokeWrites(to: page, physical: physical)
    neighbours?.pageWatched(page: page, physical: physical, by: self)
    if !haveAllHeard { unheardPages.append(page) }
  }

  /// Takes back the right to write to a page without being asked.
  ///
  /// - Returns: whether any translation had it.
  func revokeWrites(to page: Int, physical: UInt64) -> Bool {
    // A page that is written and run in turn must not have the whole TLB searched each time.
    let grant = grants[page]
    grants[page] = 0
    switch grant {
    case 0: return false
    case Self.severalGrants: return tlb.revokeWrites(toPhysical: physical)
    default: return tlb.revokeWrites(of: Int(grant) - 1, toPhysical: physical)
    }
  }

  private static let severalGrants = UInt16.max

  /// An entry of the TLB is about to let writes to a page pass without being asked.
  func noteGrant(_ entry: Int, toPage page: Int) {
    let number = UInt16(entry + 1)
    grants[page] = grants[page] == 0 || grants[page] == number ? number : Self.severalGrants
  }

  // MARK: - The one who writes

  /// Counts an announcement as heard, its own or another's: what it asks for is done.
  func hear() { heardAnnouncements.add(1, ordering: .acquiringAndReleasing) }

  /// Whether this core has heard that many announcements. From any thread.
  package func hasHeard(_ announcements: UInt64) -> Bool {
    heardAnnouncements.load(ordering: .acquiring) == announcements
  }

  /// To be called before translations go away that let writes pass without being asked.
  ///
  /// Once this core hears that a page is watched, it finds by its translation that it may have written to it. If
  /// the translation is gone by then, this finds out: either no announcement is on its way, and whoever announces
  /// one from here on reads what was written; or one is, and then pages count as written until all have been heard.
  func noteLostGrants() {
    // What was written must be out before the announcements are looked at.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if !hasHeard(memory.watchedLines.announcements) { hasLostGrants = true }
  }

  // MARK: - The one who decodes

  /// Whether no announcement is on its way.
  private var haveAllHeard: Bool {
    neighbours?.haveAllHeard(memory.watchedLines.announcements) ?? true
  }

  /// Behind a serialising instruction: what another processor wrote before that must be run as written (SDM
  /// Vol. 3A §8.1.3 "Handling Self- and Cross-Modifying Code"), though it may not have heard yet that it has to
  /// tell. So the pages of which it may not have heard are decoded anew.
  @inline(never)
  func distrustUnheardPages() {
    guard !unheardPages.isEmpty else { return }
    // Asked first: what is written after that is told.
    let isLastTime = haveAllHeard
    for page in unheardPages { dropCode(page: page) }
    if isLastTime { unheardPages.removeAll(keepingCapacity: true) }
  }
}
