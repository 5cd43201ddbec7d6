import Streams

/// One connection between a port of the guest's and one of the host's.
///
/// Each side tells the other how much it holds at most, and counts what it has passed on; nobody sends more than the
/// other has room for: VIRTIO 1.3 §5.10.6.3 "Buffer Space Management".
struct SocketConnection {
  /// The ports name it.
  struct Key: Hashable {
    let hostPort: UInt32
    let guestPort: UInt32

    /// As a number, and back.
    var number: UInt64 { UInt64(hostPort) << 32 | UInt64(guestPort) }
    init(number: UInt64) {
      hostPort = UInt32(truncatingIfNeeded: number >> 32)
      guestPort = UInt32(truncatingIfNeeded: number)
    }
    init(hostPort: UInt32, guestPort: UInt32) {
      self.hostPort = hostPort
      self.guestPort = guestPort
    }
  }

  /// Packets that the guest is owed.
  struct Owed: OptionSet {
    let rawValue: UInt8
    static let request = Owed(rawValue: 1 << 0)
    static let response = Owed(rawValue: 1 << 1)
    static let shutdown = Owed(rawValue: 1 << 2)
    static let creditUpdate = Owed(rawValue: 1 << 3)
    static let creditRequest = Owed(rawValue: 1 << 4)
  }

  /// Bytes of the guest's that wait for the host, at most.
  static let allocation = 1 << 16
  /// Bytes in one packet to the guest, at most.
  private static let longestData = 1 << 16

  let key: Key
  let stream: any VsockStream
  /// Whether both sides have agreed.
  var isEstablished: Bool
  var owed: Owed
  /// Whether it waits for its turn to send to the guest.
  var isQueued = false

  // What either side has said or shown of its end.
  var hostMayHaveSent = true
  private(set) var hostSendsNoMore = false
  private(set) var hostTakesNoMore = false
  private(set) var guestSendsNoMore = false
  private(set) var guestTakesNoMore = false
  private var hostWasToldOfEnd = false

  // From the guest to the host.
  private var waiting: [UInt8] = []
  private var forwarded: UInt32 = 0
  private var forwardedAsTold: UInt32 = 0

  // From the host to the guest.
  private var sent: UInt32 = 0
  private var peerAllocation: UInt32 = 0
  private var peerForwarded: UInt32 = 0
  private var hasAskedForCredit = false

  init(_ key: Key, _ stream: any VsockStream, isEstablished: Bool, owed: Owed) {
    self.key = key
    self.stream = stream
    self.isEstablished = isEstablished
    self.owed = owed
  }

  /// Bytes that the guest has room for. None, if what it says contradicts itself.
  private var credit: UInt32 {
    let inFlight = sent &- peerForwarded
    return inFlight < peerAllocation ? peerAllocation - inFlight : 0
  }

  private var mayRead: Bool {
    isEstablished && hostMayHaveSent && !hostSendsNoMore && !guestTakesNoMore
  }

  /// Whether the guest was called and has not answered yet.
  var isCalled: Bool { !isEstablished && !owed.contains(.request) }

  /// Whether there is something for the guest.
  var hasPacket: Bool { !owed.isEmpty || (mayRead && (credit > 0 || !hasAskedForCredit)) }
}

// MARK: - From the guest

extension SocketConnection {
  /// Takes up what every packet says of the guest's room.
  mutating func note(_ header: SocketHeader) {
    peerAllocation = header.allocation
    peerForwarded = header.forwarded
    if credit > 0 { hasAskedForCredit = false }
  }

  /// Takes data for the host. `false`: the guest sends more than it may.
  mutating func take(_ bytes: [UInt8]) -> Bool {
    guard !guestSendsNoMore, bytes.count <= Self.allocation - waiting.count else { return false }
    waiting += bytes
    flush()
    return true
  }

  /// Hands the host what it takes now.
  mutating func flush() {
    if hostTakesNoMore {
      forward(waiting.count)
    } else if !waiting.isEmpty {
      if let sent = stream.send(waiting) { forward(sent) } else { hostLeft() }
    }
    if guestSendsNoMore, waiting.isEmpty, !hostWasToldOfEnd {
      hostWasToldOfEnd = true
      stream.finishSending()
    }
  }

