import HostOS
import Synchronization
package import Work

/// Answers the guest's questions about names: those of the network itself here, all others by asking the resolvers that
/// the host uses.
///
/// Questions go out letter by letter as they came, with their EDNS, under a random number and from a socket of their
/// own; an answer must repeat both number and letters. A resolver that is silent or unable is followed by the next. An
/// answer longer than a datagram holds comes back marked as cut short, as resolvers do.
///
/// All work is done on the network's loop.
///
/// - SeeAlso: RFC 1035 §7 "Resolver Implementation"; RFC 5452 §9 "Countermeasures"; RFC 5625 "DNS Proxy Implementation
///   Guidelines".
package final class NameServer: DatagramService {
  // Wiring.
  private let plan: UserNetworkPlan
  private let domain: DomainName
  private let own: [DomainName: [IPAddress]]
  private let reverse: [DomainName: DomainName]
  private let rules: EgressRules?
  private let source: any ResolverSource
  private let transport: any ResolverTransport
  private let clock: any VMClock
  private let loop: any Loop
  private let alarm = Mutex<(any Alarm)?>(nil)
  // State.
  private let state: LoopBound<State>
  private let counters = Mutex(Counters())

  private struct State {
    /// Questions that wait for an answer, by their number outside.
    var waiting: [UInt16: Waiting] = [:]
    /// The same by who asked, so that a repeated question is one.
    var asked: [Asked: UInt16] = [:]
  }

  private struct Asked: Hashable {
    var client: Endpoint
    var identifier: UInt16
    var question: [UInt8]
  }

  private struct Waiting {
    var asked: Asked
    var server: Endpoint
    var message: DNSMessage
    var sender: any DatagramSender
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
    self.loop = loop
    state = LoopBound(State(), on: loop)
    let alarm = clock.makeAlarm(on: loop) { [weak self] in self?.timePassed() }
    self.alarm.withLock { $0 = alarm }
  }

  package var ports: [UInt16] { [53] }

  /// Questions that may wait at once.
  static let capacity = 256
  private static let longestQuestion = 4096
  /// Nanoseconds before the next resolver is asked.
  static let patience: UInt64 = 2_000_000_000
  private static let rounds = 2
}

// MARK: - Questions

extension NameServer {
  package func receive(_ datagram: Datagram, _ sender: any DatagramSender) {
    guard plan.isOwn(datagram.destination.address), !datagram.source.address.isUnspecified,
      datagram.source.port != 0
    else { return }
    counters.withLock { $0.questions += 1 }
    let answer: [UInt8]?
    if let message = DNSMessage(datagram.payload), datagram.payload.count <= Self.longestQuestion {
      answer = self.answer(message) ?? forward(message, datagram, sender)
    } else {
      answer = DNSMessage.complaint(to: datagram.payload, .formatError)
    }
    guard let answer else { return }
    sender.send(
      answer, from: datagram.destination, to: datagram.source, hardwareDestination: nil)
  }

