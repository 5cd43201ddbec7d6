import Bits
import Board
import Kit
import Memory
import Networks
import Synchronization
import Testing
import Work

@testable import Virtio

/// The other end of the cable, in the test's hands.
final class TestPort: NetworkPort {
  struct State {
    var sent: [Frame] = []
    var waiting: [Frame] = []
    var room = Int.max
    var accepted: Offloads = []
    var user: (any NetworkPortUser)?
  }
  let state = Mutex(State())
  let maximumTransmissionUnit = 1500
  let offloads: Offloads

  init(offloads: Offloads = [.checksum, .segmentTCPv4, .segmentTCPv6]) { self.offloads = offloads }

  func accept(_ offloads: Offloads) { state.withLock { $0.accepted = offloads } }
  func attach(_ user: any NetworkPortUser) { state.withLock { $0.user = user } }

  func send(_ frames: [Frame]) -> Int {
    state.withLock { state in
      let count = min(frames.count, state.room)
      state.sent += frames.prefix(count)
      state.room -= count
      return count
    }
  }

  func receive(upTo count: Int) -> [Frame] {
    state.withLock { state in
      let taken = Array(state.waiting.prefix(count))
      state.waiting.removeFirst(taken.count)
      return taken
    }
  }

  func deliver(_ frames: [Frame]) {
    state.withLock { $0.waiting += frames }
    tell(.mayReceive)
  }

  func setRoom(_ room: Int) {
    state.withLock { $0.room = room }
    if room > 0 { tell(.maySend) }
  }

  private func tell(_ events: PortEvents) {
    guard let user = state.withLock({ $0.user }) else { return }
    user.loop.post { user.portReady(events) }
  }

  var sent: [Frame] { state.withLock { $0.sent } }
}

private let mac: [UInt8] = [0x52, 0x54, 0, 1, 2, 3]

private struct NetworkBench {
  let ports: [TestPort]
  let bench: Bench<VirtioNetwork>
  let area: UInt64

  init(
    pairs: Int = 1, dialect: UInt64 = 0, own: UInt64 = .max, over carrier: Carrier = .mmio,
    port: @autoclosure () -> TestPort = TestPort()
  ) {
    let ports = (0..<pairs).map { _ in port() }
    self.ports = ports
    bench = Bench(
      { VirtioNetwork(ports: ports, address: mac, queueSize: 32, loop: $0) }, over: carrier)
    #expect(bench.begin(dialect, device: own))
    area = bench.driver.allocate(1 << 20)
  }

  func frame(_ number: UInt8, count: Int = 60, to destination: [UInt8] = mac) -> Frame {
    Frame(
      destination + [0x52, 0x54, 0, 9, 9, 9, 8, 0] + [UInt8](repeating: number, count: count - 14))
  }

  /// Offers buffers to receive into, each of `size` bytes.
  func offer(_ count: Int, size: Int, queue: Int = 0) {
    for _ in 0..<count {
      let place = bench.driver.allocate(size)
      if let token = bench.driver.queues[queue].add([.init(place, size, writable: true)]) {
        places.value[UInt32(queue) << 16 | UInt32(token)] = place
      }
    }
    bench.driver.queues[queue].kick()
    bench.loop.run()
  }

  final class Places { var value: [UInt32: UInt64] = [:] }
  let places = Places()

  /// What has been received: header and frame, joined as the header says.
  func received(queue: Int = 0) -> [(header: [UInt8], frame: [UInt8])] {
    var all: [(header: [UInt8], frame: [UInt8])] = []
    var parts: [UInt8] = []
    var left = 0
    for used in bench.driver.queues[queue].takeAll() {
      let place = places.value[UInt32(queue) << 16 | UInt32(used.token)] ?? 0
      let bytes = bench.driver.bytes(at: place, count: Int(used.written))
      if left == 0 {
        left = Int(bytes.integer(UInt16.self, littleEndianAt: 10) ?? 1)
        parts = []
      }
      parts += bytes
      left -= 1
      if left == 0 { all.append((Array(parts[..<12]), Array(parts[12...]))) }
    }
    return all
  }

  func send(_ bytes: [UInt8], header: [UInt8] = .init(repeating: 0, count: 12), queue: Int = 1) {
    let place = bench.driver.allocate(bytes.count + 12)
    bench.driver.put(header + bytes, at: place)
    _ = bench.driver.queues[queue].add([.init(place, 12), .init(place + 12, bytes.count)])
    bench.driver.queues[queue].kick()
  }

