package import HostOS
package import Networks
import Synchronization
package import Work

/// A network for one guest, made of nothing but this process: no root, no helper, no interface of the host's.
///
/// The guest sees a router and what is behind it. Its packets end here: connections and datagrams are carried on by
/// sockets of the host's, as if this process had opened them. The host's loopback and link-local addresses are closed
/// unless the plan opens them.
///
/// All work is done on one loop. A device on the same loop calls straight into it; frames of any other thread wait for
/// the loop's next turn.
package final class UserNetwork: NetworkPort {
  // Wiring: fixed for the life of the network.
  package let plan: UserNetworkPlan
  package let loop: any Loop
  private let host: any HostNetwork
  private let stack: LoopBound<NetworkStack>
  private let replies: Replies
  private let bell: any Doorbell
  private let alarm: any Alarm
  // State.
  private let exchange = Mutex(Exchange())
  private let accepted = Atomic<UInt8>(0)
  private let published = Mutex(UserNetworkStatistics())

  /// What passes between the network and its user.
  private struct Exchange {
    var toGuest = Ring<Frame>()
    var bytesToGuest = 0
    var fromGuest: [Frame] = []
    var bytesFromGuest = 0
    var owesRoom = false
    var wantsRoom = false
    var isAnnounced = false
    var events: PortEvents = []
    var user: (any NetworkPortUser)?
    var userBell: (any Doorbell)?
  }

  /// Bytes that wait for the guest, and for the loop. A stream is not read from while as many wait, and then at once what
  /// one read brings.
  private static let queueLimit = 512 << 10

  /// `secret` is what initial sequence numbers are mixed with.
  package init(
    plan: UserNetworkPlan = UserNetworkPlan(), limits: UserNetworkLimits = UserNetworkLimits(),
    loop: any Loop, clock: any VMClock, host: any HostNetwork,
    services: [any DatagramService] = [], streamServices: [any StreamService] = [],
    policy: (any EgressPolicy)? = nil, advertiser: (any RouterAdvertiser)? = nil,
    secret: UInt64 = .random(in: .min ... .max)
  ) {
    self.plan = plan
    self.loop = loop
    self.host = host
    let backlink = Backlink()
    let bell = loop.makeDoorbell { backlink.network?.answerBell() }
    self.bell = bell
    let replies = Replies(bell: bell)
    self.replies = replies
    alarm = clock.makeAlarm(on: loop) { backlink.network?.run { $0.timePassed() } }
    stack = LoopBound(
      NetworkStack(
        plan: plan, limits: limits, host: host, clock: clock, policy: policy,
        advertiser: advertiser, replies: replies, services: services,
        streamServices: streamServices, secret: secret), on: loop)
    backlink.connect(to: self)
    host.attach(self)
  }

  /// What the network has done and holds. From any thread.
  package var statistics: UserNetworkStatistics { published.withLock { $0 } }

  /// Ends all flows, as at a reset of the machine; connections are broken off. Forwards stay. On the loop.
  package func reset() {
    exchange.withLock { exchange in
      exchange.toGuest.removeAll()
      exchange.bytesToGuest = 0
      exchange.fromGuest = []
      exchange.bytesFromGuest = 0
    }
    run { $0.reset() }
  }
}

/// How bells and alarms find their network without keeping it.
private final class Backlink: Sendable {
  private struct Reference { weak var network: UserNetwork? }
  private let reference = Mutex(Reference())
  var network: UserNetwork? { reference.withLock { $0.network } }
  func connect(to network: UserNetwork) { reference.withLock { $0.network = network } }
}

// MARK: - What the device sees

extension UserNetwork {
  package var maximumTransmissionUnit: Int { plan.maximumTransmissionUnit }
  package var offloads: Offloads { [.checksum, .segmentTCPv4, .segmentTCPv6] }

  package func accept(_ offloads: Offloads) {
    // What is to be cut has no sum yet.
    let offloads = offloads.contains(.checksum) ? offloads : []
    accepted.store(offloads.rawValue, ordering: .relaxed)
  }

  package func send(_ frames: [Frame]) -> Int {
    if loop.isCurrent {
      run { stack in for frame in frames { stack.receive(frame) } }
      return frames.count
    }
    let (count, isFirst) = exchange.withLock { exchange -> (Int, Bool) in
      let wasEmpty = exchange.fromGuest.isEmpty
      var count = 0
      for frame in frames {
        guard exchange.bytesFromGuest < Self.queueLimit else { break }
        exchange.bytesFromGuest += frame.count
        exchange.fromGuest.append(frame)
        count += 1
      }
      if count < frames.count { exchange.owesRoom = true }
      return (count, wasEmpty && count > 0)
    }
    if isFirst { bell.ring() }
    return count
  }

  package func receive(upTo count: Int) -> [Frame] {
    let (frames, hasRoom) = exchange.withLock { exchange -> ([Frame], Bool) in
      let frames = exchange.toGuest.take(upTo: max(0, count), leaving: Frame([]))
      if exchange.toGuest.isEmpty {
        exchange.bytesToGuest = 0
      } else {
        for index in frames.indices { exchange.bytesToGuest -= frames[index].count }
      }
      let hasRoom = exchange.wantsRoom && exchange.bytesToGuest <= Self.queueLimit / 2
      if hasRoom { exchange.wantsRoom = false }
      return (frames, hasRoom)
    }
    if hasRoom { bell.ring() }
    return frames
  }

