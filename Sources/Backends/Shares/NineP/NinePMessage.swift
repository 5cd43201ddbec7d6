import HostOS

/// What a 9P request asks for. The answer's type is the next number, or `Rlerror`'s.
///
/// - SeeAlso: diod `protocol.md`, "9P2000.L Operations" and the sections before it; Linux `include/net/9p/9p.h`,
///   `enum p9_msg_t`.
struct NinePType: RawRepresentable, Hashable, Sendable {
  let rawValue: UInt8

  static let errorAnswer = NinePType(rawValue: 7)
  static let fileSystem = NinePType(rawValue: 8)
  static let open = NinePType(rawValue: 12)
  static let create = NinePType(rawValue: 14)
  static let symbolicLink = NinePType(rawValue: 16)
  static let makeNode = NinePType(rawValue: 18)
  static let rename = NinePType(rawValue: 20)
  static let readLink = NinePType(rawValue: 22)
  static let getAttributes = NinePType(rawValue: 24)
  static let setAttributes = NinePType(rawValue: 26)
  static let walkToAttribute = NinePType(rawValue: 30)
  static let createAttribute = NinePType(rawValue: 32)
  static let readDirectory = NinePType(rawValue: 40)
  static let sync = NinePType(rawValue: 50)
  static let lock = NinePType(rawValue: 52)
  static let getLock = NinePType(rawValue: 54)
  static let link = NinePType(rawValue: 70)
  static let makeDirectory = NinePType(rawValue: 72)
  static let renameAt = NinePType(rawValue: 74)
  static let unlinkAt = NinePType(rawValue: 76)
  static let version = NinePType(rawValue: 100)
  static let authenticate = NinePType(rawValue: 102)
  static let attach = NinePType(rawValue: 104)
  static let flush = NinePType(rawValue: 108)
  static let walk = NinePType(rawValue: 110)
  static let read = NinePType(rawValue: 116)
  static let write = NinePType(rawValue: 118)
  static let clunk = NinePType(rawValue: 120)
  static let remove = NinePType(rawValue: 122)

  /// The size of the answer's body, where it is known beforehand: without room for it nothing is done.
  var answerSize: Int {
    switch self {
    case .open, .create: 17
    case .symbolicLink, .makeNode, .makeDirectory, .attach: 13
    case .getAttributes: 153
    case .fileSystem: 60
    case .walkToAttribute: 8
    case .read, .write, .readDirectory: 4
    case .lock: 1
    default: 0
    }
  }
}

enum NinePLayout {
  /// `size[4] type[1] tag[2]`
  static let header = 7
  static let errorAnswer = 11
  static let qid = 13
  /// The most elements that one walk takes: `P9_MAXWELEM`.
  static let mostNames = 16
  /// No fid, and no user.
  static let none = UInt32.max
}

/// A request: its header, and the rest of it to be read.
struct NinePCall {
  let type: NinePType
  let tag: UInt16
  var body: WireReader
  /// How long the answer's body may be.
  var room: Int

  /// `nil` if there is no header: then nobody can be answered.
  init?(_ request: [UInt8], room: Int) {
    var header = WireReader(request)
    guard let size = try? header.number(UInt32.self), let type = try? header.number(UInt8.self),
      let tag = try? header.number(UInt16.self)
    else { return nil }
    self.type = NinePType(rawValue: type)
    self.tag = tag
    self.size = Int(size)
    isWhole = Int(size) >= NinePLayout.header && Int(size) <= request.count
    body = WireReader(request, from: NinePLayout.header, to: isWhole ? Int(size) : 0)
    self.room = max(0, room - NinePLayout.header)
  }

  /// Whether as much came as the header says.
  let isWhole: Bool
  /// The length of the message, as its header says.
  let size: Int

  mutating func fid() throws(LinuxError) -> UInt32 { try body.number() }

  /// The name of a directory's entry, next in the body.
  mutating func name() throws(LinuxError) -> HostName {
    try HostName(checking: try body.countedString())
  }
}