  /// Sends a command; the answer's byte.
  func command(_ bytes: [UInt8]) -> UInt8 {
    let queue = bench.driver.queues[2 * ports.count]
    bench.driver.put(bytes, at: area)
    bench.driver.put([0xee], at: area + 0xffff)
    _ = queue.add([
      .init(area, 2), .init(area + 2, bytes.count - 2), .init(area + 0xffff, 1, writable: true),
    ])
    queue.kick()
    bench.loop.run()
    #expect(queue.takeAll().count == 1)
    return bench.driver.bytes(at: area + 0xffff, count: 1)[0]
  }
}

/// VIRTIO 1.3 §5.1.
@Suite struct VirtioNetworkTests {
  @Test(arguments: Dialect.all, Carrier.allCases)
  func `frames go both ways`(dialect: Dialect, carrier: Carrier) {
    let bench = NetworkBench(dialect: dialect.features, over: carrier)
    bench.send(bench.frame(1).bytes)
    bench.send(bench.frame(2).bytes)
    bench.bench.loop.run()
    #expect(bench.ports[0].sent.map { $0.bytes[14] } == [1, 2])
    #expect(bench.bench.driver.queues[1].takeAll().count == 2)
    bench.offer(4, size: 1526)
    bench.ports[0].deliver([bench.frame(3), bench.frame(4, count: 1514)])
    bench.bench.loop.run()
    let received = bench.received()
    #expect(received.map(\.frame) == [bench.frame(3).bytes, bench.frame(4, count: 1514).bytes])
    #expect(received[0].header == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
  }

  @Test func `frames that lie in one array arrive like any others`() {
    let bench = NetworkBench()
    var long = bench.frame(5, count: 4000)
    long.bytes[12] = 0x86
    long.bytes[13] = 0xdd
    long.bytes[66] = 0x50
    long.unfinished.checksum = (54, 16)
    long.unfinished.segmentSize = 1400
    let frames = [bench.frame(3), long, bench.frame(4, count: 1514)]
    let storage = frames.flatMap(\.bytes)
    var start = 0
    let parts = frames.map { frame in
      defer { start += frame.count }
      return Frame(in: storage, start..<start + frame.count, unfinished: frame.unfinished)
    }
    bench.offer(3, size: 8192)
    bench.ports[0].deliver(parts)
    bench.bench.loop.run()
    let received = bench.received()
    #expect(received.map(\.frame) == frames.map(\.bytes))
    #expect(received[1].header == [1, 4, 74, 0, 0x78, 5, 54, 0, 16, 0, 1, 0])
  }

  @Test(arguments: Dialect.all)
  func `a long frame is spread over buffers, all of them or none`(dialect: Dialect) {
    let bench = NetworkBench(dialect: dialect.features)
    bench.offer(3, size: 256)
    var long = bench.frame(7, count: 1000)
    long.bytes[999] = 0x55
    bench.ports[0].deliver([bench.frame(6), long])
    bench.bench.loop.run()
    #expect(bench.received().count == 1)
    bench.offer(1, size: 256)
    #expect(bench.received().isEmpty)
    bench.offer(3, size: 256)
    let received = bench.received()
    #expect(received.map(\.frame) == [long.bytes])
    #expect(received.first?.header[10] == 4)
  }

  @Test(arguments: Dialect.all)
  func `what the port does not take stays queued, until it has room`(dialect: Dialect) {
    let bench = NetworkBench(dialect: dialect.features)
    bench.ports[0].setRoom(3)
    for number in 0..<8 as Range<UInt8> { bench.send(bench.frame(number).bytes) }
    bench.bench.loop.run()
    #expect(bench.bench.driver.queues[1].takeAll().count == 3)
    bench.send(bench.frame(8).bytes)
    bench.bench.loop.run()
    #expect(bench.bench.stop(), "frames that wait are not in flight")
    bench.bench.start()
    bench.ports[0].setRoom(100)
    bench.bench.loop.run()
    #expect(bench.ports[0].sent.map { $0.bytes[14] } == Array(0...8))
    #expect(bench.bench.driver.queues[1].takeAll().count == 6)
  }

  @Test(arguments: Dialect.all)
  func `without buffers frames wait, in order, through a save`(dialect: Dialect) throws {
    let bench = NetworkBench(dialect: dialect.features)
    bench.ports[0].deliver((0..<40).map { bench.frame($0) })
    bench.bench.loop.run()
    bench.offer(5, size: 512)
    #expect(bench.bench.stop())
    let saved = try bench.bench.transport.save()
    let loop = ManualLoop()
    let twin = VirtioMMIO(
      VirtioNetwork(ports: bench.ports, address: mac, queueSize: 32, loop: loop),
      interrupt: InterruptLine(to: RecordingController(), pin: 1), dma: DMA(bench.bench.memory),
      loop: loop)
    try twin.restore(saved)
    bench.bench.bus.unmap(0x1000..<0x1200)
    bench.bench.bus.map(twin, at: 0x1000..<0x1200)
    twin.start()
    loop.run()
    var numbers = bench.received().map { $0.frame[14] }
    for _ in 0..<20 {
      bench.offer(3, size: 512)
      loop.run()
      numbers += bench.received().map { $0.frame[14] }
    }
    #expect(numbers == Array(0..<40))
  }

