import HostOS
import Kit
import Networks
import Testing
import Work

/// A port that calls a peer played by the test.
private struct Bench {
  let loop: EventLoop
  let clock = ManualClock()
  let path = temporaryPath("stream")
  var peer: UnixListener?
  let port: StreamPort
  let user: PortTester

  init(_ reconnection: Reconnection = Reconnection()) throws {
    loop = try EventLoop(name: "stream")
    peer = try UnixListener(path: path)
    port = try StreamPort(path: path, .connect(reconnection), on: loop, clock: clock)
    user = PortTester(port, on: loop)
  }

  /// The next call of the port.
  func answer() -> Descriptor? {
    var caller: Descriptor?
    _ = eventually {
      caller = peer?.accept()
      return caller != nil
    }
    return caller
  }
}

/// What came in, to its `count`th byte or its end.
private func read(_ count: Int, from handle: Descriptor) -> [UInt8] {
  var bytes: [UInt8] = []
  while bytes.count < count {
    handle.waitUntil(.readable)
    guard let part = try? handle.read(upTo: count - bytes.count), !part.isEmpty else { break }
    bytes += part
  }
  return bytes
}

/// Calls until the listener has room for one more.
private func call(_ path: String) -> Descriptor? {
  var caller: Descriptor?
  _ = eventually {
    caller = try? UnixClient.connect(path)
    return caller != nil
  }
  return caller
}

private func framed(_ frame: [UInt8]) -> [UInt8] {
  let count = UInt32(frame.count)
  return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: count >> $0) } + frame
}

@Suite struct `Stream port` {
  @Test func `each frame goes behind its length`() throws {
    let bench = try Bench()
    let peer = try #require(bench.answer())
    let frame = Sample.numbered(5, count: 300)
    #expect(bench.port.send([frame]) == 1)
    #expect(read(304, from: peer) == [0, 0, 1, 44] + frame.bytes)
  }

  @Test func `frames that come in pieces are put together`() throws {
    let bench = try Bench()
    let peer = try #require(bench.answer())
    let frames = (0..<5).map { Sample.numbered($0, count: 70 + $0) }
    for byte in frames.flatMap({ framed($0.bytes) }) { try peer.writeAll([byte]) }
    #expect(bench.user.wait { $0.received.count == 5 })
    #expect(bench.user.received.map(\.bytes) == frames.map(\.bytes))
  }

  @Test(arguments: [[0xff, 0xff, 0xff, 0xff], [0x80, 0, 0, 0], [0, 1, 0, 0x37]] as [[UInt8]])
  func `a length that no frame can have ends the connection`(_ length: [UInt8]) throws {
    let bench = try Bench()
    let peer = try #require(bench.answer())
    try peer.writeAll(length + [UInt8](repeating: 0, count: 100))
    #expect(read(1, from: peer).isEmpty)
    #expect(eventually { !bench.port.isConnected })
  }

  @Test func `short frames are dropped, and those behind them are not`() throws {
    let bench = try Bench()
    let peer = try #require(bench.answer())
    try peer.writeAll(framed([]) + framed([1, 2, 3]) + framed(Sample.numbered(1).bytes))
    #expect(bench.user.wait { $0.received.count == 1 })
    #expect(bench.port.statistics.dropped == 1)
  }

  @Test func `while nobody is there frames are lost, and the guest is not held up`() throws {
    let bench = try Bench()
    var peer = bench.answer()
    #expect(peer != nil)
    peer = nil
    #expect(eventually { !bench.port.isConnected })
    #expect(bench.port.send([Sample.numbered(0), Sample.numbered(1)]) == 2)
    #expect(bench.port.statistics.dropped == 2)
  }

  @Test func `a lost peer is called again, later each time`() throws {
    var bench = try Bench(Reconnection())
    var peer = bench.answer()
    bench.peer = nil  // and nobody listens
    #expect(peer != nil)
    peer = nil
    #expect(eventually { !bench.port.isConnected })
    let settle = Event()
    for _ in 0..<4 {
      bench.clock.advance(by: 5_000_000_000)
      bench.loop.post { settle.signal() }
      settle.wait()
    }
    #expect(!bench.port.isConnected)
    bench.peer = try UnixListener(path: bench.path)
    bench.clock.advance(by: 5_000_000_000)
    #expect(eventually { bench.port.isConnected })
    peer = bench.answer()
    #expect(bench.port.send([Sample.numbered(9)]) == 1)
    #expect(read(64, from: try #require(peer)).suffix(60) == Sample.numbered(9).bytes)
  }

