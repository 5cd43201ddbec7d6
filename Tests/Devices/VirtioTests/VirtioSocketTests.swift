import Bits
import Board
import Kit
import Memory
import SavedState
import Streams
import Synchronization
import Testing
import Work

@testable import Virtio

/// A socket device, programs on the host, and a driver that sends and takes packets.
private final class SocketBench {
  let bench: Bench<VirtioSocket>
  let host: TestVsockHost
  let area: UInt64
  static let cid: UInt64 = 5
  private var places: [UInt16: UInt64] = [:]
  private var free: [UInt64]

  /// What the guest takes at most, in one connection.
  var allocation: UInt32 = 1 << 20
  var forwarded: UInt32 = 0

  init(_ dialect: UInt64 = 0, buffers: Int = 16, limit: Int = 8) {
    var host: TestVsockHost?
    bench = Bench { loop in
      let made = TestVsockHost(loop)
      host = made
      return VirtioSocket(guestCID: 5, host: made, limit: limit, queueSize: 32)
    }
    self.host = host!
    #expect(bench.begin(dialect))
    area = bench.driver.allocate(1 << 17)
    let receive = bench.driver.allocate(32 * 4096)
    free = (0..<32).map { receive + 4096 * UInt64($0) }
    post(buffers)
  }

  /// Gives the device buffers to fill.
  func post(_ count: Int, size: Int = 4096) {
    for _ in 0..<count {
      let place = free.removeLast()
      guard let token = bench.driver.queues[0].add([.init(place, size, writable: true)]) else {
        return free.append(place)
      }
      places[token] = place
    }
    bench.driver.queues[0].kick()
    bench.loop.run()
  }

  func header(
    _ operation: SocketOperation, to port: UInt32 = 80, from guestPort: UInt32 = 1000
  ) -> SocketHeader {
    var header = SocketHeader(
      from: SocketAddress(cid: Self.cid, port: guestPort),
      to: SocketAddress(cid: SocketAddress.hostCID, port: port), operation)
    header.allocation = allocation
    header.forwarded = forwarded
    return header
  }

  func send(_ header: SocketHeader, _ data: [UInt8] = [], count: UInt32? = nil) {
    var header = header
    header.count = count ?? UInt32(data.count)
    bench.driver.put(header.bytes + data, at: area)
    var buffers: [GuestQueue.Buffer] = [.init(area, SocketHeader.size)]
    if !data.isEmpty { buffers.append(.init(area + UInt64(SocketHeader.size), data.count)) }
    #expect(bench.driver.queues[1].add(buffers) != nil)
    bench.driver.queues[1].kick()
    bench.loop.run()
    _ = bench.driver.queues[1].takeAll()
  }

  /// The packets that came, whose buffers are given to the device again.
  func take() -> [(header: SocketHeader, data: [UInt8])] {
    bench.loop.run()
    let packets = bench.driver.queues[0].takeAll().map { used in
      let place = places.removeValue(forKey: used.token)!
      free.append(place)
      let bytes = bench.driver.bytes(at: place, count: Int(used.written))
      return (SocketHeader(Array(bytes.prefix(SocketHeader.size)))!, Array(bytes.dropFirst(44)))
    }
    post(packets.count)
    return packets
  }

  func operations() -> [SocketOperation] { take().map(\.header.operation) }

  /// Opens a connection to port 80.
  func connect(from port: UInt32 = 1000) -> TestVsockStream {
    send(header(.request, from: port))
    #expect(operations() == [.response])
    return host.last
  }
}

/// VIRTIO 1.3 §5.10.
@Suite struct VirtioSocketTests {
  @Test func `the configuration has the guest's context ID`() {
    let bench = SocketBench()
    #expect(bench.bench.registers.configuration(0, count: 8) == [5, 0, 0, 0, 0, 0, 0, 0])
    #expect(bench.bench.driver.queues.count == 3)
    #expect(!VirtioSocket.isGuestCID(2) && !VirtioSocket.isGuestCID(.max))
  }