  @Test(arguments: Dialect.all)
  func `no wake-up is lost, either way`(dialect: Dialect) {
    let bench = NetworkBench(dialect: dialect.features)
    var chance = Chance(seed: 3)
    var delivered = 0, received = 0, sent = 0
    for step in 0..<3000 {
      switch chance.number(below: 6) {
      case 0:
        let count = Int(chance.number(below: 8))
        bench.ports[0].deliver((0..<count).map { _ in bench.frame(1, count: 700) })
        delivered += count
      case 1:
        if bench.bench.driver.queues[0].inFlight < 24 { bench.offer(4, size: 300) }
      case 2:
        if bench.bench.driver.queues[1].hasRoom(for: 2) {
          bench.send(bench.frame(UInt8(truncatingIfNeeded: step)).bytes)
          sent += 1
        }
      case 3: bench.ports[0].setRoom(Int(chance.number(below: 4)))
      case 4: _ = bench.bench.driver.queues[1].takeAll()
      default:
        bench.bench.loop.run()
        received += bench.received().count
      }
      if bench.bench.driver.free > 14 << 20 { bench.bench.driver.free = bench.area }
    }
    bench.ports[0].setRoom(.max)
    for _ in 0..<delivered {
      bench.offer(8, size: 300)
      received += bench.received().count
      if bench.bench.driver.free > 14 << 20 { bench.bench.driver.free = bench.area }
    }
    #expect(received == delivered)
    #expect(bench.ports[0].sent.count == sent)
    #expect(sent > 100)
  }

