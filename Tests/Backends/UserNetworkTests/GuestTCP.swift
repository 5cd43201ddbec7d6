import Kit
import Networks
import UserNetwork
import Work

/// A guest's end of one TCP connection, made for tests: plain, patient, and written without the network's own code.
///
/// It sends whole windows and starts over from the first hole when its timer rings or it hears three duplicates; it
/// keeps what comes out of order and, where asked to, says so.
final class GuestTCP {
  enum State { case closed, synSent, synReceived, established, reset }

  struct Options {
    var maximumSegmentSize: UInt16? = 1460
    var windowScale: UInt8? = 7
    var selects = true
    /// Bytes of data in one frame; more than the segment size: left to be cut.
    var frameSize = 1460
    var window = 256 << 10
  }

  let local: Endpoint
  private(set) var remote: Endpoint
  /// The other end's port is the first that calls.
  var answersAnyPort = false
  let options: Options
  private(set) var state = State.closed
  private(set) var outgoing: [Frame] = []

  // Sending.
  private let initialSent: UInt32
  private var unacknowledged: UInt32
  private var next: UInt32
  private var highest: UInt32
  private var theirWindow = 0
  private var theirScale = 0
  private(set) var theirSegmentSize = 536
  private var total = 0
  private var make: ((Int, Int) -> [UInt8])?
  private var finishes = false
  private(set) var endIsAcknowledged = false
  private var duplicates = 0
  private var timerAt: UInt64?
  private var timeout: UInt64 = 300_000_000
  private(set) var selectedSeen = 0

  // Receiving.
  private(set) var nextReceived: UInt32 = 0
  private var early: [UInt32: (bytes: [UInt8], isLast: Bool)] = [:]
  private(set) var received = 0
  private(set) var sawEnd = false
  var onReceive: ((ArraySlice<UInt8>) -> Void)?
  /// The window that is told; `nil`: the whole one.
  var windowLimit: Int?

  init(
    from local: Endpoint, to remote: Endpoint, options: Options = Options(),
    initial: UInt32 = 0xffff_f000
  ) {
    self.local = local
    self.remote = remote
    self.options = options
    initialSent = initial
    unacknowledged = initial
    next = initial
    highest = initial
  }

  func takeOutgoing() -> [Frame] {
    defer { outgoing = [] }
    return outgoing
  }

  private static func distance(_ a: UInt32, _ b: UInt32) -> Int {
    Int(Int32(bitPattern: a &- b))
  }

  // MARK: What the test asks for

  func connect(now: UInt64) {
    state = .synSent
    sendSYN(Flag.syn, now)
  }

  private func sendSYN(_ flags: UInt8, _ now: UInt64) {
    var list: [UInt8] = []
    if let size = options.maximumSegmentSize { list += [2, 4] + Make.big(size, 2) }
    if let scale = options.windowScale { list += [1, 3, 3, scale] }
    if options.selects { list += [1, 1, 4, 2] }
    emit(flags, sequence: initialSent, [], options: list, rawWindow: 65535)
    next = initialSent &+ 1
    highest = next
    timerAt = now + 1_000_000_000
  }

  func send(total: Int, finishing: Bool, _ make: @escaping (Int, Int) -> [UInt8], now: UInt64) {
    self.total = total
    self.make = make
    finishes = finishing
    push(now)
  }

  func finish(now: UInt64) {
    finishes = true
    push(now)
  }

  func reset() {
    emit(Flag.rst | Flag.ack, sequence: next, [])
    state = .reset
  }

  var acknowledged: Int { max(0, min(total, Self.distance(unacknowledged, initialSent) - 1)) }

  // MARK: Segments out

  private var window: Int { min(options.window, windowLimit ?? options.window) }

  private func emit(
    _ flags: UInt8, sequence: UInt32, _ data: [UInt8], options list: [UInt8] = [],
    rawWindow: Int? = nil
  ) {
    let scaled = rawWindow ?? (window >> (theirScale == 0 ? 0 : Int(options.windowScale ?? 0)))
    let bytes = Make.tcp(
      data, from: local, to: remote, sequence: sequence, acknowledgment: nextReceived,
      flags: flags, window: UInt16(clamping: scaled), options: list)
    var frame = Frame(bytes)
    if data.count > theirSegmentSize {
      frame.unfinished.segmentSize = theirSegmentSize
      frame.unfinished.checksum = (local.address.isV6 ? 54 : 34, 16)
    }
    outgoing.append(frame)
  }

  func acknowledge() {
    var list: [UInt8] = []
    if options.selects, let first = early.keys.min(by: { Self.distance($0, $1) < 0 }) {
      var end = first
      while let piece = early[end] {
        end = end &+ UInt32(piece.bytes.count + (piece.isLast ? 1 : 0))
      }
      list = [1, 1, 5, 10] + Make.big(first, 4) + Make.big(end, 4)
    }
    emit(Flag.ack, sequence: next, [], options: list)
  }