  private mutating func forward(_ count: Int) {
    let count = min(count, waiting.count)
    waiting.removeFirst(count)
    forwarded &+= UInt32(count)
    if forwarded &- forwardedAsTold >= UInt32(Self.allocation / 2) { owed.insert(.creditUpdate) }
  }

  /// Answers whether all is over: then what is left for the host goes with the stream.
  mutating func shutDown(_ flags: SocketShutdown) -> Bool {
    if flags.contains(.receive) { guestTakesNoMore = true }
    if flags.contains(.send) { guestSendsNoMore = true }
    if guestTakesNoMore, guestSendsNoMore { return true }
    flush()
    endIfHostIsGone()
    return false
  }

  /// Ends the host's side; what the guest sent still goes there.
  mutating func close() {
    stream.close(sending: hostTakesNoMore ? [] : waiting)
    waiting = []
  }

  /// Ends the host's side, and what was on the way is lost.
  func abort() { stream.close(sending: []) }
}

// MARK: - From the host

extension SocketConnection {
  /// The host takes no more.
  mutating func hostLeft() {
    guard !hostTakesNoMore else { return }
    hostTakesNoMore = true
    owed.insert(.shutdown)
    forward(waiting.count)
    endIfHostIsGone()
  }

  private mutating func hostEnded() {
    hostSendsNoMore = true
    owed.insert(.shutdown)
    endIfHostIsGone()
  }

  /// Lets go of the host's side once nothing can come of it. The guest's answer ends the connection.
  private mutating func endIfHostIsGone() {
    if hostTakesNoMore, guestTakesNoMore { hostSendsNoMore = true }
    if hostTakesNoMore, hostSendsNoMore { stream.close(sending: []) }
  }

  /// The next packet for the guest, with at most `room` bytes of data.
  mutating func nextPacket(
    room: Int, from host: SocketAddress, to guest: SocketAddress
  ) -> [UInt8]? {
    func header(_ operation: SocketOperation) -> SocketHeader {
      SocketHeader(from: host, to: guest, operation)
    }
    if owed.contains(.request) {
      owed.remove(.request)
      return finished(header(.request))
    }
    if owed.contains(.response) {
      owed.remove(.response)
      return finished(header(.response))
    }
    if let data = readHost(room) {
      var packet = header(.data)
      packet.count = UInt32(data.count)
      return finished(packet) + data
    }
    if owed.contains(.shutdown) {
      owed.remove(.shutdown)
      var packet = header(.shutdown)
      let flags: SocketShutdown = [
        hostTakesNoMore ? .receive : [], hostSendsNoMore ? .send : [],
      ]
      packet.flags = flags.rawValue
      return finished(packet)
    }
    if owed.contains(.creditRequest) {
      owed.remove(.creditRequest)
      return finished(header(.creditRequest))
    }
    if owed.contains(.creditUpdate) { return finished(header(.creditUpdate)) }
    return nil
  }

  private mutating func readHost(_ room: Int) -> [UInt8]? {
    guard mayRead else { return nil }
    let count = min(Int(credit), room, Self.longestData)
    guard count > 0 else {
      if credit == 0, !hasAskedForCredit {
        hasAskedForCredit = true
        owed.insert(.creditRequest)
      }
      return nil
    }
    switch stream.receive(upTo: count) {
    case .bytes(let bytes):
      sent &+= UInt32(truncatingIfNeeded: bytes.count)
      return bytes
    case .nothing: hostMayHaveSent = false
    case .ended: hostEnded()
    }
    return nil
  }

  /// Every packet says what the host has room for.
  private mutating func finished(_ header: SocketHeader) -> [UInt8] {
    var header = header
    header.allocation = UInt32(Self.allocation)
    header.forwarded = forwarded
    forwardedAsTold = forwarded
    owed.remove(.creditUpdate)
    return header.bytes
  }
}
