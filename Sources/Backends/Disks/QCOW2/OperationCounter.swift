import HostOS
import Synchronization

/// Counts operations that use host clusters outside the image's lock, so that a cluster given up is used for
/// something else only when all that may still read or write it have ended.
///
/// Operations belong to one of two generations; whoever must wait starts a new one and waits for the old to end.
final class OperationCounter: Sendable {
  private let even = Atomic<Int>(0)
  private let odd = Atomic<Int>(0)
  private let generation = Atomic<Int>(0)
  private let isAwaited = Atomic<Bool>(false)
  private let lock: ConditionLock

  init(_ lock: ConditionLock) { self.lock = lock }

  /// To be called with the lock held.
  @inline(__always)
  func begin() -> Int {
    let ticket = generation.load(ordering: .relaxed) & 1
    if ticket == 0 {
      even.add(1, ordering: .relaxed)
    } else {
      odd.add(1, ordering: .relaxed)
    }
    return ticket
  }

  @inline(__always)
  func end(_ ticket: Int) {
    let left =
      ticket == 0
      ? even.subtract(1, ordering: .sequentiallyConsistent).newValue
      : odd.subtract(1, ordering: .sequentiallyConsistent).newValue
    if left == 0 && isAwaited.load(ordering: .sequentiallyConsistent) {
      lock.withLock { lock.wakeAll() }
    }
  }

  /// Waits for all operations that have begun. One caller at a time, without the lock.
  func awaitOthers() {
    lock.withLock {
      let old = generation.load(ordering: .relaxed) & 1
      generation.store(1 - old, ordering: .relaxed)
      isAwaited.store(true, ordering: .sequentiallyConsistent)
      while count(old) != 0 {
        lock.wait()
      }
      isAwaited.store(false, ordering: .sequentiallyConsistent)
    }
  }

  private func count(_ ticket: Int) -> Int {
    ticket == 0
      ? even.load(ordering: .sequentiallyConsistent)
      : odd.load(ordering: .sequentiallyConsistent)
  }
}
