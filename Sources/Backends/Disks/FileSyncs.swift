import HostOS

/// The syncs of one file, of which none succeeds after one has failed.
///
/// The host tells of data that it could not write to whoever syncs next, once, and drops them: to call the sync after
/// that one a success would be wrong, and so would it be if two ran at a time and one alone heard of it. So there is one
/// at a time. Those who come meanwhile share the next one, which begins after all that they have written.
final class FileSyncs: @unchecked Sendable {
  // Sendable although it has variables: `lock` guards them.
  private let sync: @Sendable () throws(HostError) -> Void
  private let lock = ConditionLock()
  private var begun: UInt64 = 0
  private var done: UInt64 = 0
  private var isRunning = false
  private var waiting = 0
  private var lost: DiskError?

  init(_ sync: @escaping @Sendable () throws(HostError) -> Void) { self.sync = sync }

  /// Returns when all that was written before would survive a loss of power. Once it has failed it always fails.
  func run() throws(DiskError) {
    lock.lock()
    defer { lock.unlock() }
    let wanted = begun + 1
    while done < wanted {
      if let lost { throw lost }
      guard isRunning else {
        runOne()
        continue
      }
      waiting += 1
      lock.wait()
      waiting -= 1
    }
  }

  /// How many wait while another's sync runs.
  var waiters: Int { lock.withLock { waiting } }

  /// What could not be made durable is lost, whoever finds out: no sync succeeds from now on.
  func fail(_ error: DiskError) { lock.withLock { lost = lost ?? error } }

  /// Lets go of the lock meanwhile.
  private func runOne() {
    begun += 1
    isRunning = true
    lock.unlock()
    var failure: DiskError?
    do throws(HostError) {
      try sync()
    } catch {
      // Not `.noSpace`: room that comes later does not bring back what was dropped.
      failure = .host(operation: error.operation, code: error.code)
    }
    lock.lock()
    isRunning = false
    if let failure { lost = lost ?? failure } else { done = begun }
    lock.wakeAll()
  }
}
