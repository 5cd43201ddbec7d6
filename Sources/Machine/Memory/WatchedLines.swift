public import Synchronization

/// Told when memory changed of which it keeps something derived: an engine with decoded instructions.
package protocol MemoryWatcher: AnyObject, Sendable {
  /// Watched lines of a page were written. Callable from any thread, after the bytes changed.
  func watchedLinesChanged(page: Int)
}

/// One bit for each 64-byte line of guest memory: an engine keeps instructions decoded from it.
///
/// A write that meets a watched line unwatches its whole page and tells the watcher.
public final class WatchedLines: @unchecked Sendable {
  // Sendable although it holds a raw pointer: the words behind it are atomics, fixed in number.
  // `watcher` is set while nothing runs.
  @usableFromInline let words: UnsafeMutablePointer<Atomic<UInt64>>
  private let pages: Int
  private let announced = Atomic<UInt64>(0)
  /// Who is told of changes; set while no processor runs.
  package var watcher: (any MemoryWatcher)?

  init(pages: Int) {
    self.pages = pages
    words = .allocate(capacity: pages)
    for index in 0..<pages { (words + index).initialize(to: Atomic(0)) }
  }

  deinit { words.deallocate() }

  /// The lines `first...last` (byte offsets in a page), as bits.
  @inlinable @inline(__always)
  public static func lines(from first: Int, through last: Int) -> UInt64 {
    let low = UInt64(truncatingIfNeeded: first >> 6)
    let high = UInt64(truncatingIfNeeded: last >> 6)
    return (~0 &<< low) & (~0 &>> (63 &- high))
  }

  /// The watched lines of a page.
  @inlinable @inline(__always)
  public func watched(page: Int) -> UInt64 { (words + page).pointee.load(ordering: .relaxed) }

  /// Watches more lines. Answers whether the page had none before: then processors that may write it
  /// without being asked must lose that right.
  package func watch(_ lines: UInt64, page: Int) -> Bool {
    announced.add(1, ordering: .sequentiallyConsistent)
    let old = (words + page).pointee.bitwiseOr(lines, ordering: .sequentiallyConsistent).oldValue
    if old != 0 { announced.subtract(1, ordering: .sequentiallyConsistent) }
    return old == 0
  }

  /// How often `watch` has answered `true`, counted before anything is watched. For a moment it may be more.
  package var announcements: UInt64 { announced.load(ordering: .sequentiallyConsistent) }

  /// Unwatches a page. Answers whether it had watched lines.
  package func unwatch(page: Int) -> Bool {
    (words + page).pointee.exchange(0, ordering: .sequentiallyConsistent) != 0
  }

  /// Unwatches all pages and tells nobody: whoever watched is gone.
  package func unwatchAll() {
    for page in 0..<pages where watched(page: page) != 0 { _ = unwatch(page: page) }
  }

  /// Bytes `first...last` of a page were written, by other means than a processor's own check.
  @inlinable @inline(__always)
  public func noteWrite(page: Int, from first: Int, through last: Int) {
    // Whoever watches a line reads it afterwards. Either it finds the bytes, which therefore must be out
    // before the watched lines are looked at, or its mark is found here.
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    let watched = self.watched(page: page)
    if _slowPath(watched != 0) { hit(page: page, watched & Self.lines(from: first, through: last)) }
  }

  @usableFromInline
  func hit(page: Int, _ lines: UInt64) {
    guard lines != 0, unwatch(page: page) else { return }
    watcher?.watchedLinesChanged(page: page)
  }
}