  private func push(_ now: UInt64) {
    guard state == .established else { return }
    let base = initialSent &+ 1
    let limit = unacknowledged &+ UInt32(theirWindow)
    while true {
      let place = Self.distance(next, base)
      let left = total - place
      let room = Self.distance(limit, next)
      if left > 0, room > 0, let make {
        let count = min(left, room, options.frameSize)
        emit(Flag.ack | Flag.psh, sequence: next, make(place, count))
        next = next &+ UInt32(count)
      } else if left == 0, finishes {
        emit(Flag.fin | Flag.ack, sequence: next, [])
        next = next &+ 1
      } else {
        break
      }
      if Self.distance(next, highest) > 0 { highest = next }
      if timerAt == nil { timerAt = now + timeout }
    }
    // A closed window is asked about.
    if theirWindow == 0, place < total, timerAt == nil { timerAt = now + timeout }
  }

  private var place: Int { Self.distance(next, initialSent) - 1 }

  func tick(now: UInt64) {
    guard let at = timerAt, at <= now else { return }
    timerAt = nil
    timeout = min(timeout * 2, 2_000_000_000)
    switch state {
    case .synSent: sendSYN(Flag.syn, now)
    case .synReceived: sendSYN(Flag.syn | Flag.ack, now)
    case .established:
      if theirWindow == 0, let make, place < total {
        emit(Flag.ack, sequence: next, make(place, 1))
        timerAt = now + timeout
      } else {
        next = unacknowledged
        push(now)
      }
    case .closed, .reset: break
    }
  }

  // MARK: Segments in

  func receive(_ read: Read, now: UInt64) {
    let flags = read.flags
    if flags & Flag.rst != 0 {
      state = .reset
      timerAt = nil
      return
    }
    switch state {
    case .closed:
      // The test's guest listens.
      guard flags & Flag.syn != 0 else { return }
      if answersAnyPort { remote.port = read.sourcePort }
      begin(read)
      state = .synReceived
      return sendSYN(Flag.syn | Flag.ack, now)
    case .synSent:
      guard flags & Flag.syn != 0, read.acknowledgment == initialSent &+ 1 else { return }
      begin(read)
      establish(read, now)
      acknowledge()
      return push(now)
    case .synReceived:
      guard flags & Flag.syn == 0 else { return sendSYN(Flag.syn | Flag.ack, now) }
      establish(read, now)
    case .established:
      if flags & Flag.syn != 0 { return acknowledge() }
    case .reset: return
    }
    takeAcknowledgment(read, now)
    takeData(read)
    push(now)
  }

  private func begin(_ read: Read) {
    nextReceived = read.sequence &+ 1
    var list = read.options[...]
    while let kind = list.first, kind != 0 {
      if kind == 1 {
        list = list.dropFirst()
        continue
      }
      let length = Int(list[list.startIndex + 1])
      let value = Array(list.dropFirst(2).prefix(length - 2))
      if kind == 2 { theirSegmentSize = Int(Read.word(value, 0)) }
      if kind == 3 { theirScale = Int(value[0]) }
      list = list.dropFirst(length)
    }
  }

  private func establish(_ read: Read, _ now: UInt64) {
    state = .established
    unacknowledged = initialSent &+ 1
    theirWindow = Int(read.window)
    timerAt = nil
  }

  private func takeAcknowledgment(_ read: Read, _ now: UInt64) {
    let advance = Self.distance(read.acknowledgment, unacknowledged)
    if read.options.contains(5) { selectedSeen += 1 }
    guard advance >= 0, Self.distance(read.acknowledgment, highest) <= 0 else { return }
    let window = Int(read.window) << theirScale
    if advance > 0 {
      unacknowledged = read.acknowledgment
      if Self.distance(next, unacknowledged) < 0 { next = unacknowledged }
      duplicates = 0
      timeout = 300_000_000
      timerAt = unacknowledged == highest ? nil : now + timeout
      if finishes, acknowledged == total, Self.distance(unacknowledged, initialSent) - 1 > total {
        endIsAcknowledged = true
      }
    } else if read.data.isEmpty, window == theirWindow, unacknowledged != highest {
      duplicates += 1
      if duplicates == 3 {
        // The first hole, and on from there when the timer rings.
        let start = Self.distance(unacknowledged, initialSent) - 1
        if start < total, let make {
          emit(
            Flag.ack | Flag.psh, sequence: unacknowledged,
            make(start, min(theirSegmentSize, total - start)))
        }
      }
    }
    theirWindow = window
  }

