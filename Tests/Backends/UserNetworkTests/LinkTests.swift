import Networks
import Synchronization
import Testing
import UserNetwork

@Suite struct LinkTests {
  private func request(
    for target: IPAddress, from sender: IPAddress = Guest.v4,
    hardware: MACAddress = Guest.hardware, ethernet: MACAddress = Guest.hardware
  ) -> [UInt8] {
    let body: [UInt8] =
      [0, 1, 8, 0, 6, 4, 0, 1] + hardware.bytes + sender.bytes + [0, 0, 0, 0, 0, 0] + target.bytes
    return Make.ethernet(0x0806, body, from: ethernet, to: .broadcast)
  }

  // RFC 826.
  @Test
  func `the gateway, the name server and strangers of the subnet are resolved, the guest is not`() {
    let bench = Bench()
    for last in [2, 3, 77] as [UInt8] {
      bench.send(request(for: IPAddress(10, 0, 2, last)))
      let replies = bench.take()
      #expect(replies.count == 1)
      let bytes = replies[0].bytes
      #expect(bytes[..<6].elementsEqual(Guest.hardware.bytes))
      #expect(bytes[20...21].elementsEqual([0, 2]))
      #expect(bytes[22..<28].elementsEqual(bench.network.plan.gatewayHardware.bytes))
      #expect(bytes[28..<32].elementsEqual([10, 0, 2, last]))
    }
    bench.send(request(for: Guest.v4), request(for: IPAddress(10, 0, 3, 1)))
    #expect(bench.take().isEmpty)
  }

  // RFC 5227 2.1.1.
  @Test func `a guest that probes for a free address is told only of those in use`() {
    let bench = Bench()
    bench.send(request(for: IPAddress(10, 0, 2, 77), from: .anyV4))
    #expect(bench.take().isEmpty)
    bench.send(request(for: IPAddress(10, 0, 2, 2), from: .anyV4))
    #expect(bench.take().count == 1)
  }

  @Test func `frames of a second card and of borrowed addresses are dropped`() {
    let bench = Bench()
    bench.send(Make.echo([1], to: IPAddress(10, 0, 2, 2)))
    #expect(bench.take().count == 1)
    let other = MACAddress(rawValue: 0x5254_0065_4321)
    var stranger = Make.echo([1], to: IPAddress(10, 0, 2, 2))
    stranger.replaceSubrange(6..<12, with: other.bytes)
    bench.send(stranger)
    bench.send(request(for: IPAddress(10, 0, 2, 2), hardware: other))
    bench.send(Make.echo([1], from: IPAddress(10, 0, 2, 2), to: IPAddress(10, 0, 2, 3)))
    bench.send(Make.echo([1], from: IPAddress(192, 168, 1, 1), to: IPAddress(10, 0, 2, 2)))
    bench.send(Make.echo([1], from: IPAddress(10, 0, 2, 255), to: IPAddress(10, 0, 2, 2)))
    #expect(bench.take().isEmpty)
    #expect(bench.drops(.spoofed) == 5)
  }

  @Test func `a frame for another station and one of another protocol are dropped`() {
    let bench = Bench()
    bench.send(Make.ethernet(0x0800, [], to: MACAddress(rawValue: 0x5254_0000_0001)))
    bench.send(Make.ethernet(0x8100, [UInt8](repeating: 0, count: 40)))
    #expect(bench.take().isEmpty)
    #expect(bench.drops(.misaddressed) == 1)
    #expect(bench.drops(.unknownProtocol) == 1)
  }

  @Test func `the user is told of frames on its loop, and takes them in any number`() {
    let bench = Bench()
    for _ in 0..<5 { bench.send(Make.echo([1], to: IPAddress(10, 0, 2, 2))) }
    #expect(bench.user.events.withLock { $0.count } == 5)
    #expect(bench.network.receive(upTo: 2).count == 2)
    #expect(bench.network.receive(upTo: 0).isEmpty)
    #expect(bench.network.receive(upTo: 100).count == 3)
    #expect(bench.network.receive(upTo: 1).isEmpty)
  }
}
