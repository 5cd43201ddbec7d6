/// A lock whose holder may wait for another holder's change. Not recursive.
package final class ConditionLock: @unchecked Sendable {
  // Sendable although it holds raw pointers: the host's mutex and condition are made to be shared.
  let storage: Storage

  package init() { storage = Storage() }

  deinit { storage.destroy() }

  @inline(__always)
  package func withLock<R, E: Error>(_ body: () throws(E) -> R) throws(E) -> R {
    lock()
    defer { unlock() }
    return try body()
  }
}