  @Test(arguments: Dialect.all)
  func `a guest calls the host, and both talk`(dialect: Dialect) {
    let bench = SocketBench(dialect.features)
    bench.send(bench.header(.request))
    let answers = bench.take()
    #expect(answers.map(\.header.operation) == [.response])
    #expect(answers[0].header.source == SocketAddress(cid: 2, port: 80))
    #expect(answers[0].header.destination == SocketAddress(cid: 5, port: 1000))
    #expect(answers[0].header.allocation == 65536)
    bench.send(bench.header(.data), Array("hello".utf8))
    #expect(bench.host.last.state.withLock { $0.received } == Array("hello".utf8))
    bench.host.last.say(Array("world".utf8))
    let said = bench.take()
    #expect(said.map(\.header.operation) == [.data])
    #expect(said[0].data == Array("world".utf8) && said[0].header.count == 5)
    #expect(said[0].header.forwarded == 5)
  }

  @Test func `a program calls the guest and hears when it has answered`() throws {
    let bench = SocketBench()
    let stream = try #require(bench.host.call(22))
    let request = bench.take()
    #expect(request.map(\.header.operation) == [.request])
    #expect(request[0].header.destination == SocketAddress(cid: 5, port: 22))
    let port = request[0].header.source.port
    #expect(port >= 1 << 30)
    stream.say([1, 2, 3])
    #expect(bench.take().isEmpty, "nothing before the answer")
    bench.send(bench.header(.response, to: port, from: 22))
    #expect(stream.state.withLock { $0.acceptedPort } == port)
    #expect(bench.take().map(\.data) == [[1, 2, 3]])
    let other = try #require(bench.host.call(22))
    #expect(bench.take()[0].header.source.port != port, "each call has a port of its own")
    other.hangUp()
    #expect(bench.operations() == [.reset], "who hangs up before the answer takes the call back")
  }

  @Test func `a call that the guest refuses is closed`() throws {
    let bench = SocketBench()
    let stream = try #require(bench.host.call(22))
    let port = bench.take()[0].header.source.port
    bench.send(bench.header(.reset, to: port, from: 22))
    #expect(stream.state.withLock { $0.closedWith } == [])
    #expect(bench.take().isEmpty)
  }

  @Test func `nobody at a port, and what belongs to no connection, is answered by a reset`() {
    let bench = SocketBench()
    bench.send(bench.header(.request, to: 81))
    let answer = bench.take()
    #expect(answer.map(\.header.operation) == [.reset])
    #expect(answer[0].header.source == SocketAddress(cid: 2, port: 81))
    for operation: SocketOperation in [
      .response, .shutdown, .data, .creditUpdate, .creditRequest, .init(rawValue: 0),
      .init(rawValue: 99),
    ] {
      bench.send(bench.header(operation))
      #expect(bench.operations() == [.reset])
    }
    bench.send(bench.header(.reset))
    #expect(bench.operations() == [], "a reset is not answered")
  }

  @Test func `packets to others and from others get nowhere`() {
    let bench = SocketBench()
    var header = bench.header(.request)
    header.source.cid = 6
    bench.send(header)
    #expect(bench.operations() == [])
    header = bench.header(.request)
    header.destination.cid = 3
    bench.send(header)
    #expect(bench.operations() == [.reset])
    header = bench.header(.request)
    header.type = SocketType(rawValue: 2)
    bench.send(header)
    let answer = bench.take()
    #expect(answer.map(\.header.operation) == [.reset])
    #expect(answer[0].header.type == SocketType(rawValue: 2))
    #expect(bench.host.state.withLock { $0.streams.count } == 0)
  }

  @Test(arguments: [SocketOperation.request, .response, .init(rawValue: 0), .init(rawValue: 8)])
  func `what does not fit a connection ends it`(operation: SocketOperation) {
    let bench = SocketBench()
    let stream = bench.connect()
    bench.send(bench.header(operation))
    #expect(bench.operations() == [.reset])
    #expect(stream.state.withLock { $0.closedWith } == [])
    bench.send(bench.header(.data), [1])
    #expect(bench.operations() == [.reset], "it is gone")
  }

