import HostOS
import Networks
import Synchronization
import Work

/// Uses a port as a network device would: on a loop, noting what it is told and taking what comes.
final class PortTester: NetworkPortUser {
  let loop: any Loop
  let port: any NetworkPort
  private let batch: Int
  private let state = Mutex((received: [Frame](), roomCame: 0, told: 0, largestBatch: 0))
  private let change = Event()
  private let isTaking = Atomic<Bool>(true)

  init(_ port: any NetworkPort, on loop: any Loop, batch: Int = 7) {
    self.port = port
    self.loop = loop
    self.batch = batch
    port.attach(self)
  }

  func portReady(_ events: PortEvents) {
    if events.contains(.mayReceive) {
      state.withLock { $0.told += 1 }
      if isTaking.load(ordering: .acquiring) { take() }
    }
    if events.contains(.maySend) { state.withLock { $0.roomCame += 1 } }
    change.signal()
  }

  /// Takes all there is, a batch at a time.
  func take() {
    while true {
      let frames = port.receive(upTo: batch)
      state.withLock {
        $0.received += frames
        $0.largestBatch = max($0.largestBatch, frames.count)
      }
      if frames.count < batch { return }
    }
  }

  /// Leaves frames where they are, or takes them again.
  func setTaking(_ takes: Bool) { isTaking.store(takes, ordering: .releasing) }

  var received: [Frame] { state.withLock { $0.received } }
  var roomCame: Int { state.withLock { $0.roomCame } }
  var told: Int { state.withLock { $0.told } }
  var largestBatch: Int { state.withLock { $0.largestBatch } }

  /// Waits until something holds, a minute at most.
  func wait(until condition: (PortTester) -> Bool) -> Bool {
    let deadline = HostClock.now.advanced(by: 60_000_000_000)
    while !condition(self) {
      guard HostClock.now < deadline else { return false }
      change.wait(until: HostClock.now.advanced(by: 10_000_000))
    }
    return true
  }

  /// Sends everything, waiting for room as a device does. Answers whether it all went.
  func sendAll(_ frames: [Frame]) -> Bool {
    var rest = frames[...]
    while !rest.isEmpty {
      let before = roomCame
      let count = port.send(Array(rest))
      guard count <= rest.count else { return false }
      rest = rest.dropFirst(count)
      if !rest.isEmpty, !wait(until: { $0.roomCame > before }) { return false }
    }
    return true
  }
}

/// Waits until something holds, a minute at most.
func eventually(_ condition: () -> Bool) -> Bool {
  let deadline = HostClock.now.advanced(by: 60_000_000_000)
  while !condition() {
    guard HostClock.now < deadline else { return false }
    Thread.sleep(until: HostClock.now.advanced(by: 1_000_000))
  }
  return true
}

/// A path that nothing has used.
func temporaryPath(_ name: String) -> String {
  "/tmp/roost-networks-\(name)-\(UInt64.random(in: 0...UInt64.max))"
}