  private func takeData(_ read: Read) {
    let isLast = read.flags & Flag.fin != 0
    guard !read.data.isEmpty || isLast else { return }
    let offset = Self.distance(read.sequence, nextReceived)
    if offset > 0 {
      early[read.sequence] = (Array(read.data), isLast)
    } else {
      take(read.data.dropFirst(-offset), isLast && -offset <= read.data.count, -offset)
      while let key = early.keys.first(where: { Self.distance($0, nextReceived) <= 0 }) {
        let piece = early.removeValue(forKey: key)!
        let old = Self.distance(nextReceived, key)
        guard old < piece.bytes.count + (piece.isLast ? 1 : 0) else { continue }
        take(piece.bytes.dropFirst(old), piece.isLast, old)
      }
    }
    acknowledge()
  }

  private func take(_ data: ArraySlice<UInt8>, _ isLast: Bool, _ old: Int) {
    guard !sawEnd else { return }
    onReceive?(data)
    received += data.count
    nextReceived = nextReceived &+ UInt32(data.count)
    if isLast {
      sawEnd = true
      nextReceived = nextReceived &+ 1
    }
  }
}

/// A stream of bytes that any place of can be computed.
enum Pattern {
  private static let block: [UInt8] = {
    var chance = Chance(42)
    return (0..<65521).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
  }()

  static func bytes(_ place: Int, _ count: Int) -> [UInt8] {
    var result: [UInt8] = []
    result.reserveCapacity(count)
    var at = place % block.count
    while result.count < count {
      let number = min(count - result.count, block.count - at)
      result += block[at..<at + number]
      at = 0
    }
    return result
  }
}

/// Compares a stream with the pattern as it comes.
final class PatternCheck {
  private(set) var count = 0
  private(set) var isRight = true

  func take(_ bytes: ArraySlice<UInt8>) {
    if !bytes.elementsEqual(Pattern.bytes(count, bytes.count)) { isRight = false }
    count += bytes.count
  }
}

/// A cable that loses, delays and repeats, the same way in every run.
struct Wire {
  var loss = 0.0
  var reordering = 0.0
  var duplication = 0.0
  var chance: Chance
  private var waiting: [(at: UInt64, order: Int, frame: Frame)] = []
  private var order = 0
  /// Nanoseconds from end to end.
  var latency: UInt64 = 1_000_000

  init(
    loss: Double = 0, reordering: Double = 0, duplication: Double = 0, seed: UInt64 = 1
  ) {
    self.loss = loss
    self.reordering = reordering
    self.duplication = duplication
    chance = Chance(seed)
  }

  mutating func put(_ frame: Frame, now: UInt64) {
    if chance.happens(loss) { return }
    let copies = chance.happens(duplication) ? 2 : 1
    for _ in 0..<copies {
      let late = chance.happens(reordering) ? chance.next() % (3 * latency) : 0
      order += 1
      waiting.append((now + latency + late, order, frame))
    }
  }

  mutating func take(now: UInt64) -> [Frame] {
    var due = waiting.filter { $0.at <= now }
    guard !due.isEmpty else { return [] }
    waiting.removeAll { $0.at <= now }
    due.sort { ($0.at, $0.order) < ($1.at, $1.order) }
    return due.map(\.frame)
  }

  var isEmpty: Bool { waiting.isEmpty }
}

/// A bench whose cable is a wire, with guests' connections at its end.
final class TransferBench {
  let bench: Bench
  var toNetwork: Wire
  var toGuest: Wire
  var guests: [UInt16: GuestTCP] = [:]
  var now: UInt64 { bench.clock.now.nanoseconds }
  var step: UInt64 = 500_000
  var checksFrames = true

  init(_ bench: Bench, _ wire: Wire = Wire()) {
    self.bench = bench
    toNetwork = wire
    toGuest = wire
    toGuest.chance = Chance(~0x5555)
  }

  func add(_ guest: GuestTCP) { guests[guest.local.port] = guest }

  /// One step of time.
  func turn() {
    for guest in guests.values {
      guest.tick(now: now)
      for frame in guest.takeOutgoing() { toNetwork.put(frame, now: now) }
    }
    let frames = toNetwork.take(now: now)
    if !frames.isEmpty { _ = bench.network.send(frames) }
    bench.settle()
    for frame in bench.network.receive(upTo: .max) { toGuest.put(frame, now: now) }
    for frame in toGuest.take(now: now) {
      guard let read = Read(frame) else { fatalError("a wrong frame: \(frame.bytes)") }
      if read.transport == 6 { guests[read.destinationPort]?.receive(read, now: now) }
    }
    bench.clock.advance(by: step)
  }

  /// Lets time pass until `isDone`; answers whether it was in `turns`.
  func run(turns: Int = 200_000, until isDone: () -> Bool) -> Bool {
    for _ in 0..<turns {
      if isDone() { return true }
      turn()
    }
    return isDone()
  }
}
