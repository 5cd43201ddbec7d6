public import Synchronization

/// One bit a page: written since it was last collected.
///
/// Tracking costs nothing until it is switched on. An engine that lets the guest write without being
/// asked marks a page when it lets the first write through, and asks again after each collection.
public final class DirtyPages: @unchecked Sendable {
  // Sendable although it holds a raw pointer: the words behind it are atomics, fixed in number.
  @usableFromInline let words: UnsafeMutablePointer<Atomic<UInt64>>
  private let wordCount: Int
  @usableFromInline package let pages: Int
  @usableFromInline let enabled = Atomic<Bool>(false)

  init(pages: Int) {
    self.pages = pages
    wordCount = (pages + 63) / 64
    words = .allocate(capacity: wordCount)
    for index in 0..<wordCount { (words + index).initialize(to: Atomic(0)) }
  }

  deinit { words.deallocate() }

  /// Whether writes are recorded.
  public var isEnabled: Bool {
    @inlinable get { enabled.load(ordering: .relaxed) }
    set { enabled.store(newValue, ordering: .sequentiallyConsistent) }
  }

  /// Records a write to a page, if tracking is on.
  @inlinable @inline(__always)
  public func mark(_ page: Int) {
    guard isEnabled, page >= 0, page < pages else { return }
    (words + page / 64).pointee.bitwiseOr(1 &<< UInt64(page & 63), ordering: .releasing)
  }

  package func isDirty(_ page: Int) -> Bool {
    guard page >= 0, page < pages else { return false }
    return (words + page / 64).pointee.load(ordering: .relaxed) & (1 &<< UInt64(page & 63)) != 0
  }

  /// The indices of all pages written, which are clean from now on.
  ///
  /// An engine's processors must hear of it (they keep "may write" for pages seen dirty), so this is
  /// called through the engine's `DirtyPageTracker`, or at rest.
  package func collect() -> [Int] {
    var dirty: [Int] = []
    for index in 0..<wordCount {
      // Looked at before it is exchanged: most words of a large memory are zero.
      guard (words + index).pointee.load(ordering: .relaxed) != 0 else { continue }
      var word = (words + index).pointee.exchange(0, ordering: .acquiring)
      while word != 0 {
        dirty.append(index * 64 + word.trailingZeroBitCount)
        word &= word - 1
      }
    }
    return dirty
  }
}