  @Test func `a packet that says it is longer than it is ends its connection`() {
    for count: UInt32 in [6, 65537, .max] {
      let bench = SocketBench()
      let stream = bench.connect()
      bench.send(bench.header(.data), [1, 2, 3, 4, 5], count: count)
      #expect(bench.operations() == [.reset])
      #expect(stream.state.withLock { $0.received } == [])
    }
  }

  // §5.10.6.3
  @Test func `the guest sends as much as there is room for, and more ends the connection`() {
    let bench = SocketBench()
    let stream = bench.connect()
    stream.state.withLock { $0.room = 0 }
    let block = [UInt8](repeating: 7, count: 32768)
    bench.send(bench.header(.data), block)
    bench.send(bench.header(.data), block)
    #expect(bench.operations() == [])
    bench.send(bench.header(.creditRequest))
    #expect(bench.take().map { $0.header.forwarded } == [0])
    stream.makeRoom(20000)
    #expect(bench.operations() == [], "not enough to be worth telling")
    stream.makeRoom(20000)
    let update = bench.take()
    #expect(update.map(\.header.operation) == [.creditUpdate])
    #expect(update[0].header.forwarded == 40000)
    bench.send(bench.header(.data), block)
    #expect(bench.operations() == [])
    bench.send(bench.header(.data), block)
    #expect(bench.operations() == [.reset])
  }

  @Test func `the host sends as much as the guest has room for, and asks when there is none`() {
    let bench = SocketBench()
    bench.allocation = 1000
    let stream = bench.connect()
    stream.say(.init(repeating: 1, count: 2500))
    var packets = bench.take()
    #expect(packets.map(\.data.count) == [1000, 0])
    #expect(packets.map(\.header.operation) == [.data, .creditRequest])
    bench.forwarded = 600
    bench.send(bench.header(.creditUpdate))
    packets = bench.take()
    #expect(packets.map(\.data.count) == [600, 0])
    // A guest that has passed on more than it was sent has no room at all.
    bench.forwarded = 5000
    bench.send(bench.header(.creditUpdate))
    #expect(bench.operations() == [])
    bench.allocation = .max
    bench.forwarded = 1600
    bench.send(bench.header(.creditUpdate))
    #expect(bench.take().map(\.data.count) == [900])
  }

  @Test func `connections take turns`() {
    let bench = SocketBench()
    let first = bench.connect(from: 1)
    let second = bench.connect(from: 2)
    first.say(.init(repeating: 1, count: 50000))
    second.say([2])
    let ports = bench.take().map(\.header.destination.port)
    #expect(ports.count > 2 && ports.firstIndex(of: 2)! < ports.count)
    #expect(bench.operations().allSatisfy { $0 == .data })
    // With one buffer at a time the second is not starved by the first.
    let narrow = SocketBench(buffers: 1)
    let long = narrow.connect(from: 1)
    let short = narrow.connect(from: 2)
    long.say(.init(repeating: 1, count: 50000))
    short.say([2])
    var order: [UInt32] = []
    for _ in 0..<4 { order += narrow.take().map(\.header.destination.port) }
    #expect(order.prefix(3).contains(2))
  }

  @Test func `each side may finish alone`() {
    let bench = SocketBench()
    let stream = bench.connect()
    var header = bench.header(.shutdown)
    header.flags = SocketShutdown.send.rawValue
    bench.send(header)
    #expect(stream.state.withLock { $0.guestFinished })
    stream.say([1, 2])
    #expect(bench.take().map(\.data) == [[1, 2]])
    stream.finish()
    let end = bench.take()
    #expect(end.map(\.header.operation) == [.shutdown])
    #expect(end[0].header.flags == SocketShutdown.send.rawValue)
    bench.send(bench.header(.data), [3])
    #expect(bench.operations() == [.reset], "it had said that it sends no more")
  }

