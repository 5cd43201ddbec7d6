import HostOS
import Work

/// A TCP connection to a resolver, for one question: RFC 7766.
final class StreamResolverChannel: ResolverChannel {
  private let exchange: LoopBound<Exchange>
  private let source: HandleSource

  init(
    _ socket: InternetSocket, on loop: EventLoop, _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) throws(HostError) {
    let exchange = LoopBound(Exchange(socket: socket), on: loop)
    self.exchange = exchange
    source = try loop.watch(socket.handle, for: .writable) { _ in
      switch exchange.with({ $0.goOn() }) {
      case .nothing: break
      case .message(let message): answer(message)
      case .failure: answer(nil)
      }
    }
    exchange.with { $0.source = source }
  }

  deinit { source.cancel() }

  func send(_ message: [UInt8]) -> Bool {
    exchange.with { exchange in
      exchange.question = []
      exchange.question.append(bigEndian: UInt16(clamping: message.count))
      exchange.question += message
    }
    return message.count <= DNSConnection.longestMessage
  }

  private enum Event {
    case nothing
    case message([UInt8])
    case failure
  }

  /// The question on its way out, then the answer on its way in.
  private struct Exchange {
    let socket: InternetSocket
    /// Tells the loop what is waited for.
    var source: HandleSource?
    var question: [UInt8] = []
    private var sent = 0
    private var answers = DNSMessageAssembler()
    private static let readSize = 16 << 10

    init(socket: InternetSocket) { self.socket = socket }

    mutating func goOn() -> Event {
      sent < question.count ? sendOn() : receiveOn()
    }

    private mutating func sendOn() -> Event {
      switch socket.send(question, sent..<question.count) {
      case .moved(let count):
        sent += count
        if sent == question.count { source?.setInterests(.readable) }
        return .nothing
      case .blocked: return .nothing
      case .failed: return fail()
      }
    }

    /// One piece a turn: the loop comes back for the next.
    private mutating func receiveOn() -> Event {
      var bytes: [UInt8] = []
      let transfer = socket.receive(
        upTo: Self.readSize, piecesOf: Self.readSize, behind: [], into: &bytes)
      switch transfer {
      case .blocked: return .nothing
      case .moved(1...):
        var at = 0
        return answers.take(bytes, &at, bytes.count).map { .message($0) } ?? .nothing
      default: return fail()
      }
    }

    /// Not told again.
    private mutating func fail() -> Event {
      source?.cancel()
      return .failure
    }
  }
}
