/// What was sent to the guest of a stream and is not acknowledged: a scoreboard, and how much may be under way.
///
/// Data is kept in the frames it left in, those of one read as one segment, which is cut where that is needed. Loss is
/// found by selective acknowledgment (RFC 6675), by three duplicates where the guest cannot select (RFC 6582), and by
/// the timer (RFC 6298); the congestion window is NewReno's (RFC 5681).
struct TCPSender {
  struct Segment {
    var start: SequenceNumber
    var data: FramedData
    /// The stream ends behind the data.
    var isLast = false
    var sentAt: UInt64
    var isResent = false
    var isSelected = false
    var isLost = false

    var length: Int { data.count + (isLast ? 1 : 0) }
    var end: SequenceNumber { start + length }
  }

  /// More segments than this are not under way.
  static let segmentLimit = 1024
  static let windowLimit = 4 << 20
  /// RFC 6675 2.
  private static let duplicateThreshold = 3

  /// SND.UNA, SND.NXT.
  private(set) var unacknowledged: SequenceNumber
  private(set) var next: SequenceNumber
  /// SND.WND, and the segment it came with: SND.WL1, SND.WL2.
  private(set) var window = 0
  private var windowSequence = SequenceNumber(0)
  private var windowAcknowledgment = SequenceNumber(0)
  private(set) var segments = Ring<Segment>()

  let segmentSize: Int
  let maySelect: Bool

  private(set) var congestionWindow: Int
  private(set) var slowStartThreshold = Int.max
  /// Bytes acknowledged since the window last grew, past slow start.
  private var acknowledgedSinceGrowth = 0
  /// Bytes that are believed to be under way: RFC 6675's pipe.
  private(set) var underWay = 0
  /// Host memory that is held: all frames of which a byte is not acknowledged.
  private(set) var cost = 0
  /// Bytes believed lost and not sent again.
  private(set) var lost = 0
  private var duplicates = 0
  /// Recovery ends when this is acknowledged.
  private(set) var recoveryEnd: SequenceNumber?
  /// The latest moment at which something was sent that has arrived.
  private var latestArrival: UInt64 = 0

  private(set) var timeout = RetransmissionTimeout()

  /// After the handshake: `next` is the first byte's number.
  init(next: SequenceNumber, segmentSize: Int, maySelect: Bool) {
    unacknowledged = next
    self.next = next
    self.segmentSize = segmentSize
    self.maySelect = maySelect
    // RFC 6928 2.
    congestionWindow = min(10 * segmentSize, max(2 * segmentSize, 14600))
  }

  var isEmpty: Bool { segments.isEmpty }
  var outstanding: Int { next - unacknowledged }

  /// How many new bytes may be sent now.
  var allowance: Int {
    guard segments.count < Self.segmentLimit else { return 0 }
    return max(0, min(congestionWindow - underWay, unacknowledged + window - next))
  }

  /// Whether the guest's window is closed to all that is new.
  var isShut: Bool { unacknowledged + window <= next }

  /// Whether something lost may be sent again now.
  var mayResend: Bool { lost > 0 && underWay < max(congestionWindow, segmentSize) }

  /// New data has left, in as many frames as it took.
  mutating func sent(_ data: FramedData, isLast: Bool, now: UInt64) {
    let segment = Segment(start: next, data: data, isLast: isLast, sentAt: now)
    segments.append(segment)
    next = segment.end
    underWay += segment.length
    cost += data.cost
  }

  /// RFC 9293 3.10.7.4, "SND.WND is updated".
  mutating func updateWindow(
    _ size: Int, sequence: SequenceNumber, acknowledgment: SequenceNumber
  ) {
    guard
      windowSequence < sequence
        || (windowSequence == sequence && windowAcknowledgment <= acknowledgment)
    else { return }
    window = size
    windowSequence = sequence
    windowAcknowledgment = acknowledgment
  }

  /// The first window, whatever came before.
  mutating func beginWindow(
    _ size: Int, sequence: SequenceNumber, acknowledgment: SequenceNumber
  ) {
    window = size
    windowSequence = sequence
    windowAcknowledgment = acknowledgment
  }

  mutating func measured(roundTrip: UInt64) { timeout.measured(roundTrip) }
}

// MARK: - Acknowledgments

extension TCPSender {
  /// Takes an acknowledgment inside what is outstanding; answers whether it was of something new.
  mutating func acknowledge(
    _ place: SequenceNumber, _ selected: TCPHeader.Blocks, isDuplicate: Bool, now: UInt64
  ) -> Bool {
    let advance = place - unacknowledged
    if advance > 0 {
      release(upTo: place, now: now)
      duplicates = 0
      timeout.progressed()
    }
    if maySelect, selected.count > 0 { select(selected) }
    if advance <= 0, isDuplicate, !segments.isEmpty { duplicates += 1 }

    if let end = recoveryEnd {
      if place >= end {
        recoveryEnd = nil
        congestionWindow = min(
          max(congestionWindow, segmentSize), max(slowStartThreshold, segmentSize))
      } else if advance > 0 && !maySelect && !segments.isEmpty && !segments[0].isLost {
        // RFC 6582 3.2 step 5: a partial acknowledgment shows the next hole.
        markLost(0)
      }
    } else if advance > 0 {
      grow(by: advance)
    }
    if maySelect { markLostByOthers() } else { markLostByDuplicates() }
    return advance > 0
  }