  @Test func `what the guest sent before it finished goes to the host first`() {
    let bench = SocketBench()
    let stream = bench.connect()
    stream.state.withLock { $0.room = 0 }
    bench.send(bench.header(.data), [1, 2, 3])
    var header = bench.header(.shutdown)
    header.flags = SocketShutdown.send.rawValue
    bench.send(header)
    #expect(!stream.state.withLock { $0.guestFinished })
    stream.makeRoom(10)
    #expect(stream.state.withLock { $0.received } == [1, 2, 3])
    #expect(stream.state.withLock { $0.guestFinished })
  }

  @Test func `a guest that closes gets its reset, and the host what was on the way`() {
    let bench = SocketBench()
    let stream = bench.connect()
    stream.state.withLock { $0.room = 0 }
    bench.send(bench.header(.data), [1, 2, 3])
    var header = bench.header(.shutdown)
    header.flags = 3
    bench.send(header)
    #expect(bench.operations() == [.reset])
    #expect(stream.state.withLock { $0.closedWith } == [1, 2, 3])
  }

  @Test func `a program that hangs up is missed, after what it had sent`() {
    let bench = SocketBench()
    let stream = bench.connect()
    stream.state.withLock { $0.waiting = [4, 5] }
    stream.hangUp()
    let packets = bench.take()
    #expect(packets.map(\.data) == [[4, 5], []])
    #expect(packets.last?.header.operation == .shutdown)
    #expect(packets.last?.header.flags == 3)
    #expect(stream.state.withLock { $0.closedWith } == [])
    bench.send(bench.header(.data), [9])
    #expect(bench.operations() == [], "what crossed on the way is dropped")
    bench.send(bench.header(.reset))
    bench.send(bench.header(.data), [9])
    #expect(bench.operations() == [.reset], "its answer ended the connection")
  }

  @Test func `there are so many connections and no more`() {
    let bench = SocketBench(limit: 3)
    for port in 1...3 as ClosedRange<UInt32> { _ = bench.connect(from: port) }
    bench.send(bench.header(.request, from: 4))
    #expect(bench.operations() == [.reset])
    #expect(bench.host.call(9) == nil)
    bench.send(bench.header(.reset, from: 1))
    _ = bench.connect(from: 4)
  }

  @Test func `a guest that takes no answers is not listened to for ever`() {
    let bench = SocketBench(buffers: 0)
    let queue = bench.bench.driver.queues[1]
    bench.bench.driver.put(bench.header(.creditUpdate).bytes, at: bench.area)
    var sent = 0
    for _ in 0..<100 {
      while queue.add([.init(bench.area, 44)]) != nil { sent += 1 }
      queue.kick()
      bench.bench.loop.run()
      _ = queue.takeAll()
    }
    #expect(queue.inFlight == 32)
    #expect(sent - queue.inFlight == 256)
    bench.post(32)
    #expect(bench.take().count == 32)
    var rest = 0
    while case let count = bench.take().count, count > 0 { rest += count }
    #expect(rest == 256)
    #expect(queue.takeAll().count == 32)
  }

  @Test func `a reset hangs up on everybody`() {
    let bench = SocketBench()
    let stream = bench.connect()
    #expect(bench.bench.reset())
    #expect(stream.state.withLock { $0.closedWith } == [])
    #expect(bench.host.call(22) == nil, "nobody is there")
  }

  @Test func `a pause keeps connections`() {
    let bench = SocketBench()
    let stream = bench.connect()
    #expect(bench.bench.stop())
    stream.say([1])
    #expect(bench.bench.driver.queues[0].takeAll().isEmpty)
    bench.bench.start()
    #expect(bench.take().map(\.data) == [[1]])
  }

