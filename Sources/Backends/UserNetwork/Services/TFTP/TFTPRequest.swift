/// A request to read a file, and the answers that are no data.
///
/// - SeeAlso: RFC 1350 §5 "TFTP Packets"; RFC 2347 "TFTP Option Extension".
struct TFTPRequest {
  var path: [UInt8]
  var mode: Mode
  var options = Options()

  enum Mode: Sendable { case octet, netASCII }

  /// What was asked for; each as it may be granted.
  struct Options: Sendable, Equatable {
    /// RFC 2348: bytes in a block.
    var blockSize: Int?
    /// RFC 7440: blocks that are sent before an acknowledgement.
    var windowSize: Int?
    /// RFC 2349: seconds before something is sent again.
    var timeout: Int?
    /// RFC 2349: how long the file is.
    var wantsSize = false
    /// In the order in which they came, for the answer.
    var names: [Name] = []

    enum Name: String, Sendable { case blksize, windowsize, timeout, tsize }
  }

  enum Operation: UInt16 { case read = 1, write, data, acknowledge, error, options }

  enum Failure: UInt16 {
    case undefined = 0
    case notFound, accessViolation, diskFull, illegalOperation, unknownTransfer
    case refusedOptions = 8
  }

  /// The bytes behind the operation; `nil`: not the strings that there have to be.
  init?(_ body: [UInt8]) {
    var reader = MessageReader(body)
    guard let path = reader.takeUntilZero(), !path.isEmpty, let mode = reader.takeUntilZero()
    else { return nil }
    self.path = path
    switch Self.lowered(mode) {
    case "octet": self.mode = .octet
    case "netascii": self.mode = .netASCII
    default: return nil
    }
    // Options that are unknown, cut short or out of range are as good as not sent.
    while let name = reader.takeUntilZero(), let value = reader.takeUntilZero() {
      guard options.names.count < 8, let name = Options.Name(rawValue: Self.lowered(name)),
        !options.names.contains(name), let number = Self.number(value)
      else { continue }
      switch name {
      case .blksize where (8...65464).contains(number): options.blockSize = number
      case .windowsize where (1...65535).contains(number): options.windowSize = number
      case .timeout where (1...255).contains(number): options.timeout = number
      case .tsize: options.wantsSize = true
      default: continue
      }
      options.names.append(name)
    }
  }

  private static func lowered(_ text: [UInt8]) -> String {
    String(decoding: text.prefix(32), as: UTF8.self).lowercased()
  }

  private static func number(_ text: [UInt8]) -> Int? {
    guard (1...10).contains(text.count), text.allSatisfy({ (0x30...0x39).contains($0) }) else {
      return nil
    }
    return text.reduce(0) { $0 * 10 + Int($1 - 0x30) }
  }

  static func error(_ failure: Failure, _ text: String) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.append(bigEndian: Operation.error.rawValue)
    bytes.append(bigEndian: failure.rawValue)
    return bytes + text.utf8 + [0]
  }
}
