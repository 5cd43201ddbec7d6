import Kit
import Synchronization
import Work

@testable import UserNetwork

/// Resolvers that the test plays.
final class PlayedResolvers: ResolverTransport {
  final class Question: ResolverChannel {
    let resolver: Endpoint
    let transport: Transport
    let answer: @Sendable ([UInt8]?) -> Void
    private let asked = Mutex<[UInt8]>([])
    let accepts: Bool

    init(
      _ resolver: Endpoint, _ transport: Transport, accepts: Bool,
      _ answer: @escaping @Sendable ([UInt8]?) -> Void
    ) {
      self.resolver = resolver
      self.transport = transport
      self.accepts = accepts
      self.answer = answer
    }
    func send(_ message: [UInt8]) -> Bool {
      asked.withLock { $0 = message }
      return accepts
    }
    var message: [UInt8] { asked.withLock { $0 } }
  }
  private let state = Mutex((questions: [Question](), refuses: false))

  func open(
    to resolver: Endpoint, by transport: Transport,
    _ answer: @escaping @Sendable ([UInt8]?) -> Void
  ) -> (any ResolverChannel)? {
    state.withLock { state in
      let question = Question(resolver, transport, accepts: !state.refuses, answer)
      state.questions.append(question)
      return question
    }
  }

  var questions: [Question] { state.withLock { $0.questions } }
  func setRefuses(_ refuses: Bool) { state.withLock { $0.refuses = refuses } }
}

enum DNSWire {
  /// An address of another host.
  static let address: [UInt8] = [198, 51, 100, 7]

  static func question(
    _ name: String, type: UInt16 = 1, identifier: UInt16 = 0x4711, edns: Bool = false
  ) -> [UInt8] {
    split(identifier) + [1, 0, 0, 1, 0, 0, 0, 0, 0, edns ? 1 : 0] + DomainName(name)!.wire
      + split(type) + [0, 1] + (edns ? [0, 0, 41, 0x10, 0, 0, 0, 0, 0, 0, 0] : [])
  }

  static func record(_ name: String, type: UInt16, ttl: UInt32 = 300, _ data: [UInt8]) -> [UInt8] {
    DomainName(name)!.wire + split(type) + [0, 1] + split(UInt16(ttl >> 16))
      + split(UInt16(truncatingIfNeeded: ttl)) + split(UInt16(data.count)) + data
  }

  static func answer(_ question: [UInt8], _ records: [[UInt8]] = [], outcome: UInt8 = 0) -> [UInt8]
  {
    var bytes = question
    bytes[2] = 0x81
    bytes[3] = 0x80 | outcome
    bytes[7] = UInt8(records.count)
    bytes[11] = 0
    return bytes + records.flatMap { $0 }
  }
}

struct NameBench {
  let clock = ManualClock()
  let loop = ManualLoop()
  let sender = RecordingSender()
  let outside = PlayedResolvers()
  let rules: EgressRules?
  let server: NameServer

  init(
    _ rules: [String]? = nil, names: NetworkNames = NetworkNames(), resolvers: Int = 2
  ) throws {
    let clock = clock
    self.rules = try rules.map { EgressRules(try $0.map { try EgressRule($0) }, clock: clock) }
    let addresses = (0..<resolvers).map { Endpoint(IPAddress(203, 0, 113, UInt8($0 + 1)), 53) }
    server = NameServer(
      plan: UserNetworkPlan(), names: names, rules: self.rules,
      resolvers: FixedResolvers(addresses), transport: outside, clock: clock, loop: loop)
  }

  func ask(_ message: [UInt8], from port: UInt16 = 40_000) {
    server.receive(
      Datagram(
        message, from: Endpoint(UserNetworkPlan().guestV4, port),
        to: Endpoint(UserNetworkPlan().dnsV4, 53)), sender)
  }

  /// The answer's outcome, and what its records hold.
  func answer() -> (outcome: UInt8, data: [[UInt8]])? {
    guard let sent = sender.take().last, let message = DNSMessage(sent.payload),
      let records = message.answers()
    else { return nil }
    return (message.outcome, records.map { Array(sent.payload[$0.data]) })
  }
}
