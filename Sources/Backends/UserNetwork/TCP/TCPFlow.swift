/// One TCP connection: the guest's end is spoken to segment by segment, the host's through a socket.
final class TCPFlow {
  /// RFC 9293 3.3.2, as seen from the network's end of the guest's connection, and two states around them.
  enum State {
    /// The guest's SYN waits for the host's connection.
    case connecting
    case synSent
    case synReceived
    case established
    case finWait1
    case finWait2
    case closeWait
    case closing
    case lastAck
    case timeWait
    /// The guest is done; the host's socket has still to take data.
    case draining
  }

  let key: FlowKey
  let token: UInt64
  var state: State
  var host: (any HostConnection)?

  var receiver: TCPReceiver
  var sender: TCPSender
  /// IRS and ISS (RFC 9293 3.3.1).
  var initialReceived = SequenceNumber(0)
  let initialSent: SequenceNumber
  var offer = TCPHeader.Options()
  /// The shift of the guest's window fields; `nil`: windows are not scaled (RFC 7323 2.2).
  var windowShift: Int?

  /// What the host's socket is ready for, until it blocks.
  var mayRead = false
  var mayWrite = false
  var hostHasEnded = false
  var hostWasToldEnd = false
  var readSize = 16 << 10

  /// The guest is to be sent an acknowledgment before the loop goes on.
  var owesAcknowledgment = false
  /// It is in the list of those that are looked at before the loop goes on.
  var isOwing = false
  var waitsForRoom = false
  var isGone = false

  /// When the timer of the state rings, and where that is in the queue.
  var deadline = UInt64.max
  var place: Int?
  /// When what was sent is sent again; `nil`: nothing is under way.
  var resendAt: UInt64?
  var probeAt: UInt64?
  var probes = 0
  var lastHeard: UInt64 = 0
  /// Handshake segments sent, or keep-alive probes unanswered.
  var attempts = 0
  /// Memory held, as the network's total counts it.
  var accounted = 0

  init(key: FlowKey, token: UInt64, state: State, initialSent: SequenceNumber) {
    self.key = key
    self.token = token
    self.state = state
    self.initialSent = initialSent
    receiver = TCPReceiver(next: SequenceNumber(0))
    sender = TCPSender(next: initialSent + 1, segmentSize: 536, maySelect: false)
  }

  /// Whether the guest's data may still come.
  var isReceiving: Bool { state == .established || state == .finWait1 || state == .finWait2 }
  /// Whether the host's data may still go.
  var isSending: Bool { state == .established || state == .closeWait }
}
