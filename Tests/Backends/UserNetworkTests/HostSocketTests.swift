import Glibc
import HostOS
import Networks
import Testing
import UserNetwork
import Work

/// The network on an event loop, with sockets of the host's own loopback. Waits are for events, never for time.
@Suite struct HostSocketTests {
  /// Guest time that is the host's.
  final class HostTime: VMClock {
    let loop: EventLoop
    init(_ loop: EventLoop) { self.loop = loop }
    var now: VMInstant { VMInstant(nanoseconds: HostClock.now.nanoseconds) }
    let epoch: Int64 = 0
    let starts: UInt64 = 1

    final class HostAlarm: Alarm {
      let timer: HostOS.Timer
      init(_ timer: HostOS.Timer) { self.timer = timer }
      func set(_ deadline: VMInstant?) {
        timer.set(deadline.map { HostInstant(nanoseconds: $0.nanoseconds) })
      }
    }

    func makeAlarm(on loop: any Loop, _ ring: @escaping @Sendable () -> Void) -> any Alarm {
      HostAlarm(self.loop.makeTimer(ring))
    }
  }

  /// A guest whose frames move on the network's loop.
  final class Card: NetworkPortUser, @unchecked Sendable {
    // Sendable although it varies: once the loop has been posted to, only the loop touches it.
    let loop: any Loop
    let network: UserNetwork
    var guests: [GuestTCP] = []
    let isDone = Event()
    let done: @Sendable ([GuestTCP]) -> Bool

    init(
      _ loop: any Loop, _ network: UserNetwork, done: @escaping @Sendable ([GuestTCP]) -> Bool
    ) {
      self.loop = loop
      self.network = network
      self.done = done
    }

    func portReady(_ events: PortEvents) { turn { _ in } }

    func turn(_ change: ([GuestTCP]) -> Void) {
      let now = HostClock.now.nanoseconds
      for frame in network.receive(upTo: .max) {
        guard let read = Read(frame) else { fatalError("a wrong frame: \(frame.bytes)") }
        guard read.transport == 6 else { continue }
        guests.first { $0.local.port == read.destinationPort }?.receive(read, now: now)
      }
      change(guests)
      let out = guests.flatMap { $0.takeOutgoing() }
      if !out.isEmpty { _ = network.send(out) }
      if done(guests) { isDone.signal() }
    }
  }

  private func makeNetwork(
    _ loop: EventLoop, allowsHostLoopback: Bool = true
  ) -> UserNetwork {
    var plan = UserNetworkPlan()
    plan.allowsHostLoopback = allowsHostLoopback
    let network = UserNetwork(
      plan: plan, loop: loop, clock: HostTime(loop), host: HostSockets(loop: loop))
    network.accept([.checksum, .segmentTCPv4])
    return network
  }

  @Test
  func `a stream goes from guest to host's loopback, through a forward, and back to the guest`()
    throws
  {
    let loop = try EventLoop(name: "network")
    defer { loop.stop() }
    let network = makeNetwork(loop)
    let size = 4 << 20
    // One guest's port calls the other by way of the host: out at the gateway, in at the forward.
    let entrance = try network.addForward(.tcp, hostPort: 0, guestPort: 7)
    let card = Card(loop, network) { guests in
      guests.count == 2 && guests.allSatisfy { $0.sawEnd && $0.received == 4 << 20 }
    }
    network.attach(card)
    var options = GuestTCP.Options()
    options.frameSize = 32 << 10
    let caller = GuestTCP(
      from: Endpoint(Guest.v4, 40000), to: Endpoint(IPAddress(10, 0, 2, 2), entrance.port),
      options: options)
    let checks = [PatternCheck(), PatternCheck()]
    caller.onReceive = checks[0].take
    card.guests.append(caller)
    // The call's port is not known before.
    let called = GuestTCP(
      from: Endpoint(Guest.v4, 7), to: Endpoint(IPAddress(10, 0, 2, 2), 0), options: options,
      initial: 77)
    called.answersAnyPort = true
    called.onReceive = checks[1].take
    called.send(total: size, finishing: true, Pattern.bytes, now: 0)
    card.guests.append(called)
    loop.post {
      card.turn { guests in
        guests[0].connect(now: HostClock.now.nanoseconds)
        guests[0].send(total: size, finishing: true, Pattern.bytes, now: HostClock.now.nanoseconds)
      }
    }
    _ = card.isDone.wait()
    #expect(checks.allSatisfy { $0.isRight && $0.count == size })
  }

