import HostOS

/// What the guest has sent of a stream: what the host's socket does not take yet, and what came before its time.
///
/// Data is kept in the frames it came in. Whatever was not acknowledged may be dropped, so that memory has a strict
/// limit whatever the guest sends.
struct TCPReceiver {
  /// Bytes the window lets the guest send ahead of the host.
  static let capacity = 512 << 10
  /// The window's scale (RFC 7323 2.2): 512 KiB in 16 bits.
  static let scale: UInt8 = 4
  /// Host memory that the data of one stream may hold.
  static let costLimit = 2 * capacity
  /// Shorter data is copied behind the data before it.
  private static let shortLength = 512
  private static let gatheredLength = 8192
  /// Pieces kept out of order.
  private static let earlyLimit = 1024

  /// RCV.NXT.
  private(set) var next: SequenceNumber
  /// The end of the window as the guest was told it.
  private(set) var edge: SequenceNumber
  /// In order, waiting for the host's socket.
  private(set) var pending = Ring<StreamPiece>()
  private(set) var pendingCount = 0
  /// Out of order: sorted, not overlapping.
  private var early: [(start: SequenceNumber, piece: StreamPiece)] = []
  /// Memory held by both.
  private(set) var cost = 0
  /// Where the guest's stream ends, once it has said so.
  private var end: SequenceNumber?
  /// The stream is whole up to its end.
  private(set) var isFinished = false
  /// The piece that came last out of order: the first block of a selective acknowledgment (RFC 2018 4).
  private var latest: SequenceNumber?

  init(next: SequenceNumber) {
    self.next = next
    edge = next
  }

  var hasEarly: Bool { !early.isEmpty }
}

// MARK: - The window

extension TCPReceiver {
  /// Moves the window's end as far as there is room, in steps worth telling (RFC 9293 3.8.6.2.2), never back.
  mutating func openWindow(segmentSize: Int) {
    let room = cost >= Self.costLimit ? 0 : max(0, Self.capacity - pendingCount)
    let candidate = next + room
    if candidate - edge >= min(segmentSize, Self.capacity / 2) { edge = candidate }
  }

  /// Whether the guest should be told of room that it does not know of.
  func isWorthTelling(segmentSize: Int) -> Bool {
    let room = cost >= Self.costLimit ? 0 : max(0, Self.capacity - pendingCount)
    let gain = next + room - edge
    return gain >= Self.capacity / 2 || (edge - next < segmentSize && gain >= segmentSize)
  }

  /// The window's field.
  func window(scaled: Bool) -> UInt16 {
    let size = max(0, edge - next)
    return UInt16(clamping: scaled ? size &>> Int(Self.scale) : size)
  }
}

// MARK: - What comes in

extension TCPReceiver {
  enum Arrival {
    /// The stream has grown, or ended.
    case inOrder
    /// Kept, or dropped, for a gap before it: the guest is to hear of it at once.
    case outOfOrder
    /// Nothing new, or nothing there was room for.
    case nothing
  }

  /// Takes a segment's data, of which `budget` bytes of memory may be kept.
  mutating func accept(
    _ bytes: [UInt8], _ data: Range<Int>, at start: SequenceNumber, isLast: Bool, budget: Int
  ) -> Arrival {
    var start = start
    var data = data
    let last = start + data.count
    if isLast, end == nil, last >= next, last <= edge { end = last }
    // What is before the window, and behind it or the end, is cut off.
    let old = next - start
    if old > 0 {
      if old > data.count { return .nothing }
      data = data.lowerBound + old..<data.upperBound
      start = next
    }
    let limit = end.map { $0 < edge ? $0 : edge } ?? edge
    let beyond = start + data.count - limit
    if beyond > 0 {
      guard beyond <= data.count else { return .outOfOrder }
      data = data.lowerBound..<data.upperBound - beyond
    }
    if start != next {
      if !data.isEmpty { keepEarly(bytes, data, at: start, budget: budget) }
      return .outOfOrder
    }
    let before = next
    if !data.isEmpty {
      guard take(StreamPiece(bytes: bytes, range: data), budget: budget) else { return .nothing }
      joinEarly(budget: budget)
    }
    finishIfWhole()
    return next != before ? .inOrder : .nothing
  }

  private mutating func finishIfWhole() {
    guard !isFinished, next == end else { return }
    isFinished = true
    next = next + 1
    if edge < next { edge = next }
    dropEarly()
  }

