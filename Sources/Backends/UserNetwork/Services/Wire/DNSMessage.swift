/// A message of the domain name system, as far as a forwarder looks into it.
///
/// - SeeAlso: RFC 1035 §4 "Messages".
package struct DNSMessage: Sendable {
  package let bytes: [UInt8]
  package let question: Question
  /// Where the question ends.
  let questionEnd: Int

  package struct Question: Sendable, Hashable {
    package var name: DomainName
    package var type: RecordType
    package var recordClass: UInt16
  }

  package struct RecordType: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }
    init(_ rawValue: UInt16) { self.rawValue = rawValue }

    package static let a = RecordType(1)
    package static let cname = RecordType(5)
    package static let ptr = RecordType(12)
    package static let aaaa = RecordType(28)
    /// The pseudo record of EDNS: RFC 6891.
    package static let opt = RecordType(41)
    package static let any = RecordType(255)
  }

  package enum Outcome: UInt8, Sendable {
    case noError = 0, formatError, serverFailure, noSuchName, notImplemented, refused
  }

  /// A record of an answer; `data` is where its data lies in the message.
  struct Record {
    var name: DomainName
    var type: RecordType
    var recordClass: UInt16
    var ttl: UInt32
    var data: Range<Int>
  }

  static let headerLength = 12
  private static let truncated: UInt8 = 0x02
  static let internet: UInt16 = 1

  /// `nil`: cut short, or not of exactly one question.
  package init?(_ bytes: [UInt8]) {
    guard bytes.count >= Self.headerLength, bytes.count <= 65535,
      bytes[4] == 0, bytes[5] == 1,
      let (name, end) = DomainName.read(from: bytes, at: Self.headerLength)
    else { return nil }
    var reader = MessageReader(bytes, end..<bytes.count)
    guard let type = reader.word16(), let recordClass = reader.word16() else { return nil }
    self.bytes = bytes
    question = Question(name: name, type: RecordType(type), recordClass: recordClass)
    questionEnd = reader.position
  }

  package var identifier: UInt16 { UInt16(bytes[0]) &<< 8 | UInt16(bytes[1]) }
  package var isResponse: Bool { bytes[2] & 0x80 != 0 }
  package var operation: UInt8 { bytes[2] &>> 3 & 0xf }
  package var isTruncated: Bool { Self.isTruncated(bytes) }
  /// Whether a message of at least a header is marked as cut short.
  static func isTruncated(_ bytes: [UInt8]) -> Bool { bytes[2] & truncated != 0 }
  package var outcome: UInt8 { bytes[3] & 0xf }

  /// The question as it stands in the message, letter by letter.
  var questionBytes: ArraySlice<UInt8> { bytes[Self.headerLength..<questionEnd] }

  /// The message under another number.
  func numbered(_ identifier: UInt16) -> [UInt8] {
    var result = bytes
    result[0] = UInt8(truncatingIfNeeded: identifier &>> 8)
    result[1] = UInt8(truncatingIfNeeded: identifier)
    return result
  }

  /// The records of the answer section; `nil`: they do not lie in the message as they say.
  func answers() -> [Record]? { records(count(6)) }

  /// How many records a section has, by where the header says so.
  private func count(_ place: Int) -> Int {
    Int(UInt16(bytes[place]) &<< 8 | UInt16(bytes[place + 1]))
  }

  private func records(_ count: Int) -> [Record]? {
    var records: [Record] = []
    var position = questionEnd
    for _ in 0..<count {
      guard let (name, end) = DomainName.read(from: bytes, at: position) else { return nil }
      var reader = MessageReader(bytes, end..<bytes.count)
      guard let type = reader.word16(), let recordClass = reader.word16(),
        let ttl = reader.word32(), let length = reader.word16()
      else { return nil }
      let start = reader.position
      guard reader.skip(Int(length)) else { return nil }
      position = reader.position
      records.append(
        Record(
          name: name, type: RecordType(type), recordClass: recordClass,
          // RFC 2181 8: a number with its highest bit set is zero.
          ttl: ttl &>> 31 == 0 ? ttl : 0, data: start..<position))
    }
    return records
  }
}

