import Shares

/// A FUSE client for tests: what a guest's kernel sends, without its caches.
final class FUSEClient {
  let server: FUSEServer
  private var unique: UInt64 = 0
  var user: UInt32 = 0
  var group: UInt32 = 0
  static let root: UInt64 = 1

  init(_ server: FUSEServer, begins: Bool = true) {
    self.server = server
    if begins { _ = try! initialise() }
  }

  func frame(_ opcode: UInt32, _ node: UInt64, _ body: Bytes) -> [UInt8] {
    unique += 1
    let length = UInt32(40 + body.all.count)
    return
      (n4(length) + n4(opcode) + n8(unique) + n8(node) + n4(user) + n4(group) + n4(1) + n4(0)
      + body).all
  }

  /// The answer's body.
  @discardableResult
  func call(_ opcode: UInt32, _ node: UInt64, _ body: Bytes = Bytes(), room: Int = 1 << 17)
    throws(Refusal) -> [UInt8]
  {
    let answer = server.answer(frame(opcode, node, body), room: room)
    precondition(answer.count >= 16 && answer.number(0, 4) == answer.count)
    precondition(answer.number(8, 8) == unique && answer.count <= room)
    let error = Int32(bitPattern: UInt32(answer.number(4, 4)))
    guard error == 0 else { throw Refusal(code: -error) }
    return Array(answer.dropFirst(16))
  }

  struct Refusal: Error, Equatable { var code: Int32 }

  struct Entry {
    var node: UInt64
    var attributes: Attributes
    init(_ bytes: [UInt8]) {
      node = bytes.number(0, 8)
      attributes = Attributes(Array(bytes[40..<128]))
    }
  }

  struct Attributes: Equatable {
    var inode, size: UInt64
    var mode, links, user, group: UInt32
    var modified: UInt64
    init(_ bytes: [UInt8]) {
      inode = bytes.number(0, 8)
      size = bytes.number(8, 8)
      modified = bytes.number(32, 8)
      mode = UInt32(bytes.number(60, 4))
      links = UInt32(bytes.number(64, 4))
      user = UInt32(bytes.number(68, 4))
      group = UInt32(bytes.number(72, 4))
    }
  }

  struct ListedName: Equatable {
    var name: String
    var next: UInt64
    var node: UInt64
  }

  @discardableResult
  func initialise(minor: UInt32 = 38, flags: UInt32 = 0xffff_ffff) throws(Refusal) -> [UInt8] {
    try call(
      26, 0, n4(7) + n4(minor) + n4(1 << 20) + n4(flags) + raw(Array(repeating: 0, count: 48)))
  }

  func lookUp(_ name: String, in node: UInt64 = root) throws(Refusal) -> Entry {
    Entry(try call(1, node, z(name)))
  }

  func forget(_ node: UInt64, _ count: UInt64 = 1) {
    precondition(server.answer(frame(2, node, n8(count)), room: 0).isEmpty)
  }

  func attributes(_ node: UInt64) throws(Refusal) -> Attributes {
    Attributes(Array(try call(3, node, raw(Array(repeating: 0, count: 16))).dropFirst(16)))
  }

  /// `struct fuse_setattr_in` with what `valid` says.
  @discardableResult
  func setAttributes(
    _ node: UInt64, valid: UInt32, size: UInt64 = 0, mode: UInt32 = 0, user: UInt32 = 0,
    group: UInt32 = 0, handle: UInt64 = 0, modified: UInt64 = 0
  ) throws(Refusal) -> Attributes {
    let body =
      n4(valid) + n4(0) + n8(handle) + n8(size) + n8(0) + n8(0) + n8(modified) + n8(0) + n4(0)
      + n4(0) + n4(0) + n4(mode) + n4(0) + n4(user) + n4(group) + n4(0)
    return Attributes(Array(try call(4, node, body).dropFirst(16)))
  }

  func create(_ name: String, in node: UInt64 = root, mode: UInt32 = 0o644, flags: UInt32 = 2)
    throws(Refusal) -> (entry: Entry, handle: UInt64)
  {
    let answer = try call(35, node, n4(flags) + n4(mode) + n4(0) + n4(0) + z(name))
    return (Entry(answer), answer.number(128, 8))
  }

  func makeDirectory(_ name: String, in node: UInt64 = root) throws(Refusal) -> Entry {
    Entry(try call(9, node, n4(0o755) + n4(0) + z(name)))
  }

  func open(_ node: UInt64, flags: UInt32 = 0) throws(Refusal) -> UInt64 {
    try call(14, node, n4(flags) + n4(0)).number(0, 8)
  }

  func read(_ handle: UInt64, _ count: UInt32, at offset: UInt64 = 0) throws(Refusal) -> [UInt8] {
    try call(15, 1, n8(handle) + n8(offset) + n4(count) + raw(Array(repeating: 0, count: 20)))
  }

  @discardableResult
  func write(_ handle: UInt64, _ bytes: [UInt8], at offset: UInt64 = 0) throws(Refusal) -> Int {
    let head = n8(handle) + n8(offset) + n4(UInt32(bytes.count))
    return Int(
      try call(16, 1, head + raw(Array(repeating: 0, count: 20)) + raw(bytes)).number(0, 4))
  }

  func release(_ handle: UInt64, isDirectory: Bool = false) throws(Refusal) {
    try call(isDirectory ? 29 : 18, 1, n8(handle) + raw(Array(repeating: 0, count: 16)))
  }

  func openDirectory(_ node: UInt64 = root) throws(Refusal) -> UInt64 {
    try call(27, node, n4(0) + n4(0)).number(0, 8)
  }

  /// One request's entries.
  func list(_ handle: UInt64, from cookie: UInt64, plus: Bool = false, size: UInt32 = 4096)
    throws(Refusal) -> [ListedName]
  {
    let bytes = try call(
      plus ? 44 : 28, 1, n8(handle) + n8(cookie) + n4(size) + raw(Array(repeating: 0, count: 20)))
    var names: [ListedName] = []
    var rest = bytes
    while !rest.isEmpty {
      var node: UInt64 = 0
      if plus {
        node = rest.number(0, 8)
        rest = Array(rest.dropFirst(128))
      }
      let length = Int(rest.number(16, 4))
      names.append(
        ListedName(
          name: String(decoding: rest[24..<24 + length], as: UTF8.self), next: rest.number(8, 8),
          node: node))
      rest = Array(rest.dropFirst((24 + length + 7) & ~7))
    }
    return names
  }

  /// All names of a directory, in as many requests as it takes.
  func names(_ handle: UInt64, plus: Bool = false) throws(Refusal) -> [String] {
    var names: [String] = []
    var cookie: UInt64 = 0
    while case let part = try list(handle, from: cookie, plus: plus), let last = part.last {
      names += part.map(\.name)
      cookie = last.next
    }
    return names
  }
}
