import CHostOS
import Glibc
import Synchronization

/// Sleeping on a word of memory: futex(2).
enum Futex {
  enum Outcome { case woken, timedOut }

  /// Sleeps while the word has a value. May wake early.
  static func sleep(
    while word: UnsafeMutablePointer<Atomic<UInt32>>, is value: UInt32, until deadline: HostInstant?
  ) -> Outcome {
    let code =
      if let deadline {
        withUnsafePointer(to: timespec(deadline)) { roost_futex_wait(word, value, $0) }
      } else {
        roost_futex_wait(word, value, nil)
      }
    return code == ETIMEDOUT ? .timedOut : .woken
  }

  static func wakeOne(_ word: UnsafeMutablePointer<Atomic<UInt32>>) { roost_futex_wake(word) }
}