  /// What is answered without asking anybody.
  private func answer(_ message: DNSMessage) -> [UInt8]? {
    // An answer to our answer would never end.
    if message.isResponse { return nil }
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

// MARK: - Asking outside

extension NameServer {
  /// Begins to ask. Answers what the guest is to be told at once, if there is no asking.
  private func forward(
    _ message: DNSMessage, _ datagram: Datagram, _ sender: any DatagramSender
  ) -> [UInt8]? {
    if message.isResponse { return nil }
    let asked = Asked(
      client: datagram.source, identifier: message.identifier,
      question: Array(message.questionBytes))
    let resolvers = source.resolvers
    let isAccepted = state.with { state -> Bool in
      if state.asked[asked] != nil { return true }
      guard state.waiting.count < Self.capacity, !resolvers.isEmpty else { return false }
      var identifier = UInt16.random(in: .min ... .max)
      while state.waiting[identifier] != nil { identifier = .random(in: .min ... .max) }
      state.waiting[identifier] = Waiting(
        asked: asked, server: datagram.destination, message: message, sender: sender,
        resolvers: resolvers)
      state.asked[asked] = identifier
      return ask(identifier, &state)
    }
    setAlarm()
    guard !isAccepted else { return nil }
    counters.withLock { $0.failed += 1 }
    return message.answer(.serverFailure)
  }

  /// Asks the next resolver that can be asked. `false`: none is left, and the question no longer waits.
  private func ask(_ identifier: UInt16, _ state: inout State) -> Bool {
    guard var waiting = state.waiting[identifier] else { return false }
    while waiting.tries < waiting.resolvers.count * Self.rounds {
      let resolver = waiting.resolvers[waiting.tries % waiting.resolvers.count]
      waiting.tries += 1
      let number = waiting.tries
      let channel = transport.open(to: resolver) { [weak self] bytes in
        self?.answered(identifier, try: number, bytes)
      }
      guard let channel, channel.send(waiting.message.numbered(identifier)) else { continue }
      waiting.channel = channel
      waiting.deadline = clock.now.advanced(by: Self.patience)
      state.waiting[identifier] = waiting
      return true
    }
    state.waiting[identifier] = nil
    state.asked[waiting.asked] = nil
    return false
  }

  /// A resolver has sent something, or cannot be reached.
  private func answered(_ identifier: UInt16, try number: Int, _ bytes: [UInt8]?) {
    let reply = state.with { state -> (Waiting, [UInt8])? in
      guard let waiting = state.waiting[identifier], waiting.tries == number else {
        counters.withLock { $0.strayAnswers += 1 }
        return nil
      }
      guard let bytes else { return next(identifier, waiting, &state) }
      guard let answer = checked(bytes, identifier, waiting) else {
        counters.withLock { $0.strayAnswers += 1 }
        return nil
      }
      let isUnable = [2, 4, 5].contains(bytes[3] & 0xf)  // failure, not implemented, refused
      if isUnable, waiting.tries < waiting.resolvers.count {
        return next(identifier, waiting, &state)
      }
      state.waiting[identifier] = nil
      state.asked[waiting.asked] = nil
      counters.withLock { $0.answeredOutside += 1 }
      return (waiting, answer)
    }
    deliver(reply)
    setAlarm()
  }

  private func next(
    _ identifier: UInt16, _ waiting: Waiting, _ state: inout State
  ) -> (Waiting, [UInt8])? {
    if ask(identifier, &state) { return nil }
    counters.withLock { $0.failed += 1 }
    return (waiting, waiting.message.answer(.serverFailure))
  }

  private func deliver(_ reply: (Waiting, [UInt8])?) {
    guard let (waiting, answer) = reply else { return }
    waiting.sender.send(
      answer, from: waiting.server, to: waiting.asked.client, hardwareDestination: nil)
  }

  private func timePassed() {
    let now = clock.now
    let replies = state.with { state in
      state.waiting.filter { $0.value.deadline <= now }.compactMap { identifier, waiting in
        next(identifier, waiting, &state)
      }
    }
    for reply in replies { deliver(reply) }
    setAlarm()
  }

  private func setAlarm() {
    let next = state.with { $0.waiting.values.map(\.deadline).min() }
    alarm.withLock { $0?.set(next) }
  }
}

// MARK: - Answers

extension NameServer {
  /// The answer as the guest is to see it; `nil`: it is none to this question.
  private func checked(
    _ bytes: [UInt8], _ identifier: UInt16, _ waiting: Waiting
  ) -> [UInt8]? {
    guard bytes.count >= DNSMessage.headerLength,
      bytes[0] == UInt8(truncatingIfNeeded: identifier &>> 8),
      bytes[1] == UInt8(truncatingIfNeeded: identifier), bytes[2] & 0x80 != 0
    else { return nil }
    let isComplaint = bytes[4] == 0 && bytes[5] == 0 && bytes[3] & 0xf != 0
    if isComplaint {
      let outcome = DNSMessage.Outcome(rawValue: bytes[3] & 0xf) ?? .serverFailure
      return DNSMessage.complaint(to: waiting.message.bytes, outcome)
    }
    guard let answer = DNSMessage(bytes), answer.questionBytes == waiting.message.questionBytes
    else { return nil }
    guard let records = answer.answers() else { return waiting.message.answer(.serverFailure) }
    if let rules {
      let addresses = records.compactMap { Self.address($0, answer) }
      guard addresses.allSatisfy(rules.mayBelieve) else { return waiting.message.answer(.refused) }
      let (reached, ttl) = Self.follow(answer, records)
      if !reached.isEmpty {
        rules.resolved(answer.question.name.description, to: reached, ttl: ttl)
      }
    }
    return answer.numbered(waiting.message.identifier)
  }

  /// The addresses that the question's name has, by way of its aliases, and for how long.
  static func follow(
    _ answer: DNSMessage, _ records: [DNSMessage.Record]
  ) -> ([IPAddress], ttl: UInt32) {
    var name = answer.question.name
    var ttl = UInt32.max
    // RFC 1034 3.6.2: aliases of aliases are unusual, and may lead in circles.
    for _ in 0..<16 {
      let own = records.filter { $0.name == name && $0.recordClass == DNSMessage.internet }
      let found = own.compactMap { record in address(record, answer).map { ($0, record.ttl) } }
      if !found.isEmpty {
        return (found.map(\.0), found.reduce(ttl) { min($0, $1.1) })
      }
      guard let alias = own.first(where: { $0.type == .cname }),
        let (target, end) = DomainName.read(from: answer.bytes, at: alias.data.lowerBound),
        end <= alias.data.upperBound
      else { break }
      ttl = min(ttl, alias.ttl)
      name = target
    }
    return ([], 0)
  }

  private static func address(_ record: DNSMessage.Record, _ message: DNSMessage) -> IPAddress? {
    guard
      record.type == .a && record.data.count == 4 || record.type == .aaaa && record.data.count == 16
    else { return nil }
    return IPAddress(bytes: message.bytes[record.data])
  }
}

extension IPAddress {
  /// The name under which an address's own name is found: RFC 1035 §3.5, RFC 3596 §2.5.
  var reverseName: DomainName? {
    guard isV6 else {
      return DomainName(bytes.reversed().map(String.init).joined(separator: ".") + ".in-addr.arpa")
    }
    let digits = bytes.reversed().flatMap { [$0 & 0xf, $0 &>> 4] }
    return DomainName(digits.map { String($0, radix: 16) }.joined(separator: ".") + ".ip6.arpa")
  }
}
