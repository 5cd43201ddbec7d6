import HostOS
import Streams
import Synchronization
import Work

/// Uses a stream as a device would: on a loop, noting what it is told and taking what comes.
final class Collector: ByteStreamUser {
  let loop: any Loop
  private let stream: any ByteStream
  private let state = Mutex((received: [UInt8](), roomCame: 0))
  private let change = Event()

  init(_ stream: any ByteStream, on loop: any Loop) {
    self.stream = stream
    self.loop = loop
    stream.attach(self)
  }

  func streamReady(_ events: StreamEvents) {
    if events.contains(.mayReceive) {
      while true {
        let bytes = stream.receive(upTo: 16)
        if bytes.isEmpty { break }
        state.withLock { $0.received += bytes }
      }
    }
    if events.contains(.maySend) { state.withLock { $0.roomCame += 1 } }
    change.signal()
  }

  var received: [UInt8] { state.withLock { $0.received } }
  var roomCame: Int { state.withLock { $0.roomCame } }

  /// Waits until something holds, a minute at most.
  func wait(until condition: (Collector) -> Bool) -> Bool {
    let deadline = HostClock.now.advanced(by: 60_000_000_000)
    while !condition(self) {
      guard HostClock.now < deadline else { return false }
      change.wait(until: HostClock.now.advanced(by: 10_000_000))
    }
    return true
  }

  /// Sends everything, waiting for room as a device does.
  func sendAll(_ bytes: [UInt8]) {
    var rest = bytes[...]
    while !rest.isEmpty {
      let before = roomCame
      rest = rest.dropFirst(stream.send(Array(rest)))
      if !rest.isEmpty, !wait(until: { $0.roomCame > before }) { return }
    }
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
