import Glibc
import Testing

@testable import Shares

// diod protocol.md, "9P2000.L Operations".
@Suite struct `The 9P server` {
  let folder = Folder()

  func client(_ change: (inout SharePlan) -> Void = { _ in }) throws -> NinePClient {
    var plan = SharePlan(path: folder.path)
    change(&plan)
    return NinePClient(try NinePServer(plan))
  }

  // "version -- negotiate protocol version"
  @Test func `speaks its dialect and no other`() throws {
    let client = NinePClient(try NinePServer(SharePlan(path: folder.path)), begins: false)
    #expect(throws: NinePClient.Refusal(code: EPROTO)) { try client.walk([], to: 1) }
    #expect(try client.call(100, n4(8192) + s("9P2000.u")) == (n4(8192) + s("unknown")).all)
    #expect(throws: NinePClient.Refusal(code: EPROTO)) { try client.walk([], to: 1) }
    let answer = try client.call(100, n4(.max) + s("9P2000.L"))
    #expect(answer == (n4(1 << 20) + s("9P2000.L")).all)
    #expect(throws: NinePClient.Refusal(code: EINVAL)) {
      try client.call(100, n4(4095) + s("9P2000.L"))
    }
    #expect(throws: NinePClient.Refusal(code: EOPNOTSUPP)) { try client.call(102, n4(1)) }
  }

  @Test func `forgets all fids when a session begins`() throws {
    let client = try client()
    _ = try client.call(100, n4(8192) + s("9P2000.L"))
    #expect(throws: NinePClient.Refusal(code: EBADF)) { try client.walk([], to: 1) }
  }

  @Test func `carries a file through its life`() throws {
    let client = try client()
    try client.walk([], to: 1)
    try client.create("a", at: 1, mode: 0o640)
    #expect(try client.write(1, Array("hello world".utf8)) == 11)
    #expect(try client.read(1, 100, at: 6) == Array("world".utf8))
    #expect(folder.read("a") == "hello world")
    try client.call(50, n4(1) + n4(1))
    #expect(try client.attributes(1).mode == 0o100640)
    try client.setAttributes(1, valid: 1 | 8 | 0x20 | 0x100, mode: 0o600, size: 5, modified: 77)
    let attributes = try client.attributes(1)
    #expect(attributes.size == 5 && attributes.mode == 0o100600 && attributes.modified == 77)
    #expect(attributes.inode == folder.status("a")!.st_ino)
    try client.clunk(1)
    // renameat, then rename and remove by the fid alone
    try client.call(74, n4(0) + s("a") + n4(0) + s("b"))
    try client.walk(["b"], to: 2)
    try client.call(20, n4(2) + n4(0) + s("c"))
    #expect(folder.read("c") == "hello")
    try client.call(122, n4(2))
    #expect(folder.status("c") == nil)
    #expect(throws: NinePClient.Refusal(code: EBADF)) { try client.clunk(2) }
  }

  @Test func `walks as far as it comes`() throws {
    folder.makeDirectory("d")
    folder.makeDirectory("d/e")
    folder.write("d/e/f", "deep")
    let client = try client()
    #expect(try client.walk(["d", "e", "f"], to: 1) == 3)
    try client.open(1)
    #expect(try client.read(1, 10) == Array("deep".utf8))
    // Only the first step's failure is an error; the fid is not made.
    #expect(try client.walk(["d", "x", "f"], to: 2) == 1)
    #expect(throws: NinePClient.Refusal(code: EBADF)) { try client.attributes(2) }
    #expect(throws: NinePClient.Refusal(code: ENOENT)) { try client.walk(["x"], to: 2) }
    #expect(throws: NinePClient.Refusal(code: EBADF)) { try client.walk(["d"], to: 1) }
    #expect(throws: NinePClient.Refusal(code: EINVAL)) { try client.walk(["x"], from: 1, to: 1) }
    #expect(throws: NinePClient.Refusal(code: EINVAL)) {
      try client.walk(Array(repeating: "d", count: 17), to: 2)
    }
    // In place
    try client.walk([], to: 3)
    #expect(try client.walk(["d"], from: 3, to: 3) == 1)
    #expect(try client.walk(["e"], from: 3, to: 3) == 1)
  }

  @Test(arguments: [".", "..", "", "a/b", "/", "../share", "nul\0"])
  func `refuses a name that is more than a name`(name: String) throws {
    let client = try client()
    #expect(throws: NinePClient.Refusal(code: EINVAL)) { try client.walk([name], to: 1) }
    #expect(throws: NinePClient.Refusal(code: EINVAL)) { try client.makeDirectory(name) }
    #expect(throws: NinePClient.Refusal(code: EINVAL)) {
      try client.call(76, n4(0) + s(name) + n4(0))
    }
    try client.walk([], to: 1)
    #expect(throws: NinePClient.Refusal(code: EINVAL)) { try client.create(name, at: 1) }
  }

  @Test func `keeps an unlinked file while a fid has it`() throws {
    let client = try client()
    try client.walk([], to: 1)
    try client.create("a", at: 1)
    try client.call(76, n4(0) + s("a") + n4(0))
    try client.write(1, [1, 2, 3])
    #expect(try client.read(1, 3) == [1, 2, 3])
    #expect(try client.attributes(1).links == 0)
    // It has no name by which it could be removed.
    #expect(throws: NinePClient.Refusal(code: ENOENT)) { try client.call(122, n4(1)) }
  }

  @Test func `removes by a fid only that fid's own file`() throws {
    folder.write("a", "A")
    let client = try client()
    try client.walk(["a"], to: 1)
    #expect(rename(folder("a"), folder("b")) == 0)
    folder.write("a", "another")
    #expect(throws: NinePClient.Refusal(code: ESTALE)) { try client.call(122, n4(1)) }
    #expect(folder.read("a") == "another" && folder.read("b") == "A")
  }

  @Test func `makes links, hard and symbolic, and follows none`() throws {
    folder.write("a", "A")
    let client = try client()
    try client.walk(["a"], to: 1)
    try client.call(70, n4(0) + n4(1) + s("b"))
    #expect(try client.attributes(1).links == 2)
    try client.call(16, n4(0) + s("link") + s("/etc/passwd") + n4(0))
    try client.walk(["link"], to: 2)
    #expect(try client.call(22, n4(2)) == s("/etc/passwd").all)
    #expect(throws: NinePClient.Refusal(code: ELOOP)) { try client.open(2) }
    #expect(throws: NinePClient.Refusal(code: ENOTDIR)) { try client.walk(["x"], from: 2, to: 3) }
  }

  @Test func `lists a directory of 10,000 files`() throws {
    folder.makeDirectory("big")
    for index in 0..<10_000 { folder.write("big/file\(index)", "") }
    let client = try client()
    try client.walk(["big"], to: 1)
    try client.open(1, flags: 0o200000)
    let names = try client.names(1)
    #expect(names.count == 10_002 && Set(names.map(\.name)).count == 10_002)
    let middle = names[5000]
    #expect(try client.list(1, from: middle.next).first?.name == names[5001].name)
    #expect(try client.list(1, from: names[1].next).first?.name == names[2].name)
    #expect(throws: NinePClient.Refusal(code: EISDIR)) { try client.read(1, 10) }
    #expect(throws: NinePClient.Refusal(code: EINVAL)) { try client.list(1, from: 0, count: 10) }
  }

  // "xattrwalk", "xattrcreate"
  @Test func `reads and writes user attributes`() throws {
    folder.write("a", "")
    let client = try client()
    try client.walk(["a"], to: 1)
    func set(_ name: String, _ value: String, _ flags: UInt32 = 0, size: UInt64? = nil) throws {
      try client.walk([], from: 1, to: 2)
      defer { try? client.clunk(2) }
      let value = Array(value.utf8)
      try client.call(32, n4(2) + s(name) + n8(size ?? UInt64(value.count)) + n4(flags))
      if !value.isEmpty { try client.write(2, value) }
      try client.clunk(2)
    }
    func get(_ name: String) throws -> String {
      let size = try client.call(30, n4(1) + n4(3) + s(name)).number(0, 8)
      defer { try! client.clunk(3) }
      let value = try client.read(3, 1000)
      #expect(value.count == Int(size))
      return String(decoding: value, as: UTF8.self)
    }
    try set("user.colour", "blue")
    try set("user.empty", "")
    #expect(try get("user.colour") == "blue" && get("user.empty") == "")
    #expect(Set(try get("").split(separator: "\0")) == ["user.colour", "user.empty"])
    #expect(throws: NinePClient.Refusal(code: EEXIST)) { try set("user.colour", "red", 1) }
    #expect(throws: NinePClient.Refusal(code: EINVAL)) { try set("user.colour", "red", size: 9) }
    #expect(throws: NinePClient.Refusal(code: ERANGE)) { try set("user.colour", "red", size: 1) }
    #expect(throws: NinePClient.Refusal(code: EOPNOTSUPP)) { try set("security.x", "red") }
    // Replaced by nothing: removed.
    try set("user.colour", "", 2)
    #expect(throws: NinePClient.Refusal(code: ENODATA)) { try get("user.colour") }
  }

  @Test func `keeps a bounded amount of attributes`() throws {
    folder.write("a", "")
    let client = try client()
    try client.walk(["a"], to: 1)
    var fid: UInt32 = 2
    #expect(throws: NinePClient.Refusal(code: ENOMEM)) {
      while fid < 1000 {
        try client.walk([], from: 1, to: fid)
        try client.call(32, n4(fid) + s("user.x") + n8(65_536) + n4(0))
        fid += 1
      }
    }
    #expect(fid == 2 + 64)
    // The fid that had no room is as it was.
    try client.open(fid)
  }

  @Test func `holds only as many files as it may`() throws {
    folder.write("a", "")
    let client = try client { $0.limit = 10 }
    #expect(throws: NinePClient.Refusal(code: ENFILE)) {
      for fid: UInt32 in 1...20 { try client.walk(["a"], to: fid) }
    }
    client.server.reset()
    #expect(folder.descriptors == 2)
  }

  // "lock", "getlock"
  @Test func `locks regions for each open file`() throws {
    folder.write("a", "")
    let client = try client()
    for fid: UInt32 in 1...2 {
      try client.walk(["a"], to: fid)
      try client.open(fid, flags: 2)
    }
    func lock(_ fid: UInt32, _ type: UInt8, _ start: UInt64, _ length: UInt64) throws -> UInt8 {
      try client.call(52, n4(fid) + n1(type) + n4(1) + n8(start) + n8(length) + n4(9) + s("guest"))[
        0]
    }
    #expect(try lock(1, 1, 10, 10) == 0)
    #expect(try lock(2, 0, 0, 0) == 1)
    let found = try client.call(54, n4(2) + n1(1) + n8(0) + n8(0) + n4(9) + s("guest"))
    #expect(found[0] == 1 && found.number(1, 8) == 10 && found.number(9, 8) == 10)
    #expect(try lock(1, 2, 0, 0) == 0)
    #expect(try lock(2, 0, 0, 0) == 0)
    #expect(throws: NinePClient.Refusal(code: EOVERFLOW)) { try lock(1, 1, 1 << 63, 1) }
    #expect(throws: NinePClient.Refusal(code: EINVAL)) { try lock(1, 3, 0, 1) }
  }

  @Test func `refuses every change of a read-only share`() throws {
    folder.write("a", "text")
    folder.makeDirectory("d")
    let client = try client { $0.isReadOnly = true }
    try client.walk(["a"], to: 1)
    let changes: [(UInt8, Bytes)] = [
      (72, n4(0) + s("x") + n4(0o755) + n4(0)), (18, n4(0) + s("x") + n4(0o100644) + n8(0) + n4(0)),
      (16, n4(0) + s("x") + s("y") + n4(0)), (76, n4(0) + s("a") + n4(0)),
      (76, n4(0) + s("d") + n4(0x200)), (74, n4(0) + s("a") + n4(0) + s("x")),
      (20, n4(1) + n4(0) + s("x")), (70, n4(0) + n4(1) + s("x")), (12, n4(1) + n4(1)),
      (12, n4(1) + n4(2)), (12, n4(1) + n4(0o1000)),
      (14, n4(0) + s("x") + n4(2) + n4(0o644) + n4(0)),
    ]
    for (type, body) in changes {
      #expect(throws: NinePClient.Refusal(code: EROFS)) { try client.call(type, body) }
    }
    for valid: UInt32 in [1, 2, 4, 8, 16, 32] {
      #expect(throws: NinePClient.Refusal(code: EROFS)) {
        try client.setAttributes(1, valid: valid)
      }
    }
    try client.call(32, n4(1) + s("user.x") + n8(1) + n4(0))
    try client.write(1, [1])
    #expect(throws: NinePClient.Refusal(code: EROFS)) { try client.clunk(1) }
    #expect(folder.read("a") == "text" && folder.status("x") == nil && folder.status("d") != nil)
  }

  @Test func `shows special files, opens none and makes no devices`() throws {
    #expect(mkfifo(folder("pipe"), 0o600) == 0)
    let client = try client()
    try client.walk(["pipe"], to: 1)
    #expect(try client.attributes(1).mode & 0o170000 == 0o010000)
    #expect(throws: NinePClient.Refusal(code: ENXIO)) { try client.open(1) }
    #expect(throws: NinePClient.Refusal(code: ENXIO)) { try client.open(1, flags: 1) }
    #expect(throws: NinePClient.Refusal(code: EPERM)) {
      try client.call(18, n4(0) + s("new") + n4(0o020666) + n4(1) + n4(3) + n4(0))
    }
    #expect(folder.status("new") == nil)
  }

  // "flush -- abort a message"
  @Test func `answers a flush of what is done, of itself and of nothing`() throws {
    let client = try client()
    for tag: UInt16 in [0, 1, 99] { try client.call(108, n2(tag)) }
  }

  @Test func `wakes a flush when the request before it is answered`() {
    var requests = NinePRequests()
    requests.begin(5)
    requests.begin(5)
    #expect(requests.wait(for: 6) == nil)
    let event = requests.wait(for: 5)
    #expect(event != nil)
    #expect(requests.end(5).isEmpty)
    #expect(requests.end(5).first === event)
    #expect(requests.wait(for: 5) == nil && requests.end(5).isEmpty)
  }

  @Test func `tells of the file system`() throws {
    let answer = try client().call(8, n4(0))
    #expect(answer.count == 60 && answer.number(4, 4) >= 512 && answer.number(56, 4) == 255)
  }
}