  /// Takes the next piece of the stream; `false`: there is no room for it.
  private mutating func take(_ piece: StreamPiece, budget: Int) -> Bool {
    if gather(piece) { return true }
    guard cost + piece.cost <= Self.costLimit, piece.cost <= budget else { return false }
    next = next + piece.range.count
    pendingCount += piece.range.count
    cost += piece.cost
    pending.append(piece)
    return true
  }

  /// Puts short data behind what waits already, so that many short segments cost what a long one does.
  private mutating func gather(_ piece: StreamPiece) -> Bool {
    guard piece.range.count <= Self.shortLength, pending.count > 0 else { return false }
    let last = pending.count - 1
    let held = pending[last].bytes.count
    guard held <= Self.gatheredLength - Self.shortLength,
      pending[last].range.upperBound == held
    else { return false }
    pending[last].bytes.append(contentsOf: piece.bytes[piece.range])
    pending[last].range = pending[last].range.lowerBound..<held + piece.range.count
    next = next + piece.range.count
    pendingCount += piece.range.count
    cost += piece.range.count
    return true
  }

  /// Keeps data that came before its time, up to where data begins that is there already.
  private mutating func keepEarly(
    _ bytes: [UInt8], _ data: Range<Int>, at start: SequenceNumber, budget: Int
  ) {
    var index = early.count
    while index > 0, early[index - 1].start > start { index -= 1 }
    var start = start
    var data = data
    if index > 0 {
      let covered = early[index - 1].start + early[index - 1].piece.range.count - start
      if covered > 0 {
        guard covered < data.count else {
          latest = start
          return
        }
        start = start + covered
        data = data.lowerBound + covered..<data.upperBound
      }
    }
    if index < early.count {
      let free = early[index].start - start
      if free <= 0 { return }
      if free < data.count { data = data.lowerBound..<data.lowerBound + free }
    }
    let piece = StreamPiece(bytes: bytes, range: data)
    guard early.count < Self.earlyLimit, cost + piece.cost <= Self.costLimit, piece.cost <= budget
    else { return }
    early.insert((start, piece), at: index)
    cost += piece.cost
    latest = start
  }

  /// Takes what came early and is next now.
  private mutating func joinEarly(budget: Int) {
    var taken = 0
    while taken < early.count {
      var (start, piece) = early[taken]
      guard start <= next else { break }
      let old = next - start
      cost -= piece.cost
      taken += 1
      guard old < piece.range.count else { continue }
      piece.range = piece.range.lowerBound + old..<piece.range.upperBound
      if !take(piece, budget: budget) { break }
    }
    early.removeFirst(taken)
    if early.isEmpty { latest = nil }
  }

  private mutating func dropEarly() {
    for item in early { cost -= item.piece.cost }
    early = []
  }

  /// Forgets all data: the stream's end no longer matters.
  mutating func discard() {
    dropEarly()
    pending.removeAll()
    pendingCount = 0
    cost = 0
  }
}

// MARK: - What goes out

extension TCPReceiver {
  /// The first bytes that wait went to the host.
  mutating func sent(_ count: Int) {
    var left = count
    pendingCount -= count
    while left > 0, !pending.isEmpty {
      let piece = pending[0]
      guard left >= piece.range.count else {
        pending[0].range = piece.range.lowerBound + left..<piece.range.upperBound
        return
      }
      left -= piece.range.count
      cost -= piece.cost
      pending[0].bytes = []
      pending.removeFirst(1)
    }
  }

  /// The ranges that are there behind a gap: the latest first, then from the front.
  var selected: TCPHeader.Blocks {
    var ranges: [(start: SequenceNumber, end: SequenceNumber)] = []
    for item in early {
      let end = item.start + item.piece.range.count
      if let last = ranges.last, last.end == item.start {
        ranges[ranges.count - 1].end = end
      } else {
        ranges.append((item.start, end))
      }
    }
    var blocks = TCPHeader.Blocks()
    let first = latest.flatMap { latest in
      ranges.firstIndex { $0.start <= latest && latest < $0.end }
    }
    if let first { blocks.append(ranges[first].start, ranges[first].end) }
    for index in ranges.indices where index != first && blocks.count < 4 {
      blocks.append(ranges[index].start, ranges[index].end)
    }
    return blocks
  }
}

extension StreamPiece {
  /// Host memory that is held: the whole frame, and what an array has besides its bytes.
  fileprivate var cost: Int { bytes.count + 64 }
}
