import Shares

/// A 9P client for tests: what a guest's kernel sends, without its caches.
final class NinePClient {
  let server: NinePServer
  static let none = UInt32.max

  init(_ server: NinePServer, begins: Bool = true) {
    self.server = server
    if begins {
      _ = try! call(100, n4(1 << 17) + s("9P2000.L"))
      _ = try! call(104, n4(0) + n4(NinePClient.none) + s("root") + s("") + n4(0))
    }
  }

  struct Refusal: Error, Equatable { var code: Int32 }

  func frame(_ type: UInt8, _ body: Bytes, tag: UInt16 = 1) -> [UInt8] {
    (n4(UInt32(7 + body.all.count)) + n1(type) + n2(tag) + body).all
  }

  /// The answer's body.
  @discardableResult
  func call(_ type: UInt8, _ body: Bytes, room: Int = 1 << 17) throws(Refusal) -> [UInt8] {
    let answer = server.answer(frame(type, body), room: room)
    precondition(answer.count >= 7 && answer.number(0, 4) == answer.count && answer.count <= room)
    precondition(answer.number(5, 2) == 1)
    if answer[4] == 7 { throw Refusal(code: Int32(answer.number(7, 4))) }
    precondition(answer[4] == type + 1)
    return Array(answer.dropFirst(7))
  }

  @discardableResult
  func walk(_ names: [String], from fid: UInt32 = 0, to new: UInt32) throws(Refusal) -> Int {
    let body = names.reduce(n4(fid) + n4(new) + n2(UInt16(names.count))) { $0 + s($1) }
    return Int(try call(110, body).number(0, 2))
  }

  func clunk(_ fid: UInt32) throws(Refusal) { try call(120, n4(fid)) }

  func open(_ fid: UInt32, flags: UInt32 = 0) throws(Refusal) { try call(12, n4(fid) + n4(flags)) }

  func create(_ name: String, at fid: UInt32, flags: UInt32 = 2, mode: UInt32 = 0o644)
    throws(Refusal)
  {
    try call(14, n4(fid) + s(name) + n4(flags) + n4(mode) + n4(0))
  }

  func makeDirectory(_ name: String, in fid: UInt32 = 0) throws(Refusal) {
    try call(72, n4(fid) + s(name) + n4(0o755) + n4(0))
  }

  func read(_ fid: UInt32, _ count: UInt32, at offset: UInt64 = 0) throws(Refusal) -> [UInt8] {
    let answer = try call(116, n4(fid) + n8(offset) + n4(count))
    precondition(answer.count == 4 + Int(answer.number(0, 4)))
    return Array(answer.dropFirst(4))
  }

  @discardableResult
  func write(_ fid: UInt32, _ bytes: [UInt8], at offset: UInt64 = 0) throws(Refusal) -> Int {
    Int(
      try call(118, n4(fid) + n8(offset) + n4(UInt32(bytes.count)) + raw(bytes)).number(0, 4))
  }

  struct Attributes {
    var inode, size, links: UInt64
    var mode, user, group: UInt32
    var modified: UInt64
  }

  func attributes(_ fid: UInt32) throws(Refusal) -> Attributes {
    let answer = try call(24, n4(fid) + n8(0x7ff))
    return Attributes(
      inode: answer.number(13, 8), size: answer.number(49, 8), links: answer.number(33, 8),
      mode: UInt32(answer.number(21, 4)), user: UInt32(answer.number(25, 4)),
      group: UInt32(answer.number(29, 4)), modified: answer.number(89, 8))
  }

  func setAttributes(
    _ fid: UInt32, valid: UInt32, mode: UInt32 = 0, user: UInt32 = 0, group: UInt32 = 0,
    size: UInt64 = 0, modified: UInt64 = 0
  ) throws(Refusal) {
    let head = n4(fid) + n4(valid) + n4(mode) + n4(user) + n4(group) + n8(size)
    try call(26, head + n8(0) + n8(0) + n8(modified) + n8(0))
  }

  /// All names of an open directory, in as many requests as it takes, and where each goes on.
  func names(_ fid: UInt32, count: UInt32 = 4096) throws(Refusal) -> [(name: String, next: UInt64)]
  {
    var names: [(name: String, next: UInt64)] = []
    var cookie: UInt64 = 0
    while true {
      let part = try list(fid, from: cookie, count: count)
      guard let last = part.last else { return names }
      names += part
      cookie = last.next
    }
  }

  func list(_ fid: UInt32, from cookie: UInt64, count: UInt32 = 4096) throws(Refusal)
    -> [(name: String, next: UInt64)]
  {
    var rest = Array(try call(40, n4(fid) + n8(cookie) + n4(count)).dropFirst(4))
    var names: [(name: String, next: UInt64)] = []
    while !rest.isEmpty {
      let length = Int(rest.number(22, 2))
      names.append(
        (String(decoding: rest[24..<24 + length], as: UTF8.self), rest.number(13, 8)))
      rest = Array(rest.dropFirst(24 + length))
    }
    return names
  }
}