  // §5.10.6.7
  @Test func `a guest that was restored is told that its connections are gone`() throws {
    let bench = SocketBench()
    let queue = bench.bench.driver.queues[2]
    _ = queue.add([.init(bench.area, 4, writable: true)])
    bench.bench.driver.put([9, 9, 9, 9], at: bench.area)
    queue.kick()
    bench.bench.loop.run()
    #expect(queue.takeAll().isEmpty)
    #expect(bench.bench.stop())
    let saved = try bench.bench.transport.savedPart(named: "vsock")
    let loop = ManualLoop()
    let twin = VirtioMMIO(
      VirtioSocket(guestCID: 6, host: TestVsockHost(loop), queueSize: 32),
      interrupt: InterruptLine(to: RecordingController(), pin: 4),
      dma: DMA(bench.bench.memory), loop: loop)
    try twin.restore(from: saved)
    twin.start()
    loop.run()
    #expect(queue.takeAll().map(\.written) == [4])
    #expect(bench.bench.driver.bytes(at: bench.area, count: 4) == [0, 0, 0, 0])
  }

  @Test func `buffers too short for a packet stop their queue`() {
    let bench = SocketBench(buffers: 0)
    bench.post(1, size: 44)
    bench.send(bench.header(.data))
    #expect(bench.bench.registers.status & GuestDriver.needsReset != 0)
    let other = SocketBench()
    _ = other.bench.driver.queues[1].add([.init(other.area, 43)])
    other.bench.driver.queues[1].kick()
    other.bench.loop.run()
    #expect(other.bench.registers.status & GuestDriver.needsReset != 0)
  }

  @Test(arguments: 0..<8 as Range<UInt64>)
  func `whatever both sides do, buffers come back and connections stay few`(seed: UInt64) {
    var chance = Chance(seed: seed)
    let bench = SocketBench(Dialect.all[Int(seed % 4)].features)
    bench.host.state.withLock { $0.listening = [0, 1, 2] }
    for _ in 0..<2000 {
      switch chance.number(below: 8) {
      case 0: _ = bench.host.call(UInt32(chance.number(below: 3)))
      case 1:
        let streams = bench.host.state.withLock { $0.streams }
        guard !streams.isEmpty else { continue }
        let stream = streams[Int(chance.number(below: UInt64(streams.count)))]
        switch chance.number(below: 4) {
        case 0: stream.say(.init(repeating: 1, count: Int(chance.number(below: 10000))))
        case 1: stream.makeRoom(Int(chance.number(below: 5000)))
        case 2: stream.finish()
        default: stream.hangUp()
        }
      case 2: _ = bench.take()
      default:
        let hostPort = UInt32(chance.number(below: 4))
        var header = bench.header(
          SocketOperation(rawValue: UInt16(chance.number(below: 9))),
          to: chance.number(below: 2) == 0 ? hostPort : 1 << 30 + hostPort,
          from: UInt32(chance.number(below: 3)))
        header.flags = UInt32(chance.number(below: 4))
        if chance.number(below: 8) == 0 {
          header.allocation = UInt32(truncatingIfNeeded: chance.value())
          header.forwarded = UInt32(truncatingIfNeeded: chance.value())
        }
        if chance.number(below: 20) == 0 { header.source.cid = chance.value() }
        let data = [UInt8](repeating: 3, count: Int(chance.number(below: 4000)))
        bench.send(
          header, data,
          count: chance.number(below: 10) == 0 ? UInt32(truncatingIfNeeded: chance.value()) : nil)
      }
    }
    _ = bench.take()
    #expect(bench.bench.registers.status & GuestDriver.needsReset == 0)
    #expect(bench.bench.driver.queues[1].inFlight == 0)
    let open = bench.host.state.withLock { $0.streams }.count {
      $0.state.withLock { $0.closedWith == nil }
    }
    #expect(open <= 8)
    #expect(bench.bench.reset())
    #expect(
      bench.host.state.withLock { $0.streams }.allSatisfy {
        $0.state.withLock { $0.closedWith != nil }
      })
  }
}
