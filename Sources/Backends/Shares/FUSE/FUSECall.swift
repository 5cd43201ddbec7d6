import HostOS

/// What a request asks for.
///
/// - SeeAlso: Linux `include/uapi/linux/fuse.h` (7.38), `enum fuse_opcode`; VIRTIO 1.3 §5.11 "File System Device".
struct FUSEOpcode: RawRepresentable, Hashable, Sendable {
  let rawValue: UInt32

  static let lookUp = FUSEOpcode(rawValue: 1)
  static let forget = FUSEOpcode(rawValue: 2)
  static let getAttributes = FUSEOpcode(rawValue: 3)
  static let setAttributes = FUSEOpcode(rawValue: 4)
  static let readLink = FUSEOpcode(rawValue: 5)
  static let symbolicLink = FUSEOpcode(rawValue: 6)
  static let makeNode = FUSEOpcode(rawValue: 8)
  static let makeDirectory = FUSEOpcode(rawValue: 9)
  static let unlink = FUSEOpcode(rawValue: 10)
  static let removeDirectory = FUSEOpcode(rawValue: 11)
  static let rename = FUSEOpcode(rawValue: 12)
  static let link = FUSEOpcode(rawValue: 13)
  static let open = FUSEOpcode(rawValue: 14)
  static let read = FUSEOpcode(rawValue: 15)
  static let write = FUSEOpcode(rawValue: 16)
  static let fileSystem = FUSEOpcode(rawValue: 17)
  static let release = FUSEOpcode(rawValue: 18)
  static let sync = FUSEOpcode(rawValue: 20)
  static let setAttribute = FUSEOpcode(rawValue: 21)
  static let getAttribute = FUSEOpcode(rawValue: 22)
  static let listAttributes = FUSEOpcode(rawValue: 23)
  static let removeAttribute = FUSEOpcode(rawValue: 24)
  static let flush = FUSEOpcode(rawValue: 25)
  static let initialise = FUSEOpcode(rawValue: 26)
  static let openDirectory = FUSEOpcode(rawValue: 27)
  static let readDirectory = FUSEOpcode(rawValue: 28)
  static let releaseDirectory = FUSEOpcode(rawValue: 29)
  static let syncDirectory = FUSEOpcode(rawValue: 30)
  static let getLock = FUSEOpcode(rawValue: 31)
  static let setLock = FUSEOpcode(rawValue: 32)
  static let setLockAndWait = FUSEOpcode(rawValue: 33)
  static let access = FUSEOpcode(rawValue: 34)
  static let create = FUSEOpcode(rawValue: 35)
  static let interrupt = FUSEOpcode(rawValue: 36)
  static let destroy = FUSEOpcode(rawValue: 38)
  static let forgetMany = FUSEOpcode(rawValue: 42)
  static let allocate = FUSEOpcode(rawValue: 43)
  static let readDirectoryPlus = FUSEOpcode(rawValue: 44)
  static let renameWithRule = FUSEOpcode(rawValue: 45)
  static let seek = FUSEOpcode(rawValue: 46)
  static let copyRange = FUSEOpcode(rawValue: 47)

  /// Whether the guest waits for no answer.
  var isSilent: Bool { self == .forget || self == .forgetMany || self == .interrupt }

  /// The size of the answer's body, where it is known beforehand: without room for it nothing is done.
  var answerSize: Int {
    switch self {
    case .lookUp, .symbolicLink, .makeNode, .makeDirectory, .link: FUSELayout.entry
    case .getAttributes, .setAttributes: FUSELayout.attributesAnswer
    case .create: FUSELayout.entry + 16
    case .open, .openDirectory: 16
    case .write, .copyRange, .seek: 8
    case .fileSystem: 80
    case .getLock: 24
    case .initialise: 64
    default: 0
    }
  }
}

/// Sizes that more than one message shares.
enum FUSELayout {
  /// `struct fuse_in_header`.
  static let header = 40
  /// `struct fuse_out_header`.
  static let answerHeader = 16
  /// `struct fuse_entry_out`.
  static let entry = 128
  /// `struct fuse_attr_out`.
  static let attributesAnswer = 104
}

/// A request: its header, and the rest of it to be read.
struct FUSECall {
  let opcode: FUSEOpcode
  let unique: UInt64
  let node: UInt64
  let caller: SharedTree.Caller
  var body: WireReader
  /// How long the answer's body may be.
  let room: Int

  /// `nil` if there is no header: then nobody can be answered.
  init?(_ request: [UInt8], room: Int) {
    guard request.count >= FUSELayout.header else { return nil }
    var header = WireReader(request)
    guard let length = try? header.number(UInt32.self),
      let opcode = try? header.number(UInt32.self), let unique = try? header.number(UInt64.self),
      let node = try? header.number(UInt64.self), let user = try? header.number(UInt32.self),
      let group = try? header.number(UInt32.self)
    else { return nil }
    self.opcode = FUSEOpcode(rawValue: opcode)
    self.unique = unique
    self.node = node
    caller = SharedTree.Caller(user: user, group: group)
    // A length beyond what came leaves less to read, and so the request is invalid.
    let whole = Int(length) >= FUSELayout.header && Int(length) <= request.count
    body = WireReader(request, from: FUSELayout.header, to: whole ? Int(length) : 0)
    isWhole = whole
    self.room = max(0, room - FUSELayout.answerHeader)
  }

  /// Whether as much came as the header says.
  let isWhole: Bool

  /// The name of a directory's entry, next in the body.
  mutating func name() throws(LinuxError) -> HostName {
    try HostName(checking: try body.terminatedString())
  }
}
