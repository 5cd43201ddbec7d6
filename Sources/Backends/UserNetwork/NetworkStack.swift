import HostOS
import Networks
import Work

/// Everything on the network but the guest: router, name server's address, and the outside. Touched on one loop only.
///
/// Work comes in three ways: frames from the guest, changes of the host's sockets, and time. Each ends in `end`, which
/// sends the acknowledgments that are owed and hands over the frames that were made.
final class NetworkStack {
  // Wiring: fixed for the life of the network.
  let plan: UserNetworkPlan
  let limits: UserNetworkLimits
  let host: any HostNetwork
  let clock: any VMClock
  let policy: (any EgressPolicy)?
  let advertiser: (any RouterAdvertiser)?
  let replies: Replies
  let secret: UInt64
  var services: [UInt16: any DatagramService] = [:]
  var streamServices: [UInt16: any StreamService] = [:]

  // State.
  var statistics = UserNetworkStatistics()
  /// What the guest takes unfinished.
  var accepted: Offloads = []
  /// Frames to the guest that were made since the last `end`, and their bytes.
  var outgoing: [Frame] = []
  var outgoingBytes = 0
  /// Bytes that the queue to the guest has room for. Streams wait for it; what cannot wait takes more.
  var room = 0
  var waiting = Ring<UInt64>()
  var owing: [TCPFlow] = []
  var now: UInt64 = 0
  private var alarmIsSetTo = UInt64.max

  var guestHardware: MACAddress?
  /// The guest's own address, if it is another than planned.
  var guestHeardV4: IPAddress?
  var nextIdentification: UInt16 = 0
  var fragments = FragmentStore()

  var flows = FlowTable()
  var deadlines = DeadlineQueue()
  var useOrder = UseOrder()
  /// Memory that streams hold.
  var held = 0

  init(
    plan: UserNetworkPlan, limits: UserNetworkLimits, host: any HostNetwork, clock: any VMClock,
    policy: (any EgressPolicy)?, advertiser: (any RouterAdvertiser)?, replies: Replies,
    services: [any DatagramService], streamServices: [any StreamService], secret: UInt64
  ) {
    self.plan = plan
    self.limits = limits
    self.host = host
    self.clock = clock
    self.policy = policy
    self.advertiser = advertiser
    self.replies = replies
    self.secret = secret
    guestHardware = plan.guestHardware
    for service in services { for port in service.ports { self.services[port] = service } }
    for service in streamServices {
      for port in service.streamPorts { self.streamServices[port] = service }
    }
  }
}

/// How much a network holds at most.
package struct UserNetworkLimits: Sendable {
  package var streams = 16384
  package var datagramFlows = 4096
  /// Host memory for data on the way, of all streams together.
  package var heldBytes = 128 << 20
  /// Nanoseconds without a datagram after which a flow ends (RFC 4787 4.3, REQ-5).
  package var datagramIdle: UInt64 = 120_000_000_000

  package init() {}
}

// MARK: - Work

extension NetworkStack {
  func begin(room: Int) {
    now = clock.now.nanoseconds
    self.room = room
  }

  /// Gives hosts what came in and acknowledges it. The shell takes `outgoing` afterwards.
  func end() {
    for flow in owing {
      if !flow.isGone { drain(flow) }
      if !flow.isGone, flow.owesAcknowledgment { acknowledge(flow) }
      if !flow.isGone { account(flow) }
      flow.isOwing = false
    }
    owing.removeAll(keepingCapacity: true)
    statistics.streams = flows.streams
    statistics.datagramFlows = flows.datagrams
    statistics.forwards = flows.forwards
    statistics.heldBytes = held
  }

  func receive(_ frame: Frame) {
    statistics.framesFromGuest &+= 1
    statistics.bytesFromGuest &+= UInt64(frame.count)
    receiveEthernet(frame)
  }

  func socketReady(_ token: UInt64, _ readiness: Readiness) {
    switch flows[token] {
    case .none: break
    case .stream(let flow): hostReady(flow, readiness)
    case .datagrams(let flow): datagramsReady(flow)
    case .forward(let forward): forwardReady(forward)
    }
  }

  /// The queue to the guest has room again.
  func roomReturned() {
    for _ in 0..<waiting.count {
      guard room > 0 else { return }
      let token = waiting[0]
      waiting.removeFirst(1)
      switch flows[token] {
      case .none: break
      case .stream(let flow):
        flow.waitsForRoom = false
        pump(flow)
      case .datagrams(let flow):
        flow.waitsForRoom = false
        datagramsReady(flow)
      case .forward(let forward):
        forward.waitsForRoom = false
        forwardReady(forward)
      }
    }
  }

  /// The earliest moment at which something is to be done; `nil`: nothing is.
  var nextDeadline: UInt64? {
    let stream = deadlines.first ?? .max
    let datagrams = useOrder.oldest.map { $0.lastUsed &+ limits.datagramIdle } ?? .max
    let first = min(stream, datagrams, fragments.nextDeadline ?? .max)
    return first == .max ? nil : first
  }

  /// The moment to set the alarm to, if that is not done yet. One that rings too early does no harm.
  var alarmToSet: UInt64? {
    if alarmIsSetTo <= now { alarmIsSetTo = .max }
    guard let next = nextDeadline, next < alarmIsSetTo else { return nil }
    alarmIsSetTo = next
    return next
  }

