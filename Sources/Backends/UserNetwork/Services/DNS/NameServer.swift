import HostOS
import Synchronization
package import Work

/// Answers the guest's questions about names: those of the network itself here, all others by asking the resolvers that
/// the host uses.
///
/// Questions go out letter by letter as they came, with their EDNS, under a random number and from a socket of their
/// own; an answer must repeat both number and letters. A resolver that is silent or unable is followed by the next.
///
/// A question that came in a datagram goes on in one. An answer that is longer than its asker takes comes back marked
/// as cut short, and the asker comes again by TCP. Such a question goes on by TCP, and in datagrams only to resolvers
/// that could not be asked otherwise.
///
/// All work is done on the network's loop.
///
/// - SeeAlso: RFC 1035 §7 "Resolver Implementation"; RFC 5452 §9 "Countermeasures"; RFC 5625 "DNS Proxy Implementation
///   Guidelines"; RFC 7766 "DNS Transport over TCP".
package final class NameServer: DatagramService {
  // Wiring.
  private let plan: UserNetworkPlan
  private let domain: DomainName
  private let own: [DomainName: [IPAddress]]
  private let reverse: [DomainName: DomainName]
  let rules: EgressRules?
  let source: any ResolverSource
  let transport: any ResolverTransport
  let clock: any VMClock
  private let alarm = Mutex<(any Alarm)?>(nil)
  // State.
  let state: LoopBound<State>
  let counters = Mutex(Counters())

  struct State {
    /// Questions that wait for an answer, by their number outside.
    var waiting: [UInt16: Waiting] = [:]
    /// Those of datagrams by who asked, so that a repeated question is one.
    var asked: [Asked: UInt16] = [:]
    var connections: [DNSConnection] = []
  }

  /// Who asked, and how.
  enum Client {
    case datagram(from: Endpoint, at: Endpoint, any DatagramSender)
    case stream(DNSConnection)

    var isStream: Bool { if case .stream = self { true } else { false } }
  }

  struct Asked: Hashable {
    var client: Endpoint
    var identifier: UInt16
    var question: [UInt8]
  }

  struct Waiting {
    var client: Client
    var message: DNSMessage
    /// In the table of repeated questions.
    var asked: Asked?
    var resolvers: [Endpoint]
    /// How often it has been sent.
    var tries = 0
    var channel: (any ResolverChannel)?
    var deadline = VMInstant(nanoseconds: 0)
  }

  package struct Counters: Sendable, Equatable {
    package var questions: UInt64 = 0
    package var answeredHere: UInt64 = 0
    package var answeredOutside: UInt64 = 0
    package var refused: UInt64 = 0
    package var failed: UInt64 = 0
    /// Answers that nobody asked for: forged, or too late.
    package var strayAnswers: UInt64 = 0
    /// Answers that the asker was sent the head of.
    package var cutAnswers: UInt64 = 0
    package var connections: UInt64 = 0
    package var connectionsRefused: UInt64 = 0
  }
  package var statistics: Counters { counters.withLock { $0 } }

  package init(
    plan: UserNetworkPlan, names: NetworkNames = NetworkNames(), rules: EgressRules? = nil,
    resolvers: any ResolverSource, transport: any ResolverTransport, clock: any VMClock,
    loop: any Loop
  ) {
    self.plan = plan
    domain = names.domain
    own = names.answers(plan)
    var reverse: [DomainName: DomainName] = [:]
    for (name, addresses) in own where name.labels.count > 1 {
      for address in addresses {
        guard let key = address.reverseName else { continue }
        // Of several names the first in the alphabet, so that it is always the same.
        if let other = reverse[key], other.key <= name.key { continue }
        reverse[key] = name
      }
    }
    self.reverse = reverse
    self.rules = rules
    source = resolvers
    self.transport = transport
    self.clock = clock
    state = LoopBound(State(), on: loop)
    let alarm = clock.makeAlarm(on: loop) { [weak self] in self?.timePassed() }
    self.alarm.withLock { $0 = alarm }
  }

  package var ports: [UInt16] { [53] }

  /// Questions that may wait at once.
  static let capacity = 256
  /// The longest question that a datagram may be.
  static let longestDatagram = 4096
  /// Nanoseconds before the next resolver is asked.
  static let patience: UInt64 = 2_000_000_000
  static let rounds = 2
}