  package func attach(_ user: any NetworkPortUser) {
    let bell = user.loop.makeDoorbell { [weak self] in self?.tellUser() }
    exchange.withLock { exchange in
      exchange.user = user
      exchange.userBell = bell
    }
  }

  private func tellUser() {
    let (user, events) = exchange.withLock { exchange in
      defer {
        exchange.isAnnounced = false
        exchange.events = []
      }
      return (exchange.user, exchange.events)
    }
    user?.portReady(events)
  }
}

// MARK: - Work on the loop

extension UserNetwork {
  /// Does one piece of work, and hands over what it made.
  private func run(_ work: (NetworkStack) -> Void) {
    let stack = stack.with { $0 }
    stack.accepted = Offloads(rawValue: accepted.load(ordering: .relaxed))
    stack.begin(room: exchange.withLock { Self.queueLimit - $0.bytesToGuest })
    work(stack)
    let replies = replies.take()
    for reply in replies.datagrams { stack.send(reply) }
    for (token, readiness) in replies.streams { stack.socketReady(token, readiness) }
    stack.end()
    handOver(stack)
    if let next = stack.alarmToSet { alarm.set(VMInstant(nanoseconds: next)) }
  }

  private func handOver(_ stack: NetworkStack) {
    published.withLock { $0 = stack.statistics }
    let isEmpty = stack.outgoing.isEmpty
    guard !isEmpty || !stack.waiting.isEmpty else { return }
    let (bell, hasRoom) = exchange.withLock { exchange -> ((any Doorbell)?, Bool) in
      exchange.bytesToGuest += stack.outgoingBytes
      exchange.toGuest.append(all: &stack.outgoing)
      stack.outgoingBytes = 0
      let hasRoom = exchange.bytesToGuest < Self.queueLimit
      exchange.wantsRoom = !stack.waiting.isEmpty && !hasRoom
      return (isEmpty ? nil : Self.announce(&exchange, .mayReceive), hasRoom)
    }
    bell?.ring()
    // Whoever waits for its turn and not for room comes back at once.
    if hasRoom, !stack.waiting.isEmpty { self.bell.ring() }
  }

  private static func announce(
    _ exchange: inout Exchange, _ event: PortEvents
  ) -> (any Doorbell)? {
    exchange.events.insert(event)
    guard !exchange.isAnnounced else { return nil }
    exchange.isAnnounced = true
    return exchange.userBell
  }

  /// Frames from other threads, room in the queue, replies of services.
  fileprivate func answerBell() {
    let (frames, userBell) = exchange.withLock { exchange -> ([Frame], (any Doorbell)?) in
      defer {
        exchange.fromGuest = []
        exchange.bytesFromGuest = 0
        exchange.owesRoom = false
      }
      return (
        exchange.fromGuest, exchange.owesRoom ? Self.announce(&exchange, .maySend) : nil
      )
    }
    run { stack in
      for frame in frames { stack.receive(frame) }
      stack.roomReturned()
    }
    userBell?.ring()
  }
}

extension UserNetwork: HostNetworkUser {
  package func socketsReady(_ visit: ((_ token: UInt64, Readiness) -> Void) -> Void) {
    run { stack in visit { token, readiness in stack.socketReady(token, readiness) } }
  }
}

// MARK: - Forwards

extension UserNetwork {
  /// Has a port of the host's lead to one of the guest's; answers where the host listens. A port of zero lets the host
  /// choose one. While running, and from any thread.
  @discardableResult
  package func addForward(
    _ transport: Transport, hostAddress: IPAddress = .loopbackV4, hostPort: UInt16,
    guestPort: UInt16
  ) throws(HostError) -> Endpoint {
    guard transport != .echo, guestPort != 0 else {
      throw HostError("forward to port \(guestPort)", code: 22)
    }
    let requested = Endpoint(hostAddress, hostPort)
    let result = ask { stack -> Result<Endpoint, HostError> in
      do throws(HostError) {
        return .success(try stack.addForward(transport, at: requested, to: guestPort))
      } catch {
        return .failure(error)
      }
    }
    return try result.get()
  }

  /// Takes a forward back, named by where it listens; `false`: there is none. Connections through it go on.
  @discardableResult
  package func removeForward(
    _ transport: Transport, hostAddress: IPAddress = .loopbackV4, hostPort: UInt16
  ) -> Bool {
    ask { $0.removeForward(transport, at: Endpoint(hostAddress, hostPort)) }
  }

  /// Has the loop answer, and waits for that if the caller is not on it.
  private func ask<Answer: Sendable>(
    _ question: @escaping @Sendable (NetworkStack) -> Answer
  ) -> Answer {
    let slot = Mutex<Answer?>(nil)
    if loop.isCurrent {
      run { stack in
        let answer = question(stack)
        slot.withLock { $0 = answer }
      }
    } else {
      let box = AnswerBox<Answer>()
      loop.post {
        self.run { box.fill(question($0)) }
      }
      let answer = box.wait()
      slot.withLock { $0 = answer }
    }
    guard let answer = slot.withLock({ $0 }) else {
      preconditionFailure("a question on the loop always has an answer")
    }
    return answer
  }
}

/// An answer that another thread waits for.
private final class AnswerBox<Answer: Sendable>: Sendable {
  private let answer = Mutex<Answer?>(nil)
  private let isFilled = Event()

  func fill(_ value: Answer) {
    answer.withLock { $0 = value }
    isFilled.signal()
  }

  func wait() -> Answer? {
    _ = isFilled.wait()
    return answer.withLock { $0 }
  }
}
