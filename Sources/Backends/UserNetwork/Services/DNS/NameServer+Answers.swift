import HostOS
import Synchronization

// MARK: - Answers

extension NameServer {
  /// The answer as the guest is to see it; `nil`: it is none to this question.
  func checked(
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
    guard let records = answer.answers() else {
      // One that is cut short may end in the middle of a record.
      return answer.isTruncated
        ? waiting.message.cut(waiting.message.bytes) : waiting.message.answer(.serverFailure)
    }
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
