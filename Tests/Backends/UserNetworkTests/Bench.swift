import HostOS
import Kit
import Networks
import Synchronization
import UserNetwork
import Work

enum Guest {
  static let hardware = MACAddress(rawValue: 0x5254_0012_3456)
  static let v4 = IPAddress(10, 0, 2, 15)
  static let v6 = IPAddress(v6: 0xfd00_0000_0000_0000, 0x15)
}

/// A network on a bench: its host of memory, its time by hand, and the guest's end of its cable.
final class Bench {
  let loop: ManualLoop
  let clock: ManualClock
  let host = FakeHost()
  let network: UserNetwork
  let user: User

  final class User: NetworkPortUser {
    let loop: any Loop
    let events = Mutex<[PortEvents]>([])
    init(_ loop: any Loop) { self.loop = loop }
    func portReady(_ events: PortEvents) { self.events.withLock { $0.append(events) } }
  }

  init(
    plan: UserNetworkPlan = UserNetworkPlan(), limits: UserNetworkLimits = UserNetworkLimits(),
    loop: ManualLoop = ManualLoop(), clock: ManualClock = ManualClock(),
    services: [any DatagramService] = [], streamServices: [any StreamService] = [],
    policy: (any EgressPolicy)? = nil, advertiser: (any RouterAdvertiser)? = nil,
    offloads: Offloads = [], secret: UInt64 = 1
  ) {
    self.loop = loop
    self.clock = clock
    network = UserNetwork(
      plan: plan, limits: limits, loop: loop, clock: clock, host: host, services: services,
      streamServices: streamServices, policy: policy, advertiser: advertiser, secret: secret)
    user = User(loop)
    network.attach(user)
    network.accept(offloads)
  }

  /// Lets everything happen that happens without time.
  func settle() {
    repeat { loop.run() } while host.deliver()
  }

  /// Sends frames of the guest's and lets their effects happen.
  func send(_ frames: [UInt8]...) {
    _ = network.send(frames.map { Frame($0) })
    settle()
  }

  func take() -> [Frame] {
    settle()
    return network.receive(upTo: .max)
  }

  /// What the network sent, every frame of it right.
  func reads() -> [Read] {
    take().map { frame in
      guard let read = Read(frame) else { fatalError("a wrong frame: \(frame.bytes)") }
      return read
    }
  }

  func pass(seconds: Double) {
    clock.advance(by: UInt64(seconds * 1e9))
    settle()
  }

  func drops(_ reason: UserNetworkStatistics.Drop) -> UInt64 {
    network.statistics.drops[reason] ?? 0
  }
}

/// Chance that is the same in every run.
struct Chance: RandomNumberGenerator {
  private var state: UInt64
  init(_ seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var value = state
    value = (value ^ value >> 30) &* 0xbf58_476d_1ce4_e5b9
    value = (value ^ value >> 27) &* 0x94d0_49bb_1331_11eb
    return value ^ value >> 31
  }

  mutating func happens(_ share: Double) -> Bool {
    Double(next() >> 11) / Double(1 << 53) < share
  }
}