  @Test func `tries are bounded`() throws {
    var reconnection = Reconnection()
    reconnection.tries = 2
    var bench = try Bench(reconnection)
    var peer = bench.answer()
    bench.peer = nil
    #expect(peer != nil)
    peer = nil
    #expect(eventually { !bench.port.isConnected })
    let settle = Event()
    for _ in 0..<3 {
      bench.clock.advance(by: 5_000_000_000)
      bench.loop.post { settle.signal() }
      settle.wait()
    }
    bench.peer = try UnixListener(path: bench.path)
    bench.clock.advance(by: 500_000_000_000)
    bench.loop.post { settle.signal() }
    settle.wait()
    #expect(!bench.port.isConnected)
  }

  @Test func `when one caller has gone the next is answered`() throws {
    let loop = try EventLoop(name: "stream")
    let path = temporaryPath("stream")
    let port = try StreamPort(path: path, .listen, on: loop, clock: ManualClock())
    let user = PortTester(port, on: loop)
    for number in 0..<3 {
      let caller = try UnixClient.connect(path)
      try caller.writeAll(framed(Sample.numbered(number).bytes))
      #expect(user.wait { $0.received.count == number + 1 })
    }
  }

  @Test func `a peer that reads nothing holds up the sender, not the memory`() throws {
    let bench = try Bench()
    let peer = try #require(bench.answer())
    let frames = (0..<64).map { Sample.numbered($0, count: 1514) }
    var sent = 0
    while sent < 100_000 {
      let count = bench.port.send(frames)
      sent += count
      if count < frames.count { break }
    }
    #expect(sent < 100_000)
    let received = read(sent * 1518, from: peer)
    #expect(received.count == sent * 1518)
    #expect(bench.user.wait { $0.roomCame == 1 })
  }

  @Test func `a guest that reads nothing holds up the peer, and is given all in the end`() throws {
    let bench = try Bench()
    let peer = try #require(bench.answer())
    bench.user.setTaking(false)
    let frames = (0..<64).map { Sample.numbered($0, count: 1514) }
    let part = frames.flatMap { framed($0.bytes) }
    var written = 0
    var rest = part[...]
    while written < 1000 {
      guard let count = try? peer.write(rest) else { break }  // the socket is full
      rest = rest.dropFirst(count)
      if rest.isEmpty {
        written += 1
        rest = part[...]
      }
    }
    #expect(written < 1000)
    bench.user.setTaking(true)
    bench.user.take()
    try peer.writeAll(Array(rest))
    #expect(bench.user.wait { $0.received.count == (written + 1) * 64 })
  }

  @Test func `a path where nobody listens is refused with a sentence`() throws {
    let loop = try EventLoop(name: "stream")
    let error = #expect(throws: HostError.self) {
      try StreamPort(
        path: "/tmp/roost-nobody", .connect(Reconnection()), on: loop, clock: ManualClock())
    }
    #expect(error?.description.hasPrefix("cannot connect to the Unix socket") == true)
  }

  @Test func `no stream of bytes makes it trap`() throws {
    var chance = Chance(seed: 3)
    let loop = try EventLoop(name: "stream")
    let path = temporaryPath("stream")
    let port = try StreamPort(path: path, .listen, on: loop, clock: ManualClock())
    let user = PortTester(port, on: loop)
    for _ in 0..<50 {
      let caller = try #require(call(path))
      var bytes: [UInt8] = []
      for _ in 0..<chance.number(below: 40) {
        let count = Int(chance.number(below: 200))
        let frame = (0..<count).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
        bytes += chance.number(below: 10) == 0 ? frame : framed(frame)
      }
      _ = try? caller.writeAll(bytes)
    }
    let caller = try #require(call(path))
    try caller.writeAll(framed(Sample.numbered(4711).bytes))
    #expect(user.wait { $0.received.last?.bytes == Sample.numbered(4711).bytes })
  }
}
