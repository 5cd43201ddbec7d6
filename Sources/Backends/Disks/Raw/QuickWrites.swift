import HostOS
import Synchronization

/// Whether to write into the page cache without asking whether that would wait, on file systems that cannot tell:
/// it takes two microseconds as a rule, where a thread of the pool takes ten, and many milliseconds when the host has
/// more to write back than it likes.
///
/// So it is tried with pieces for which nothing has to be read first, and after one that took long the next few
/// hundred are left to those who may wait.
final class QuickWrites: Sendable {
  private let left = Atomic<Int>(0)

  private static let longest: UInt64 = 64 << 10
  private static let page: UInt64 = 4096
  private static let patience: UInt64 = 500_000  // nanoseconds
  private static let penalty = 256

  func mayTry(_ range: Range<UInt64>) -> Bool {
    guard range.length <= Self.longest, (range.lowerBound | range.upperBound) % Self.page == 0
    else { return false }
    if left.load(ordering: .relaxed) <= 0 { return true }
    left.subtract(1, ordering: .relaxed)
    return false
  }

  func note(_ end: HostInstant, since start: HostInstant) {
    if end.nanoseconds - start.nanoseconds > Self.patience {
      left.store(Self.penalty, ordering: .relaxed)
    }
  }
}
