package import Execution
import Glibc
package import Memory
import Synchronization

/// What a machine's processors may do with each page of its memory, beyond what the memory's kind allows.
///
/// Devices are not concerned: they reach memory by other ways. Set and read from any thread. Whoever sets must
/// see to it that processors drop what they derived from the rights before.
package final class PageRights: @unchecked Sendable {
  // Sendable although it holds a raw pointer: the bytes behind it are atomics, fixed in number.
  private let restrictions: UnsafeMutablePointer<Atomic<UInt8>>
  private let memory: GuestMemory

  /// At first everything is permitted.
  package init(_ memory: GuestMemory) {
    self.memory = memory
    let pages = memory.dirtyPages.pages
    // `full` is kept as zero: the host supplies none of this until a page is restricted.
    guard let bytes = calloc(max(pages, 1), MemoryLayout<Atomic<UInt8>>.stride) else {
      preconditionFailure("the host refused memory for the rights to pages")
    }
    restrictions = bytes.bindMemory(to: Atomic<UInt8>.self, capacity: pages)
  }

  deinit { free(restrictions) }

  /// What processors may do with a page, by its index.
  func access(page: Int) -> MemoryAccess {
    let restriction = (restrictions + page).pointee.load(ordering: .acquiring)
    return MemoryAccess(rawValue: MemoryAccess.full.rawValue &- restriction) ?? .full
  }

  /// Sets what processors may do with pages.
  ///
  /// - Returns: their indices.
  package func set(_ access: MemoryAccess, in range: GPARange) throws(EngineError) -> Range<Int> {
    let pages = try memory.pages(toPermit: range)
    let restriction = MemoryAccess.full.rawValue - access.rawValue
    for page in pages {
      (restrictions + page).pointee.store(restriction, ordering: .sequentiallyConsistent)
    }
    return pages
  }
}

// MARK: - What they mean for a core

extension Core {
  /// The memory behind a physical page, if processors may reach it; accesses to any other go to the register
  /// bus.
  func reachablePage(_ physical: UInt64) -> GuestMemory.HostPage? {
    guard let page = memory.hostPage(holding: GPA(physical)),
      rights.access(page: page.index) != .none
    else { return nil }
    return page
  }

  /// Where a processor's write to a physical address ends.
  enum WriteDestination {
    case memory(GuestMemory.HostPage)
    case registers
    /// In ROM: the write is lost.
    case nowhere
  }

  func destination(ofWriteTo physical: UInt64) -> WriteDestination {
    guard let page = memory.hostPage(holding: GPA(physical)),
      rights.access(page: page.index) == .full
    else { return .registers }
    return page.isWritable ? .memory(page) : .nowhere
  }

  /// The same for a store that follows, which a rehearsal may prevent.
  func destination(ofStoreTo physical: UInt64) -> WriteDestination {
    let destination = destination(ofWriteTo: physical)
    guard let rehearsal, case .memory(let page) = destination else { return destination }
    return rehearsal.permitsWrite(to: page, physical) ? destination : .nowhere
  }

  /// Rights to pages changed: nothing derived from them before is used by any access that follows, not even
  /// by the instruction in hand. On the core's own thread.
  func forgetRights(to pages: Range<Int>) {
    flushTranslations(global: true)
    for page in pages { dropCode(page: page) }
  }
}
