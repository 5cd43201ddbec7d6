import Glibc
import HostOS
import Synchronization
import Testing

@testable import Disks

struct FileSyncsTests {
  private static let failure = HostError("flush \"disk\"", code: EIO)

  /// A host's sync, which waits until the test lets it go, and may fail.
  private final class SlowSync: Sendable {
    let hasBegun = Event()
    let mayEnd = Event()
    let state = Mutex((begun: 0, fails: false))
    var begun: Int { state.withLock { $0.begun } }

    func run() throws(HostError) {
      state.withLock { $0.begun += 1 }
      hasBegun.signal()
      mayEnd.wait()
      if state.withLock({ $0.fails }) { throw failure }
    }
  }

  @Test func `each that comes alone is one of the host's`() throws {
    let count = Mutex(0)
    let syncs = FileSyncs { count.withLock { $0 += 1 } }
    for _ in 0..<3 { try syncs.run() }
    #expect(count.withLock { $0 } == 3)
  }

  @Test func `whoever comes during one waits for the next, and shares it`() throws {
    let host = SlowSync()
    let syncs = FileSyncs { () throws(HostError) in try host.run() }
    let ended = Atomic<Int>(0)
    func begin() throws -> Thread {
      try Thread(name: "sync") {
        #expect(throws: Never.self) { try syncs.run() }
        ended.add(1, ordering: .sequentiallyConsistent)
      }
    }
    let first = try begin()
    host.hasBegun.wait()
    let others = try (0..<4).map { _ in try begin() }
    while syncs.waiters < others.count { sched_yield() }
    #expect(ended.load(ordering: .sequentiallyConsistent) == 0)
    host.mayEnd.signal()
    first.join()
    host.hasBegun.wait()
    #expect(ended.load(ordering: .sequentiallyConsistent) == 1, "the first did not cover them")
    host.mayEnd.signal()
    for other in others { other.join() }
    #expect(host.begun == 2)
  }

  @Test func `after one has failed none succeeds, and the host is not asked again`() throws {
    let host = SlowSync()
    host.state.withLock { $0.fails = true }
    let syncs = FileSyncs { () throws(HostError) in try host.run() }
    let heard = Mutex<[DiskError?]>([])
    func begin() throws -> Thread {
      try Thread(name: "sync") {
        do throws(DiskError) {
          try syncs.run()
          heard.withLock { $0.append(nil) }
        } catch {
          heard.withLock { $0.append(error) }
        }
      }
    }
    let first = try begin()
    host.hasBegun.wait()
    let second = try begin()
    while syncs.waiters < 1 { sched_yield() }
    host.mayEnd.signal()
    first.join()
    second.join()
    host.state.withLock { $0.fails = false }
    let lost = DiskError.host(operation: Self.failure.operation, code: EIO)
    #expect(heard.withLock { $0 } == [lost, lost])
    #expect(throws: lost) { try syncs.run() }
    #expect(host.begun == 1)
  }

  @Test func `a lack of room is a loss like any other`() {
    let syncs = FileSyncs { () throws(HostError) in throw HostError("flush", code: ENOSPC) }
    #expect(throws: DiskError.host(operation: "flush", code: ENOSPC)) { try syncs.run() }
  }

  @Test func `what others found lost is lost`() {
    let syncs = FileSyncs {}
    syncs.fail(.host(operation: "write", code: EIO))
    #expect(throws: DiskError.host(operation: "write", code: EIO)) { try syncs.run() }
  }
}
