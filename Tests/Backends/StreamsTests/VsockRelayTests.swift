import Glibc
import HostOS
import Synchronization
import Testing
import Work

@testable import Streams

/// A guest that listens at port 22 and takes everything it is sent.
private final class TestGuest: VsockUser {
  struct State {
    var streams: [any VsockStream] = []
    var received: [UInt8] = []
    var events: VsockEvents = []
    var hasEnded = false
    var reads = true
  }
  let state = Mutex(State())

  func called(_ stream: any VsockStream, port: UInt32) -> Bool {
    guard port == 22 else { return false }
    state.withLock { $0.streams.append(stream) }
    stream.attach(self, as: 0)
    stream.accepted(port: 7)
    take(stream)
    return true
  }

  func streamReady(_ id: UInt64, _ events: VsockEvents) {
    state.withLock { $0.events.formUnion(events) }
    if let stream = state.withLock({ $0.streams.isEmpty ? nil : $0.streams[Int(id)] }) {
      take(stream)
    }
  }

  func take(_ stream: any VsockStream) {
    while state.withLock({ $0.reads && !$0.hasEnded }) {
      switch stream.receive(upTo: 100) {
      case .bytes(let bytes): state.withLock { $0.received += bytes }
      case .nothing: return
      case .ended: state.withLock { $0.hasEnded = true }
      }
    }
  }
}

/// The convention of Firecracker and Cloud Hypervisor for Unix sockets.
@Suite struct VsockRelayTests {
  private let path = temporaryPath("vsock")
  private let loop: EventLoop
  private let relay: VsockRelay
  private let guest = TestGuest()

  init() throws {
    loop = try EventLoop(name: "vsock")
    relay = try VsockRelay(path: path, limit: 3, on: loop)
    relay.attach(guest)
  }

  /// Does something on the relay's loop, and waits until it is done.
  private func onLoop<R: Sendable>(_ body: @escaping @Sendable () -> R) -> R {
    let done = Event()
    let box = Box<R>()
    loop.post {
      let result = body()
      box.value.withLock { $0 = result }
      done.signal()
    }
    done.wait()
    return box.value.withLock { $0! }
  }

  private final class Box<R: Sendable>: Sendable {
    let value = Mutex<R?>(nil)
  }

  private func end() {
    onLoop { relay.close() }
    loop.stop()
  }

  private var connectionCount: Int { onLoop { relay.connectionCount } }
  private func isRefused(_ port: UInt32) -> Bool {
    onLoop { relay.connect(toPort: port) == nil }
  }

  private func send(_ bytes: [UInt8], _ stream: any VsockStream) -> Int? {
    onLoop { stream.send(bytes) }
  }

  private func say(_ text: String, to client: Descriptor) {
    _ = try? client.write(Array(text.utf8)[...])
  }

  @Test func `a program connects, says whom it calls, and talks`() throws {
    defer { end() }
    let client = try #require(connectClient(path))
    say("CONN", to: client)
    say("ECT 22\nhello", to: client)
    #expect(read(5, from: client) == Array("OK 7\n".utf8))
    #expect(eventually { guest.state.withLock { $0.received } == Array("hello".utf8) })
    say(", guest", to: client)
    #expect(eventually { guest.state.withLock { $0.received.count } == 12 })
    let stream = guest.state.withLock { $0.streams[0] }
    #expect(send([1, 2, 3], stream) == 3)
    #expect(read(3, from: client) == [1, 2, 3])
  }

  @Test(arguments: [
    "CONNECT 23\n", "CONNECT\n", "CONNECT \n", "CONNECT -1\n", "CONNECT +22\n",
    "CONNECT 4294967296\n", "GET / HTTP/1.1\n", "\n", "CONNECT 0000000000000000000000000000022\n",
    String(repeating: "x", count: 100),
  ])
  func `who calls nobody is hung up on`(line: String) throws {
    defer { end() }
    let client = try #require(connectClient(path))
    say(line, to: client)
    #expect(read(1, from: client).isEmpty)
    #expect(eventually { connectionCount == 0 })
  }

  @Test func `the guest reaches who listens at the port's path`() throws {
    defer { end() }
    #expect(isRefused(80))
    let listener = try UnixListener(path: path + "_80")
    let connected = onLoop { relay.connect(toPort: 80) }
    let stream = try #require(connected)
    let program = try #require(listener.accept())
    onLoop {
      guest.state.withLock { $0.streams.append(stream) }
      stream.attach(guest, as: 0)
      guest.take(stream)
      _ = stream.send([9])
    }
    program.waitUntil(.readable)
    #expect(try program.read(upTo: 10) == [9])
    _ = try program.write([1, 2][...])
    #expect(eventually { guest.state.withLock { $0.received } == [1, 2] })
    onLoop { stream.finishSending() }
    program.waitUntil(.readable)
    #expect(try program.read(upTo: 10) == [])
    #expect(!guest.state.withLock { $0.hasEnded })
  }

  @Test func `a program that finishes can still listen, until it hangs up`() throws {
    defer { end() }
    let client = try #require(connectClient(path))
    say("CONNECT 22\nbye", to: client)
    #expect(read(5, from: client) == Array("OK 7\n".utf8))
    client.finishSending()
    #expect(eventually { guest.state.withLock { $0.hasEnded } })
    #expect(!guest.state.withLock { $0.events.contains(.ended) })
    let stream = guest.state.withLock { $0.streams[0] }
    #expect(send([5], stream) == 1)
    #expect(read(1, from: client) == [5])
    _ = consume client
    #expect(eventually { guest.state.withLock { $0.events.contains(.ended) } })
    #expect(send([5], stream) == nil)
  }

  @Test func `a program that hangs up leaves what it sent`() throws {
    defer { end() }
    guest.state.withLock { $0.reads = false }
    let client = try #require(connectClient(path))
    say("CONNECT 22\nlast words", to: client)
    #expect(read(5, from: client) == Array("OK 7\n".utf8))
    _ = consume client
    #expect(eventually { guest.state.withLock { $0.events.contains(.ended) } })
    guest.state.withLock { $0.reads = true }
    let stream = guest.state.withLock { $0.streams[0] }
    onLoop { guest.take(stream) }
    #expect(guest.state.withLock { $0.received } == Array("last words".utf8))
    #expect(guest.state.withLock { $0.hasEnded })
  }

  @Test func `what a program does not take now it takes later, even after the guest has closed`()
    throws
  {
    defer { end() }
    let client = try #require(connectClient(path))
    say("CONNECT 22\n", to: client)
    #expect(read(5, from: client) == Array("OK 7\n".utf8))
    let stream = guest.state.withLock { $0.streams[0] }
    let block = [UInt8](repeating: 3, count: 1 << 20)
    let sent = try #require(send(block, stream))
    #expect(sent < block.count)
    #expect(send([4], stream) == 0)
    onLoop { stream.close(sending: [7, 8, 9]) }
    #expect(connectionCount == 1, "it is still there for the rest")
    #expect(read(sent, from: client).count == sent)
    #expect(read(3, from: client) == [7, 8, 9])
    #expect(read(1, from: client).isEmpty)
    #expect(connectionCount == 0)
  }

  @Test func `there are so many connections, and callers wait for a place`() throws {
    defer { end() }
    var clients: [Descriptor] = []
    for _ in 0..<4 { clients.append(try #require(connectClient(path))) }
    #expect(eventually { connectionCount == 3 })
    #expect(isRefused(1))
    say("CONNECT 22\n", to: clients[3])
    clients.removeFirst()
    #expect(read(5, from: clients[2]) == Array("OK 7\n".utf8))
  }
}
