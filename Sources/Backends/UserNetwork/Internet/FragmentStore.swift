/// Pieces of IP packets that wait for the rest (RFC 791 3.2, RFC 8200 4.5), in bounded memory.
///
/// Pieces that overlap make the whole packet suspect, and it is dropped (RFC 5722, here for both versions). A piece
/// that comes twice is ignored the second time.
struct FragmentStore {
  static let packetLimit = 64
  static let pieceLimit = 128
  static let memoryLimit = 2 << 20
  /// RFC 8200 4.5: 60 seconds; RFC 791 advises 15 or more.
  static let patience: UInt64 = 30_000_000_000

  struct Name: Hashable {
    let source: IPAddress
    let destination: IPAddress
    let transport: UInt8
    let identification: UInt32
  }

  struct Piece {
    let offset: Int
    let bytes: [UInt8]
    let data: Range<Int>
    var end: Int { offset + data.count }
  }

  private struct Waiting {
    var pieces: [Piece] = []
    var total: Int?
    var received = 0
    let deadline: UInt64
    let order: UInt64
  }

  enum Outcome {
    case incomplete
    /// The pieces, in order, without gaps.
    case complete([Piece])
    case overlap
    case malformed
    case limit
  }

  private var waiting: [Name: Waiting] = [:]
  private var memory = 0
  private var nextOrder: UInt64 = 0

  var isEmpty: Bool { waiting.isEmpty }
  /// When the packet that waits longest is given up.
  private(set) var nextDeadline: UInt64?

  mutating func add(_ piece: Piece, of name: Name, isLast: Bool, now: UInt64) -> Outcome {
    guard piece.end <= 65535, isLast || (piece.data.count % 8 == 0 && !piece.data.isEmpty) else {
      return .malformed
    }
    var packet: Waiting
    if let known = waiting.removeValue(forKey: name) {
      packet = known
    } else {
      if waiting.count >= Self.packetLimit { dropOldest() }
      nextOrder &+= 1
      packet = Waiting(deadline: now &+ Self.patience, order: nextOrder)
    }
    let index = packet.pieces.firstIndex { $0.end > piece.offset } ?? packet.pieces.count
    if index < packet.pieces.count {
      let other = packet.pieces[index]
      if other.offset == piece.offset, other.end == piece.end {
        waiting[name] = packet
        return .incomplete
      }
      if other.offset < piece.end { return drop(packet, .overlap) }
    }
    if let total = packet.total, piece.end > total || isLast { return drop(packet, .overlap) }
    if isLast, let last = packet.pieces.last, last.end > piece.end { return drop(packet, .overlap) }
    guard packet.pieces.count < Self.pieceLimit,
      memory + piece.bytes.count <= Self.memoryLimit
    else { return drop(packet, .limit) }
    packet.pieces.insert(piece, at: index)
    packet.received += piece.data.count
    memory += piece.bytes.count
    if isLast { packet.total = piece.end }
    if packet.received == packet.total {
      _ = drop(packet, .incomplete)
      return .complete(packet.pieces)
    }
    waiting[name] = packet
    findDeadline()
    return .incomplete
  }

  /// Takes away a packet whose time is over; answers its first piece if that had come.
  mutating func takeLate(_ now: UInt64) -> (name: Name, first: Piece?)? {
    guard let late = waiting.first(where: { $0.value.deadline <= now }) else {
      findDeadline()
      return nil
    }
    waiting[late.key] = nil
    _ = drop(late.value, .incomplete)
    return (late.key, late.value.pieces.first { $0.offset == 0 })
  }

  /// Accounts for a packet that was taken out.
  private mutating func drop(_ packet: Waiting, _ outcome: Outcome) -> Outcome {
    for piece in packet.pieces { memory -= piece.bytes.count }
    findDeadline()
    return outcome
  }

  private mutating func dropOldest() {
    guard let oldest = waiting.min(by: { $0.value.order < $1.value.order }) else { return }
    waiting[oldest.key] = nil
    _ = drop(oldest.value, .limit)
  }

  private mutating func findDeadline() {
    nextDeadline = waiting.values.map(\.deadline).min()
  }
}
