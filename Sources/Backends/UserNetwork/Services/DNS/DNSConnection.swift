import HostOS
import Work

/// A TCP connection of the guest's to the name server, seen from the network: questions are sent to it, answers
/// received from it.
///
/// Questions may follow each other without waiting; answers come in the order in which they are found (RFC 7766
/// §6.2.1.1). Beyond `mostQuestions` the connection takes no more until answers have been read, so that the guest's
/// window closes. Touched on the network's loop only.
final class DNSConnection: HostConnection {
  // Wiring.
  private weak var server: NameServer?
  private let clock: any VMClock
  private let ready: @Sendable (Readiness) -> Void
  // State.
  private var questions = DNSMessageAssembler()
  /// Answers behind their lengths, of which `sent` bytes of the first have been read.
  private var answers = Ring<[UInt8]>()
  private var sent = 0
  /// Questions whose answers have not been found or not been read.
  private(set) var unanswered = 0
  private(set) var lastUsed: VMInstant
  private var isBlocked = false
  private var hasEnded = false
  private var isOver = false

  static let longestMessage = 65535
  static let mostQuestions = 8

  init(
    to server: NameServer, clock: any VMClock, _ ready: @escaping @Sendable (Readiness) -> Void
  ) {
    self.server = server
    self.clock = clock
    self.ready = ready
    lastUsed = clock.now
  }

  /// When the connection has been idle for too long.
  var deadline: VMInstant { lastUsed.advanced(by: NameServer.idle) }
}

// MARK: - What the name server does

extension DNSConnection {
  /// A question has its answer; `nil`: there is none to it.
  func answered(_ answer: [UInt8]?) {
    guard !isOver else { return }
    lastUsed = clock.now
    guard let answer else { return finishedQuestions(1) }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(2 + answer.count)
    bytes.append(bigEndian: UInt16(clamping: answer.count))
    bytes += answer
    answers.append(bytes)
    ready(.readable)
  }

  /// Ends the connection from this side.
  func end() {
    isOver = true
    server?.forget(self)
    ready([.readable, .ended])
  }

  private func finishedQuestions(_ count: Int) {
    unanswered -= count
    if isBlocked, count > 0 {
      isBlocked = false
      ready(.writable)
    }
    if hasEnded, unanswered == 0 { ready(.readable) }
  }
}

// MARK: - What the network does

extension DNSConnection {
  func takeError() -> SocketFailure? { nil }

  func send(_ bytes: [UInt8], _ range: Range<Int>) -> Transfer {
    guard !isOver else { return .failed(.reset) }
    lastUsed = clock.now
    var at = range.lowerBound
    while at < range.upperBound, unanswered < Self.mostQuestions {
      guard let question = questions.take(bytes, &at, range.upperBound) else { break }
      unanswered += 1
      server?.ask(question, limit: Self.longestMessage, .stream(self))
    }
    let count = at - range.lowerBound
    isBlocked = count < range.count
    return count == 0 && isBlocked ? .blocked : .moved(count)
  }

  func send(_ pieces: [StreamPiece]) -> Transfer {
    var total = 0
    for piece in pieces {
      let transfer = send(piece.bytes, piece.range)
      guard case .moved(let count) = transfer else { return total > 0 ? .moved(total) : transfer }
      total += count
      if count < piece.range.count { break }
    }
    return .moved(total)
  }

  func receive(
    upTo count: Int, piecesOf size: Int, behind head: [UInt8], into bytes: inout [UInt8]
  ) -> Transfer {
    bytes = []
    guard !answers.isEmpty else {
      return isOver || hasEnded && unanswered == 0 ? .moved(0) : .blocked
    }
    // The guest has not read for too long.
    if isOver { return .failed(.reset) }
    lastUsed = clock.now
    var left = count
    var finished = 0
    while left > 0, !answers.isEmpty {
      bytes += head
      var room = min(size, left)
      while room > 0, !answers.isEmpty {
        let part = min(room, answers[0].count - sent)
        bytes += answers[0][sent..<sent + part]
        sent += part
        room -= part
        left -= part
        guard sent == answers[0].count else { break }
        answers[0] = []
        answers.removeFirst(1)
        sent = 0
        finished += 1
      }
    }
    finishedQuestions(finished)
    return .moved(count - left)
  }

  func finishSending() {
    hasEnded = true
    if unanswered == 0 { ready(.readable) }
  }

  func close() {
    isOver = true
    answers.removeAll()
    server?.forget(self)
  }

  func abort() { close() }
}