// MARK: - Extensions

extension DNSMessage {
  /// What a question says of whoever asks: RFC 6891 §6.1.
  struct Extensions: Sendable {
    /// Bytes of the longest datagram that is taken.
    var datagramLimit: Int
    /// DNSSEC OK: RFC 3225 §3. An answer repeats it.
    var isSecurityAware: Bool

    /// The record of an answer, which takes no longer datagrams than a question may be.
    var record: [UInt8] {
      [0, 0, UInt8(RecordType.opt.rawValue)]
        + [UInt8(NameServer.longestDatagram >> 8), UInt8(NameServer.longestDatagram & 0xff)]
        + [0, 0, isSecurityAware ? 0x80 : 0, 0, 0, 0]
    }
  }

  /// `nil`: there are none, or they are not where they should be.
  var extensions: Extensions? {
    guard count(10) > 0, let records = records(count(6) + count(8) + count(10)),
      let record = records.suffix(count(10)).first(where: {
        $0.type == .opt && $0.name.labels.isEmpty
      })
    else { return nil }
    return Extensions(
      datagramLimit: Int(record.recordClass),
      isSecurityAware: bytes[record.data.lowerBound - 4] & 0x80 != 0)
  }

  /// RFC 1035 §4.2.1: what everybody takes.
  static let shortestLimit = 512
  /// How long the answer to this question may be, as a datagram.
  var answerLimit: Int { max(Self.shortestLimit, extensions?.datagramLimit ?? 0) }

  /// An answer to this question without its records, marked as cut short: whoever asked asks again by TCP (RFC 2181
  /// §9, RFC 6891 §7).
  func cut(_ answer: [UInt8]) -> [UInt8] {
    let extensions = extensions
    var result = Array(answer[..<4])
    result[2] |= Self.truncated
    result += [0, 1, 0, 0, 0, 0, 0, extensions == nil ? 0 : 1]
    result += questionBytes
    result += extensions?.record ?? []
    return result
  }
}

// MARK: - Answers of our own

extension DNSMessage {
  /// An answer with the question and records of its name, or with none.
  func answer(_ outcome: Outcome, _ records: [[UInt8]] = [], ttl: UInt32 = 60) -> [UInt8] {
    let isResponse: UInt8 = 0x80
    let isAuthoritative: UInt8 = outcome == .refused || outcome == .serverFailure ? 0 : 0x04
    let recursionDesired = bytes[2] & 0x01
    var result = Array(bytes[..<2])
    result += [
      isResponse | operation &<< 3 | isAuthoritative | recursionDesired,
      0x80 | outcome.rawValue,  // recursion available
    ]
    result.append(bigEndian: 1 as UInt16)
    result.append(bigEndian: UInt16(clamping: records.count))
    let extensions = extensions
    result.append(bigEndian: extensions == nil ? 0 : 1 as UInt32)
    result += questionBytes
    for data in records {
      result += [0xc0, UInt8(Self.headerLength)]  // the question's name
      result.append(bigEndian: question.type.rawValue)
      result.append(bigEndian: question.recordClass)
      result.append(bigEndian: ttl)
      result.append(bigEndian: UInt16(clamping: data.count))
      result += data
    }
    result += extensions?.record ?? []
    return result
  }

  /// An answer to what is not even a question: the header alone. `nil`: to an answer, or to less than a header.
  static func complaint(to bytes: [UInt8], _ outcome: Outcome) -> [UInt8]? {
    guard bytes.count >= headerLength, bytes[2] & 0x80 == 0 else { return nil }
    return [bytes[0], bytes[1], 0x80 | bytes[2] & 0x79, outcome.rawValue]
      + [UInt8](repeating: 0, count: 8)
  }
}
