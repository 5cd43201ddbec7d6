import HostOS
import Work

/// One file on its way to the guest: a value, moved by acknowledgements and time.
///
/// - SeeAlso: RFC 1350 §6 "Normal Termination"; RFC 7440 §4 "Windowsize Negotiation", RFC 2349.
struct TFTPTransfer {
  let client: Endpoint
  /// The address that was asked, and the port that stands for this transfer.
  let server: Endpoint
  private let file: HostOpenFile
  private let blockSize: Int
  private let windowSize: Int
  /// Nanoseconds before something is sent again.
  private let timeout: UInt64
  private var text: NetASCII?

  /// Blocks that were sent and not acknowledged; the first has number `first`.
  private var window: [[UInt8]] = []
  private var first: UInt16 = 1
  /// What goes before all blocks, until it is acknowledged as block 0.
  private var greeting: [UInt8]?
  /// Where the file is read next.
  private var offset: UInt64 = 0
  private var hasRead = false
  private var failures = 0
  private(set) var deadline = VMInstant(nanoseconds: 0)

  enum Step {
    case send([[UInt8]])
    case wait
    case end([[UInt8]] = [])
  }

  static let mostFailures = 5
  private static let mostBlocks = 16
  private static let secondsOfPatience = 1

  /// `largestBlock`: what one packet holds.
  init(
    _ request: TFTPRequest, _ file: HostOpenFile, size: UInt64, client: Endpoint, server: Endpoint,
    largestBlock: Int
  ) {
    self.client = client
    self.server = server
    self.file = file
    let options = request.options
    let blockSize = min(options.blockSize ?? 512, max(512, largestBlock))
    let windowSize = min(options.windowSize ?? 1, Self.mostBlocks)
    self.blockSize = blockSize
    self.windowSize = windowSize
    timeout = UInt64(options.timeout ?? Self.secondsOfPatience) * 1_000_000_000
    text = request.mode == .netASCII ? NetASCII() : nil

    var granted: [UInt8] = []
    for name in options.names {
      let value: String
      switch name {
      case .blksize: value = String(blockSize)
      case .windowsize: value = String(windowSize)
      case .timeout: value = String(options.timeout ?? Self.secondsOfPatience)
      // How long a text becomes is known only once it was read.
      case .tsize where request.mode == .octet: value = String(size)
      case .tsize: continue
      }
      granted += Array(name.rawValue.utf8) + [0] + Array(value.utf8) + [0]
    }
    guard !granted.isEmpty else { return }
    var bytes: [UInt8] = []
    bytes.append(bigEndian: TFTPRequest.Operation.options.rawValue)
    greeting = bytes + granted
  }

  /// Whether everything was acknowledged.
  var isComplete: Bool { hasRead && window.isEmpty }

  /// What goes out first.
  mutating func start(_ now: VMInstant) -> Step {
    guard let greeting else { return advance(now) }
    setDeadline(now)
    return .send([greeting])
  }

  /// Block `number` has come, and all before it.
  mutating func acknowledged(_ number: UInt16, _ now: VMInstant) -> Step {
    if greeting != nil {
      guard number == 0 else { return .wait }
      greeting = nil
      failures = 0
      return advance(now)
    }
    // Numbers wrap. What lies outside the window was acknowledged before: answering it again would double everything
    // from then on (RFC 1123 4.2.3.1 "Sorcerer's Apprentice Syndrome").
    let count = Int(number &- first &+ 1)
    guard (1...max(1, window.count)).contains(count), count <= window.count else { return .wait }
    window.removeFirst(count)
    first = number &+ 1
    failures = 0
    if window.isEmpty, hasRead { return .end() }
    return advance(now)
  }

  /// Nothing has come in time.
  mutating func timedOut(_ now: VMInstant) -> Step {
    failures += 1
    guard failures < Self.mostFailures else { return .end() }
    setDeadline(now)
    return .send(greeting.map { [$0] } ?? packets())
  }

  private mutating func setDeadline(_ now: VMInstant) { deadline = now.advanced(by: timeout) }

  /// Fills the window and sends it. A block that is not full ends the file, and there is always one.
  private mutating func advance(_ now: VMInstant) -> Step {
    while window.count < windowSize, !hasRead {
      do throws(HostError) {
        let block = try read()
        hasRead = block.count < blockSize
        window.append(block)
      } catch {
        return .end([TFTPRequest.error(.undefined, "the file cannot be read")])
      }
    }
    setDeadline(now)
    return .send(packets())
  }

  private mutating func read() throws(HostError) -> [UInt8] {
    guard var text else {
      let block = try file.read(upTo: blockSize, at: offset)
      offset += UInt64(block.count)
      return block
    }
    while text.ready.count < blockSize {
      let part = try file.read(upTo: blockSize, at: offset)
      if part.isEmpty { break }
      offset += UInt64(part.count)
      text.take(part)
    }
    let block = Array(text.ready.prefix(blockSize))
    text.ready.removeFirst(block.count)
    self.text = text
    return block
  }

  private func packets() -> [[UInt8]] {
    window.enumerated().map { index, block in
      var bytes: [UInt8] = []
      bytes.reserveCapacity(block.count + 4)
      bytes.append(bigEndian: TFTPRequest.Operation.data.rawValue)
      bytes.append(bigEndian: first &+ UInt16(index))
      return bytes + block
    }
  }

  /// RFC 764 "NVT": a line ends in CR LF; a CR by itself is followed by a zero.
  private struct NetASCII {
    var ready: [UInt8] = []

    mutating func take(_ bytes: [UInt8]) {
      for byte in bytes {
        switch byte {
        case 0x0a: ready += [0x0d, 0x0a]
        case 0x0d: ready += [0x0d, 0]
        default: ready.append(byte)
        }
      }
    }
  }
}