  func timePassed() {
    alarmIsSetTo = .max
    // A flow that is due again at once waits for the next turn.
    for _ in 0..<deadlines.count {
      guard let flow = deadlines.takeDue(now) else { break }
      if flow.deadline > now { deadlines.schedule(flow) } else { deadlineCame(flow) }
    }
    while let oldest = useOrder.oldest, oldest.lastUsed &+ limits.datagramIdle <= now {
      end(oldest)
    }
    dropLateFragments()
  }

  /// Forgets all flows, as at a reset of the guest. Forwards stay.
  func reset() {
    for entry in flows.all {
      switch entry {
      case .stream(let flow):
        flow.host?.abort()
        finish(flow)
      case .datagrams(let flow): end(flow)
      case .forward, .none: break
      }
    }
    fragments = FragmentStore()
    waiting.removeAll()
    owing = []
    guestHardware = plan.guestHardware
    guestHeardV4 = nil
  }
}

// MARK: - Frames to the guest

extension NetworkStack {
  func emit(_ bytes: [UInt8], _ unfinished: Frame.Unfinished = Frame.Unfinished()) {
    emit(Frame(bytes, unfinished: unfinished))
  }

  func emit(_ frame: Frame) {
    count(frames: 1, bytes: frame.count)
    outgoing.append(frame)
  }

  /// Sends frames of `step` bytes that lie behind each other, the last of which may be shorter.
  func emit(
    _ bytes: [UInt8], framesOf step: Int, _ unfinished: (_ count: Int) -> Frame.Unfinished
  ) {
    var frames: [Frame] = []
    swap(&frames, &outgoing)
    let before = frames.count
    for start in stride(from: 0, to: bytes.count, by: step) {
      let frame = start..<min(start + step, bytes.count)
      frames.append(Frame(in: bytes, frame, unfinished: unfinished(frame.count)))
    }
    count(frames: frames.count - before, bytes: bytes.count)
    swap(&frames, &outgoing)
  }

  private func count(frames: Int, bytes: Int) {
    room -= bytes
    outgoingBytes += bytes
    statistics.framesToGuest &+= UInt64(frames)
    statistics.bytesToGuest &+= UInt64(bytes)
  }

  /// The length of the headers before a message over IP.
  func headerLength(isV6: Bool) -> Int {
    Ethernet.headerLength + (isV6 ? IPv6.headerLength : IPv4.headerLength)
  }

  /// Writes Ethernet and IP headers before a message that fills the rest of `bytes`. `false`: there is no guest to
  /// send to yet.
  func writeHeaders(
    _ bytes: inout [UInt8], from source: IPAddress, to destination: IPAddress,
    _ transport: UInt8, timeToLive: UInt8 = IPv4.timeToLive, hardware: MACAddress? = nil
  ) -> Bool {
    guard let target = hardware ?? guestHardware else {
      statistics.drop(.guestUnknown)
      askForGuest()
      return false
    }
    let message = bytes.count - headerLength(isV6: source.isV6)
    guard message >= 0, message <= 65535 - IPv4.headerLength else { return false }
    bytes.put(target, 0)
    bytes.put(plan.gatewayHardware, 6)
    if source.isV6 {
      bytes.put(Ethernet.Kind.ipv6, 12)
      bytes.put(UInt32(0x6000_0000), 14)
      bytes.put(UInt16(message), 18)
      bytes[20] = transport
      bytes[21] = timeToLive
      bytes.put(source, 22)
      bytes.put(destination, 38)
    } else {
      nextIdentification &+= 1
      bytes.put(Ethernet.Kind.ipv4, 12)
      bytes.put(UInt16(0x4500), 14)
      bytes.put(UInt16(message + IPv4.headerLength), 16)
      bytes.put(nextIdentification, 18)
      bytes.put(transport == IPProtocol.tcp ? IPv4.dontFragment : 0, 20)
      bytes[22] = timeToLive
      bytes[23] = transport
      bytes.put(UInt16(0), 24)
      bytes.put(source, 26)
      bytes.put(destination, 30)
      bytes.put(~InternetSum.of(bytes, 14..<34), 24)
    }
    return true
  }

  /// Fills in the sum over a message that fills the rest of `bytes`, at `offset` from its start, or leaves that to the
  /// guest if it agreed.
  func finishSum(
    _ bytes: inout [UInt8], at start: Int, offset: Int, from source: IPAddress,
    to destination: IPAddress, _ transport: UInt8, mayLeave: Bool = true
  ) -> Frame.Unfinished {
    var unfinished = Frame.Unfinished()
    let pseudo = pseudoSum(source, destination, transport, bytes.count - start)
    if mayLeave, accepted.contains(.checksum) {
      bytes.put(pseudo, start + offset)
      unfinished.checksum = (start, offset)
    } else {
      bytes.put(UInt16(0), start + offset)
      let sum = ~InternetSum.add(pseudo, InternetSum.of(bytes, start..<bytes.count))
      // RFC 768: a sum of zero would say that there is none.
      bytes.put(sum == 0 && transport == IPProtocol.udp ? 0xffff : sum, start + offset)
    }
    return unfinished
  }
}