  private mutating func release(upTo place: SequenceNumber, now: UInt64) {
    var count = 0
    var roundTrip: UInt64?
    while count < segments.count, segments[count].end <= place {
      let segment = segments[count]
      leave(segment, segment.length)
      if !segment.isResent {
        roundTrip = now &- segment.sentAt
        latestArrival = max(latestArrival, segment.sentAt)
      }
      cost -= segment.data.cost
      segments[count].data = .none
      count += 1
    }
    if count > 0 { segments.removeFirst(count) }
    if !segments.isEmpty {
      let part = place - segments[0].start
      if part > 0 {
        leave(segments[0], part)
        segments[0].data.removeFirst(part)
        segments[0].start = place
      }
    }
    unacknowledged = place
    // RFC 6298 3: what was sent twice measures nothing.
    if let roundTrip { timeout.measured(roundTrip) }
  }

  /// Takes `length` of a segment out of the counts.
  private mutating func leave(_ segment: Segment, _ length: Int) {
    if segment.isLost {
      lost -= length
    } else if !segment.isSelected {
      underWay -= length
    }
  }

  /// RFC 5681 3.1, with the bytes of RFC 3465. Only a window that is used grows.
  private mutating func grow(by count: Int) {
    guard underWay + count >= congestionWindow / 2 else { return }
    if congestionWindow < slowStartThreshold {
      congestionWindow += count
    } else {
      acknowledgedSinceGrowth += count
      guard acknowledgedSinceGrowth >= congestionWindow else { return }
      acknowledgedSinceGrowth -= congestionWindow
      congestionWindow += segmentSize
    }
    congestionWindow = min(congestionWindow, Self.windowLimit)
  }
}

// MARK: - Loss

extension TCPSender {
  private mutating func select(_ blocks: TCPHeader.Blocks) {
    // Splitting segments at every byte is of no use to anybody.
    guard segments.count < 4 * Self.segmentLimit else { return }
    for number in 0..<blocks.count {
      let (start, end) = blocks[number]
      guard start < end, start >= unacknowledged, end <= next else { continue }
      var index = firstSegment(endingBehind: start)
      while index < segments.count, segments[index].start < end {
        if segments[index].isSelected {
          index += 1
          continue
        }
        if segments[index].start < start {
          split(index, at: start)
          index += 1
        }
        guard index < segments.count else { break }
        if segments[index].end > end { split(index, at: end) }
        leave(segments[index], segments[index].length)
        segments[index].isSelected = true
        segments[index].isLost = false
        latestArrival = max(latestArrival, segments[index].sentAt)
        index += 1
      }
    }
  }

  private func firstSegment(endingBehind place: SequenceNumber) -> Int {
    var low = 0
    var high = segments.count
    while low < high {
      let middle = (low + high) / 2
      if segments[middle].end <= place { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// Makes two segments of one; they share the frames.
  private mutating func split(_ index: Int, at place: SequenceNumber) {
    var rest = segments[index]
    rest.data = segments[index].data.cut(to: place - rest.start)
    rest.start = place
    segments[index].isLast = false
    segments.insert(rest, at: index + 1)
  }

  /// RFC 6675 4 `IsLost`: more than two full segments arrived that lie behind. What was sent again is lost again when
  /// something arrived that left a good while later (RFC 8985 6.2).
  private mutating func markLostByOthers() {
    guard outstanding > underWay + lost else { return }
    var arrivedBehind = 0
    let margin = timeout.smoothed / 4
    for index in stride(from: segments.count - 1, through: 0, by: -1) {
      let segment = segments[index]
      if segment.isSelected {
        arrivedBehind += segment.length
        continue
      }
      guard !segment.isLost, arrivedBehind > (Self.duplicateThreshold - 1) * segmentSize else {
        continue
      }
      if !segment.isResent || segment.sentAt &+ margin < latestArrival { markLost(index) }
    }
  }

  private mutating func markLostByDuplicates() {
    guard recoveryEnd == nil, duplicates >= Self.duplicateThreshold, !segments.isEmpty,
      !segments[0].isLost
    else { return }
    markLost(0)
  }

  /// RFC 6675 5 step 4, RFC 5681 3.2 step 2: the first loss of a window halves it.
  private mutating func markLost(_ index: Int) {
    // Without selection nothing is known of what follows the first segment's worth.
    if !maySelect, segments[index].length > segmentSize {
      split(index, at: segments[index].start + segmentSize)
    }
    underWay -= segments[index].length
    lost += segments[index].length
    segments[index].isLost = true
    guard recoveryEnd == nil else { return }
    slowStartThreshold = max(outstanding / 2, 2 * segmentSize)
    congestionWindow = slowStartThreshold
    acknowledgedSinceGrowth = 0
    recoveryEnd = next
  }

  /// The next segment to be sent again, cut to what one frame may carry; counted as under way from now on.
  mutating func takeLost(now: UInt64) -> Segment? {
    guard lost > 0 else { return nil }
    for index in 0..<segments.count where segments[index].isLost {
      if segments[index].data.count > segmentSize {
        split(index, at: segments[index].start + segmentSize)
      }
      let length = segments[index].length
      lost -= length
      underWay += length
      segments[index].isLost = false
      segments[index].isResent = true
      segments[index].sentAt = now
      return segments[index]
    }
    return nil
  }

  /// Nothing was heard in time: all that did not arrive is lost (RFC 5681 3.1, RFC 6298 5.5, RFC 2018 8).
  mutating func timedOut() {
    slowStartThreshold = max(outstanding / 2, 2 * segmentSize)
    congestionWindow = segmentSize
    acknowledgedSinceGrowth = 0
    duplicates = 0
    recoveryEnd = next
    underWay = 0
    lost = 0
    for index in 0..<segments.count {
      segments[index].isSelected = false
      segments[index].isLost = true
      lost += segments[index].length
    }
    timeout.backOff()
  }

  /// Forgets all that was sent.
  mutating func discard() {
    segments.removeAll()
    underWay = 0
    lost = 0
    cost = 0
  }
}