  @Test func `a refused port is a reset`() throws {
    let loop = try EventLoop(name: "network")
    defer { loop.stop() }
    let network = makeNetwork(loop)
    // A port that was free a moment ago.
    let place = try network.addForward(.tcp, hostPort: 0, guestPort: 9)
    #expect(network.removeForward(.tcp, hostPort: place.port))
    let card = Card(loop, network) { $0.first?.state == .reset }
    network.attach(card)
    let guest = GuestTCP(
      from: Endpoint(Guest.v4, 40000), to: Endpoint(IPAddress(10, 0, 2, 2), place.port))
    card.guests.append(guest)
    loop.post { card.turn { $0[0].connect(now: HostClock.now.nanoseconds) } }
    _ = card.isDone.wait()
    #expect(network.statistics.streamsRefused == 1)
  }

  @Test func `the host's own addresses on its loopback are known`() throws {
    let loop = try EventLoop(name: "network")
    defer { loop.stop() }
    let host = HostSockets(loop: loop)
    #expect(host.isLoopback(IPAddress(127, 0, 0, 1)))
    #expect(host.isLoopback(IPAddress(127, 8, 8, 8)))
    #expect(host.isLoopback(IPAddress("::1")!))
    #expect(!host.isLoopback(IPAddress(93, 184, 216, 34)))
  }

  @Test func `a port that is taken is refused with a sentence`() throws {
    let loop = try EventLoop(name: "network")
    defer { loop.stop() }
    let network = makeNetwork(loop)
    for transport in [Transport.tcp, .udp] {
      let place = try network.addForward(transport, hostPort: 0, guestPort: 9)
      do throws(HostError) {
        try network.addForward(transport, hostPort: place.port, guestPort: 10)
        Issue.record("two forwards share a port")
      } catch {
        #expect(error.description.hasPrefix("cannot listen at port \(place.port): "))
      }
    }
  }

  @Test func `a stream is received in pieces behind heads, as many as came`() throws {
    let loopback = SocketAddress(isV6: false, high: 0, low: 0x7f00_0001, port: 0)
    let listener = try InternetSocket.bind(.stream, at: loopback)
    let sender = try InternetSocket.connect(.stream, to: try #require(listener.localAddress))
    wait(listener)
    let (receiver, _) = try #require(listener.accept())
    var bytes: [UInt8] = [1]
    #expect(receiver.receive(upTo: 9, piecesOf: 3, behind: [], into: &bytes) == .blocked)
    #expect(bytes.isEmpty)
    for (count, size) in [(1, 3), (3, 3), (4, 3), (200, 3), (4000, 1), (70_000, 1460)] {
      let data = Array(Pattern.bytes(0, count))
      let head: [UInt8] = [0xff, 0xfe]
      #expect(sender.send(data, 0..<count) == .moved(count))
      var read: [UInt8] = []
      while read.count < count {
        wait(receiver)
        let transfer = receiver.receive(
          upTo: 2 * count, piecesOf: size, behind: head, into: &bytes)
        guard case .moved(let moved) = transfer, moved > 0 else { break }
        let before = read.count
        for start in stride(from: 0, to: bytes.count, by: head.count + size) {
          let piece = bytes[start..<min(start + head.count + size, bytes.count)]
          #expect(piece.starts(with: head) && piece.count > head.count)
          read += piece.dropFirst(head.count)
        }
        #expect(read.count - before == moved)
      }
      #expect(read == data)
    }
    sender.finishSending()
    wait(receiver)
    #expect(receiver.receive(upTo: 9, piecesOf: 3, behind: [1], into: &bytes) == .moved(0))
    #expect(bytes.isEmpty)
  }

  private func wait(_ socket: InternetSocket) {
    var wanted = pollfd(fd: socket.handle, events: Int16(POLLIN), revents: 0)
    poll(&wanted, 1, -1)
  }
}