  // §5.1.6.2, §5.1.6.4
  @Test func `what is unfinished is handed on as such`() {
    let bench = NetworkBench()
    #expect(
      bench.ports[0].state.withLock { $0.accepted } == [.checksum, .segmentTCPv4, .segmentTCPv6])
    bench.send(
      bench.frame(1, count: 4000).bytes, header: [1, 1, 54, 0, 0x50, 5, 34, 0, 16, 0, 0, 0])
    bench.bench.loop.run()
    let frame = bench.ports[0].sent.first
    #expect(frame?.unfinished.segmentSize == 0x550)
    #expect(frame?.unfinished.checksum?.start == 34 && frame?.unfinished.checksum?.offset == 16)
    var back = bench.frame(2, count: 4000)
    back.bytes[46] = 0x50
    back.unfinished.checksum = (34, 16)
    back.unfinished.segmentSize = 1400
    bench.offer(20, size: 512)
    bench.ports[0].deliver([back])
    bench.bench.loop.run()
    #expect(bench.received().first?.header == [1, 1, 54, 0, 0x78, 5, 34, 0, 16, 0, 8, 0])
  }

  @Test(
    arguments: [
      [1, 0, 0, 0, 0, 0, 59, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0],
      [0, 1, 54, 0, 0x50, 5, 0, 0, 0, 0, 0, 0], [1, 1, 54, 0, 0, 0, 34, 0, 16, 0, 0, 0],
      [1, 3, 54, 0, 8, 0, 34, 0, 6, 0, 0, 0],
    ] as [[UInt8]])
  func `a header that makes no sense drops its frame`(header: [UInt8]) {
    let bench = NetworkBench()
    bench.send(bench.frame(1).bytes, header: header)
    bench.send(bench.frame(2).bytes)
    bench.bench.loop.run()
    #expect(bench.ports[0].sent.map { $0.bytes[14] } == [2])
    #expect(bench.bench.driver.queues[1].takeAll().count == 2)
  }

  // §5.1.6.5
  @Test func `the filter lets through what the driver asked for`() {
    let bench = NetworkBench()
    bench.offer(30, size: 128)
    let broadcast = [UInt8](repeating: 0xff, count: 6)
    let group: [UInt8] = [1, 0, 0x5e, 0, 0, 1]
    let other: [UInt8] = [2, 2, 2, 2, 2, 2]
    func passed() -> [UInt8] {
      let targets = [mac, broadcast, group, other]
      bench.ports[0].deliver((0..<4).map { bench.frame(UInt8($0), to: targets[$0]) })
      bench.bench.loop.run()
      let numbers = bench.received().map { $0.frame[14] }
      bench.offer(numbers.count, size: 128)
      return numbers
    }
    #expect(passed() == [0, 1])
    #expect(bench.command([0, 0, 1]) == 0)
    #expect(passed() == [0, 1, 2, 3])
    #expect(bench.command([0, 0, 0]) == 0)
    #expect(bench.command([0, 1, 1]) == 0)
    #expect(passed() == [0, 1, 2])
    #expect(bench.command([0, 1, 0]) == 0)
    #expect(bench.command([1, 0, 1, 0, 0, 0] + other + [1, 0, 0, 0] + group) == 0)
    #expect(passed() == [0, 1, 2, 3])
    #expect(bench.command([0, 5, 1]) == 0)
    #expect(bench.command([0, 3, 1]) == 0)
    #expect(passed() == [0, 3])
    let many: [UInt8] = (0..<65).flatMap { _ in [2, 9, 9, 9, 9, 9] as [UInt8] }
    #expect(bench.command([1, 0, 65, 0, 0, 0] + many + [0, 0, 0, 0]) == 0)
    #expect(passed() == [0, 3], "too many addresses: all of them")
    #expect(bench.command([1, 1, 2, 0, 0, 0, 0, 1]) == 0)
    #expect(bench.bench.registers.configuration(0, count: 6) == [2, 0, 0, 0, 0, 1])
    var tagged = bench.frame(9, to: [2, 0, 0, 0, 0, 1])
    tagged.bytes.replaceSubrange(12..<16, with: [0x81, 0, 0, 5])
    bench.ports[0].deliver([tagged])
    bench.bench.loop.run()
    #expect(bench.received().isEmpty)
    #expect(bench.command([2, 0, 5, 0]) == 0)
    bench.ports[0].deliver([tagged])
    bench.bench.loop.run()
    #expect(bench.received().count == 1)
  }

  @Test(
    arguments: [
      [0, 0, 2], [0, 9, 1], [1, 0, 0xff, 0xff, 0xff, 0xff], [1, 0, 0, 0, 0, 0],
      [1, 1, 1, 0, 0, 0, 0, 1],
      [2, 0, 0, 0x10], [2, 2, 0, 0], [3, 1, 0], [4, 0, 0, 0], [4, 0, 2, 0], [5, 0, 1], [9, 9, 9],
      [5, 0, 0x80, 0, 0, 0, 0, 0, 0, 0],
    ] as [[UInt8]])
  func `a command that makes no sense is refused`(command: [UInt8]) {
    #expect(NetworkBench().command(command) == 1)
  }

  @Test func `offloads to the guest can be switched`() {
    let bench = NetworkBench()
    #expect(bench.command([5, 0, 2, 0, 0, 0, 0, 0, 0, 0]) == 0)
    #expect(bench.ports[0].state.withLock { $0.accepted } == .checksum)
    #expect(bench.bench.reset())
    #expect(bench.ports[0].state.withLock { $0.accepted } == [])
  }

  @Test func `pairs of queues each have their port`() {
    let bench = NetworkBench(pairs: 2)
    bench.offer(8, size: 128)
    bench.offer(8, size: 128, queue: 2)
    bench.ports[1].deliver([bench.frame(1)])
    bench.bench.loop.run()
    #expect(bench.received().count == 1, "one pair is used until the driver says otherwise")
    #expect(bench.command([4, 0, 2, 0]) == 0)
    bench.ports[1].deliver([bench.frame(2)])
    bench.bench.loop.run()
    #expect(bench.received(queue: 2).count == 1)
    bench.send(bench.frame(3).bytes, queue: 3)
    bench.bench.loop.run()
    #expect(bench.ports[1].sent.count == 1)
  }

  @Test func `a pulled cable carries nothing, and says so`() {
    let bench = NetworkBench()
    bench.offer(4, size: 128)
    bench.bench.device.setLink(up: false)
    bench.bench.loop.run()
    #expect(bench.bench.registers.takeInterruptStatus() & 2 != 0)
    #expect(bench.bench.registers.configuration(6, count: 2) == [0, 0])
    bench.send(bench.frame(1).bytes)
    bench.ports[0].deliver([bench.frame(2)])
    bench.bench.loop.run()
    #expect(bench.ports[0].sent.isEmpty && bench.received().isEmpty)
    bench.bench.device.setLink(up: true)
    bench.bench.loop.run()
    #expect(bench.received().count == 1)
    bench.bench.device.announce()
    #expect(bench.bench.registers.configuration(6, count: 1) == [3])
    #expect(bench.command([3, 0, 0]) == 0)
    #expect(bench.bench.registers.configuration(6, count: 1) == [1])
  }

  @Test func `a driver of few words is served, too`() {
    let bench = NetworkBench(own: 0)
    bench.offer(2, size: 1526)
    var frame = bench.frame(1)
    frame.unfinished.isChecked = true
    bench.ports[0].deliver([frame, bench.frame(2, count: 3000), bench.frame(3)])
    bench.bench.loop.run()
    let received = bench.received()
    #expect(received.map { $0.frame[14] } == [1, 3], "what is too long for a buffer is dropped")
    #expect(received[0].header == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0])
  }
}