// MARK: - Questions

extension NameServer {
  package func receive(_ datagram: Datagram, _ sender: any DatagramSender) {
    guard plan.isOwn(datagram.destination.address), !datagram.source.address.isUnspecified,
      datagram.source.port != 0
    else { return }
    ask(
      datagram.payload, limit: Self.longestDatagram,
      .datagram(from: datagram.source, at: datagram.destination, sender))
  }

  /// Takes one message of a client's. A connection hears of its end in any case.
  func ask(_ bytes: [UInt8], limit: Int, _ client: Client) {
    counters.withLock { $0.questions += 1 }
    guard bytes.count <= limit, let message = DNSMessage(bytes) else {
      return deliver(DNSMessage.complaint(to: bytes, .formatError), to: client)
    }
    // An answer to our answer would never end.
    if message.isResponse { return deliver(nil, to: client) }
    if let answer = answer(message) {
      deliver(answer, of: message, to: client)
    } else {
      forward(message, client)
    }
  }

  /// Sends an answer, or its head if it is longer than the asker takes.
  func deliver(_ answer: [UInt8], of message: DNSMessage, to client: Client) {
    let limit = client.isStream ? DNSConnection.longestMessage : message.answerLimit
    guard answer.count > limit else { return deliver(answer, to: client) }
    counters.withLock { $0.cutAnswers += 1 }
    deliver(message.cut(answer), to: client)
  }

  private func deliver(_ answer: [UInt8]?, to client: Client) {
    switch client {
    case .datagram(let guest, let server, let sender):
      guard let answer else { return }
      sender.send(answer, from: server, to: guest, hardwareDestination: nil)
    case .stream(let connection): connection.answered(answer)
    }
  }

  /// What is answered without asking anybody.
  private func answer(_ message: DNSMessage) -> [UInt8]? {
    guard message.operation == 0 else { return refuse(message, .notImplemented) }
    let question = message.question
    if let addresses = own[question.name] {
      rules?.resolved(
        question.name.description, to: addresses, ttl: EgressRules.longestTTL)
      return here(message, records(of: question, addresses))
    }
    if let name = reverse[question.name] {
      return here(message, question.type == .ptr ? [name.wire] : [])
    }
    if question.name.isInside(domain) { return refuse(message, .noSuchName) }
    if let rules, !rules.mayResolve(question.name) { return refuse(message, .refused) }
    return nil
  }

  private func records(of question: DNSMessage.Question, _ addresses: [IPAddress]) -> [[UInt8]] {
    guard question.recordClass == DNSMessage.internet else { return [] }
    switch question.type {
    case .a: return addresses.filter { !$0.isV6 }.map(\.bytes)
    case .aaaa: return addresses.filter(\.isV6).map(\.bytes)
    default: return []
    }
  }

  private func here(_ message: DNSMessage, _ records: [[UInt8]]) -> [UInt8] {
    counters.withLock { $0.answeredHere += 1 }
    return message.answer(.noError, records)
  }

  private func refuse(_ message: DNSMessage, _ outcome: DNSMessage.Outcome) -> [UInt8] {
    counters.withLock { $0.refused += 1 }
    return message.answer(outcome)
  }
}

// MARK: - Time

extension NameServer {
  private func timePassed() {
    askOthers()
    endIdleConnections()
    setAlarm()
  }

  func setAlarm() {
    let next = state.with { state in
      let deadlines = state.waiting.values.map(\.deadline) + state.connections.map(\.deadline)
      return deadlines.min()
    }
    alarm.withLock { $0?.set(next) }
  }
}
