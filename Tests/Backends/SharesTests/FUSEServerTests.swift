import Glibc
import Synchronization
import Testing

@testable import Shares

// Linux include/uapi/linux/fuse.h, 7.38.
@Suite struct `The FUSE server` {
  let folder = Folder()

  func server(_ change: (inout SharePlan) -> Void = { _ in }) throws -> FUSEServer {
    var plan = SharePlan(path: folder.path)
    change(&plan)
    return try FUSEServer(plan)
  }

  func client(_ change: (inout SharePlan) -> Void = { _ in }) throws -> FUSEClient {
    FUSEClient(try server(change))
  }

  // "INIT request/reply flags"
  @Test func `agrees on what it can do and no more`() throws {
    let client = FUSEClient(try server(), begins: false)
    #expect(throws: FUSEClient.Refusal(code: EIO)) { try client.lookUp("a") }
    let answer = try client.initialise()
    #expect(answer.count == 64)
    #expect(answer.number(0, 4) == 7 && answer.number(4, 4) == 38)
    // Big writes, plus listing, parallel directories, many pages; no locks, no write-back, no mapping, no sub-mounts.
    #expect(answer.number(12, 4) == 0x0044_7021)
    #expect(answer.number(20, 4) == 1 << 20 && answer.number(28, 2) == 256)
    #expect(throws: FUSEClient.Refusal(code: EPROTO)) { try client.initialise(minor: 30) }
    #expect(throws: FUSEClient.Refusal(code: ENOSYS)) { try client.call(48, 1) }
    #expect(throws: FUSEClient.Refusal(code: ENOSYS)) { try client.call(39, 1) }
  }

  @Test func `carries a file through its life`() throws {
    let client = try client()
    let (entry, handle) = try client.create("a", mode: 0o640)
    #expect(entry.attributes.mode == 0o100640 && entry.attributes.size == 0)
    #expect(try client.write(handle, Array("hello world".utf8)) == 11)
    #expect(try client.read(handle, 100, at: 6) == Array("world".utf8))
    #expect(try client.read(handle, 100, at: 11).isEmpty)
    #expect(folder.read("a") == "hello world")
    // fsync, flush
    try client.call(20, entry.node, n8(handle) + n4(1) + n4(0))
    try client.call(25, entry.node, n8(handle) + n4(0) + n4(0) + n8(0))
    let changed = try client.setAttributes(
      entry.node, valid: 1 | 8 | 32, size: 5, mode: 0o600, modified: 77)
    #expect(changed.size == 5 && changed.mode == 0o100600 && changed.modified == 77)
    #expect(folder.read("a") == "hello")
    try client.release(handle)
    #expect(throws: FUSEClient.Refusal(code: EBADF)) { try client.read(handle, 1) }
    try client.call(12, 1, n8(1) + z("a") + z("b"))
    #expect(try client.lookUp("b").node == entry.node)
    #expect(throws: FUSEClient.Refusal(code: ENOENT)) { try client.lookUp("a") }
    try client.call(10, 1, z("b"))
    #expect(folder.status("b") == nil)
    #expect(try client.attributes(entry.node).links == 0)
  }

  @Test func `keeps an unlinked file while it is open`() throws {
    let client = try client()
    let (entry, handle) = try client.create("a")
    try client.call(10, 1, z("a"))
    try client.write(handle, [1, 2, 3])
    #expect(try client.read(handle, 3) == [1, 2, 3])
    #expect(try client.setAttributes(entry.node, valid: 8 | 64, size: 1, handle: handle).size == 1)
    // It can even be opened again: a node is the file, not its name.
    #expect(try client.read(try client.open(entry.node), 3) == [1])
  }

  @Test func `renames over a file, refuses to, and exchanges`() throws {
    folder.write("a", "A")
    folder.write("b", "B")
    let client = try client()
    let a = try client.lookUp("a")
    #expect(throws: FUSEClient.Refusal(code: EEXIST)) {
      try client.call(45, 1, n8(1) + n4(1) + n4(0) + z("a") + z("b"))
    }
    try client.call(45, 1, n8(1) + n4(2) + n4(0) + z("a") + z("b"))
    #expect(folder.read("a") == "B" && folder.read("b") == "A")
    try client.call(12, 1, n8(1) + z("b") + z("a"))
    #expect(folder.read("a") == "A" && folder.status("b") == nil)
    #expect(try client.lookUp("a").node == a.node)
    // A whiteout would be a device.
    #expect(throws: FUSEClient.Refusal(code: EINVAL)) {
      try client.call(45, 1, n8(1) + n4(4) + n4(0) + z("a") + z("b"))
    }
  }

  @Test func `gives a hard link its file's node`() throws {
    let client = try client()
    let (entry, _) = try client.create("a")
    let link = FUSEClient.Entry(try client.call(13, 1, n8(entry.node) + z("b")))
    #expect(link.node == entry.node && link.attributes.links == 2)
    #expect(throws: FUSEClient.Refusal(code: EPERM)) {
      try client.call(13, 1, n8(1) + z("loop"))
    }
  }

  @Test func `makes and reads symbolic links, and follows none`() throws {
    let client = try client()
    let link = FUSEClient.Entry(try client.call(6, 1, z("link") + z("/etc/passwd")))
    #expect(link.attributes.mode & 0o170000 == 0o120000)
    #expect(try client.call(5, link.node) == Array("/etc/passwd".utf8))
    #expect(throws: FUSEClient.Refusal(code: ELOOP)) { try client.open(link.node) }
    #expect(throws: FUSEClient.Refusal(code: ENOTDIR)) {
      try client.lookUp("x", in: link.node)
    }
    // Not through a creation either.
    #expect(throws: FUSEClient.Refusal(code: ELOOP)) { try client.create("link") }
  }

  @Test func `makes and removes directories`() throws {
    let client = try client()
    let directory = try client.makeDirectory("d")
    #expect(directory.attributes.mode == 0o040755)
    _ = try client.create("f", in: directory.node)
    #expect(throws: FUSEClient.Refusal(code: ENOTEMPTY)) { try client.call(11, 1, z("d")) }
    try client.call(10, directory.node, z("f"))
    try client.call(11, 1, z("d"))
    #expect(folder.status("d") == nil)
    #expect(throws: FUSEClient.Refusal(code: EISDIR)) { try client.open(1) }
  }

  @Test(arguments: [false, true]) func `lists a directory of 10,000 files`(plus: Bool) throws {
    folder.makeDirectory("big")
    for index in 0..<10_000 { folder.write("big/file\(index)", "") }
    let client = try client { $0.limit = 20_000 }
    let handle = try client.openDirectory(try client.lookUp("big").node)
    let names = try client.names(handle, plus: plus)
    #expect(names.count == 10_002 && Set(names).count == 10_002)
    #expect(Set(names).isSuperset(of: [".", "..", "file0", "file9999"]))
    // A cookie leads to the same place again, however often and whenever.
    let first = try client.list(handle, from: 0)
    let second = try client.list(handle, from: first.last!.next)
    let middle = first[first.count / 2]
    let again = try client.list(handle, from: middle.next)
    #expect(again.first == first[first.count / 2 + 1])
    #expect(try client.list(handle, from: first.last!.next) == second)
    try client.release(handle, isDirectory: true)
  }

  @Test func `counts how often it told of a node`() throws {
    folder.write("a", "")
    let client = try client()
    let node = try client.lookUp("a").node
    #expect(try client.lookUp("a").node == node)
    let listing = try client.openDirectory()
    #expect(try client.list(listing, from: 0, plus: true).first { $0.name == "a" }?.node == node)
    #expect(client.server.table.withLock { $0.nodes[node]?.lookups } == 3)
    client.forget(node, 2)
    _ = try client.attributes(node)
    // FUSE_BATCH_FORGET
    let many = n4(2) + n4(0) + n8(node) + n8(1) + n8(99) + n8(1)
    #expect(client.server.answer(client.frame(42, 0, many), room: 0).isEmpty)
    #expect(throws: FUSEClient.Refusal(code: ESTALE)) { try client.attributes(node) }
    client.forget(1, .max)
    _ = try client.attributes(1)
    #expect(try client.lookUp("a").node != node)
  }

  @Test func `holds only as many files as it may`() throws {
    let client = try client { $0.limit = 10 }
    for index in 0..<9 { folder.write("f\(index)", "") }
    let nodes = try (0..<9).map { try client.lookUp("f\($0)").node }
    folder.write("g", "")
    #expect(throws: FUSEClient.Refusal(code: ENFILE)) { try client.lookUp("g") }
    #expect(throws: FUSEClient.Refusal(code: ENFILE)) { try client.open(nodes[0]) }
    #expect(throws: FUSEClient.Refusal(code: ENFILE)) { try client.create("h") }
    #expect(folder.status("h") == nil)
    client.forget(nodes[3])
    _ = try client.lookUp("g")
    client.server.reset()
    #expect(folder.descriptors == 2)  // The directory, and its node.
  }

  @Test func `finds data and holes, makes and fills them`() throws {
    let client = try client()
    let (entry, handle) = try client.create("sparse")
    try client.write(handle, Array(repeating: 1, count: 4096), at: 1 << 20)
    func seek(_ offset: UInt64, _ whence: UInt32) throws -> UInt64 {
      try client.call(46, entry.node, n8(handle) + n8(offset) + n4(whence) + n4(0)).number(0, 8)
    }
    #expect(try seek(0, 3) == 1 << 20)
    #expect(try seek(1 << 20, 4) == (1 << 20) + 4096)
    #expect(throws: FUSEClient.Refusal(code: ENXIO)) { try seek(2 << 20, 3) }
    #expect(throws: FUSEClient.Refusal(code: EINVAL)) { try seek(0, 0) }
    func allocate(_ mode: UInt32, _ offset: UInt64, _ length: UInt64) throws {
      try client.call(43, entry.node, n8(handle) + n8(offset) + n8(length) + n4(mode) + n4(0))
    }
    try allocate(3, 1 << 20, 4096)
    #expect(try client.read(handle, 4096, at: 1 << 20) == Array(repeating: 0, count: 4096))
    try allocate(0, 0, 2 << 20)
    #expect(try client.attributes(entry.node).size == 2 << 20)
    #expect(throws: FUSEClient.Refusal(code: EOPNOTSUPP)) { try allocate(8, 0, 4096) }
    #expect(throws: FUSEClient.Refusal(code: EFBIG)) { try allocate(0, 1 << 63, 1) }
  }

  @Test func `copies between files on the host`() throws {
    folder.write("a", "hello world")
    let client = try client()
    let source = try client.open(try client.lookUp("a").node)
    let (_, target) = try client.create("b")
    let range = n8(source) + n8(6) + n8(0) + n8(target) + n8(0) + n8(100) + n8(0)
    #expect(try client.call(47, 1, range).number(0, 4) == 5)
    #expect(folder.read("b") == "world")
    let back = n8(target) + n8(0) + n8(0) + n8(source) + n8(0) + n8(100) + n8(0)
    #expect(throws: FUSEClient.Refusal(code: EBADF)) { try client.call(47, 1, back) }
  }

  @Test func `shares user attributes, and no others`() throws {
    let client = try client()
    let (entry, _) = try client.create("a")
    func set(_ name: String, _ value: String, _ flags: UInt32 = 0) throws {
      let value = Array(value.utf8)
      try client.call(21, entry.node, n4(UInt32(value.count)) + n4(flags) + z(name) + raw(value))
    }
    try set("user.colour", "blue")
    #expect(throws: FUSEClient.Refusal(code: EEXIST)) { try set("user.colour", "red", 1) }
    #expect(try client.call(22, entry.node, n4(0) + n4(0) + z("user.colour")).number(0, 4) == 4)
    #expect(
      try client.call(22, entry.node, n4(64) + n4(0) + z("user.colour")) == Array("blue".utf8))
    #expect(throws: FUSEClient.Refusal(code: ERANGE)) {
      try client.call(22, entry.node, n4(2) + n4(0) + z("user.colour"))
    }
    #expect(
      try client.call(23, entry.node, n4(64) + n4(0)) == Array("user.colour\0".utf8))
    for name in ["security.capability", "trusted.overlay", "system.posix_acl_access", "user"] {
      #expect(throws: FUSEClient.Refusal(code: EOPNOTSUPP)) { try set(name, "x") }
    }
    try client.call(24, entry.node, z("user.colour"))
    #expect(throws: FUSEClient.Refusal(code: ENODATA)) {
      try client.call(22, entry.node, n4(0) + n4(0) + z("user.colour"))
    }
  }

  @Test func `refuses every change of a read-only share`() throws {
    folder.write("a", "text")
    folder.makeDirectory("d")
    let client = try client { $0.isReadOnly = true }
    let a = try client.lookUp("a").node
    let changes: [(UInt32, UInt64, Bytes)] = [
      (9, 1, n4(0o755) + n4(0) + z("x")), (8, 1, n4(0o100644) + n4(0) + n8(0) + z("x")),
      (6, 1, z("x") + z("y")), (10, 1, z("a")), (11, 1, z("d")), (12, 1, n8(1) + z("a") + z("x")),
      (13, 1, n8(a) + z("x")), (21, a, n4(1) + n4(0) + z("user.x") + raw([1])),
      (24, a, z("user.x")), (14, a, n4(1) + n4(0)), (14, a, n4(2) + n4(0)),
      (14, a, n4(0o1000) + n4(0)), (35, 1, n4(2) + n4(0o644) + n8(0) + z("x")),
    ]
    for (opcode, node, body) in changes {
      #expect(throws: FUSEClient.Refusal(code: EROFS)) { try client.call(opcode, node, body) }
    }
    for valid: UInt32 in [1, 2, 4, 8, 16, 32, 256] {
      #expect(throws: FUSEClient.Refusal(code: EROFS)) {
        try client.setAttributes(a, valid: valid)
      }
    }
    #expect(try client.read(try client.open(a), 10) == Array("text".utf8))
    #expect(folder.read("a") == "text" && folder.status("x") == nil && folder.status("d") != nil)
  }

  @Test func `shows special files, opens none and makes no devices`() throws {
    #expect(mkfifo(folder("pipe"), 0o600) == 0)
    let client = try client()
    let pipe = try client.lookUp("pipe")
    #expect(pipe.attributes.mode & 0o170000 == 0o010000)
    for flags: UInt32 in 0...2 {
      #expect(throws: FUSEClient.Refusal(code: ENXIO)) { try client.open(pipe.node, flags: flags) }
    }
    #expect(throws: FUSEClient.Refusal(code: ENXIO)) { try client.create("pipe") }
    #expect(throws: FUSEClient.Refusal(code: ENXIO)) {
      try client.setAttributes(pipe.node, valid: 8, size: 0)
    }
    func make(_ mode: UInt32) throws {
      try client.call(8, 1, n4(mode) + n4(0x103) + n8(0) + z("new"))
    }
    #expect(throws: FUSEClient.Refusal(code: EPERM)) { try make(0o020666) }
    #expect(throws: FUSEClient.Refusal(code: EPERM)) { try make(0o060666) }
    try make(0o140600)
    #expect(folder.status("new")!.st_mode & S_IFMT == S_IFSOCK)
  }

  @Test(arguments: [".", "..", "", "a/b", "/", "../share", "/etc/passwd"])
  func `refuses a name that is more than a name`(name: String) throws {
    folder.write("a", "")
    let client = try client()
    #expect(throws: FUSEClient.Refusal(code: EINVAL)) { try client.lookUp(name) }
    #expect(throws: FUSEClient.Refusal(code: EINVAL)) { try client.create(name) }
    #expect(throws: FUSEClient.Refusal(code: EINVAL)) { try client.makeDirectory(name) }
    #expect(throws: FUSEClient.Refusal(code: EINVAL)) { try client.call(10, 1, z(name)) }
    #expect(throws: FUSEClient.Refusal(code: EINVAL)) {
      try client.call(12, 1, n8(1) + z("a") + z(name))
    }
  }

  @Test func `takes names of 255 bytes, and no longer ones`() throws {
    let client = try client()
    _ = try client.create(String(repeating: "n", count: 255))
    #expect(throws: FUSEClient.Refusal(code: ENAMETOOLONG)) {
      try client.create(String(repeating: "n", count: 256))
    }
  }

  @Test func `gives files away as root, and squashes owners when asked`() throws {
    let client = try client { $0.ownership = .fixed(user: 7, group: 8) }
    let (entry, _) = try client.create("a")
    #expect(entry.attributes.user == 7 && entry.attributes.group == 8)
    _ = try client.setAttributes(entry.node, valid: 6, user: 7, group: 8)
    #expect(throws: FUSEClient.Refusal(code: EPERM)) {
      try client.setAttributes(entry.node, valid: 2, user: 9)
    }
    #expect(folder.status("a")!.st_uid == geteuid())
    let other = try self.client()
    other.user = 1234
    other.group = 1235
    let made = try other.create("b").entry.attributes
    #expect(made.user == (geteuid() == 0 ? 1234 : geteuid()))
    #expect(made.group == (geteuid() == 0 ? 1235 : getegid()))
  }

  @Test func `makes no file that runs with its owner's rights, unless it may`() throws {
    let client = try client()
    let (entry, _) = try client.create("a", mode: 0o6755)
    #expect(entry.attributes.mode == 0o100755)
    #expect(throws: FUSEClient.Refusal(code: EPERM)) {
      try client.setAttributes(entry.node, valid: 1, mode: 0o4755)
    }
    let other = try self.client { $0.allowsSetID = true }
    #expect(try other.create("b", mode: 0o4755).entry.attributes.mode == 0o104755)
    // What has the bit may keep it.
    let b = try client.lookUp("b").node
    #expect(try client.setAttributes(b, valid: 1, mode: 0o4711).mode == 0o104711)
  }

  @Test func `does nothing for which the answer has no room`() throws {
    let client = try client()
    #expect(throws: FUSEClient.Refusal(code: EINVAL)) {
      try client.call(9, 1, n4(0o755) + n4(0) + z("d"), room: 16 + 127)
    }
    #expect(folder.status("d") == nil)
    #expect(client.server.answer(client.frame(3, 1, n8(0) + n8(0)), room: 15).isEmpty)
    let (_, handle) = try client.create("a")
    #expect(throws: FUSEClient.Refusal(code: EINVAL)) {
      let body = n8(handle) + n8(0) + n4(4096) + raw(Array(repeating: 0, count: 20))
      try client.call(15, 1, body, room: 100)
    }
  }

  @Test func `shares locks with the host where that is wished`() throws {
    let client = try client { $0.sharesLocks = true }
    let (entry, first) = try client.create("a")
    let second = try client.open(entry.node, flags: 2)
    func lock(_ opcode: UInt32, _ handle: UInt64, _ type: UInt32, _ start: UInt64, _ end: UInt64)
      throws -> [UInt8]
    {
      try client.call(
        opcode, entry.node, n8(handle) + n8(5) + n8(start) + n8(end) + n4(type) + n4(1) + n8(0))
    }
    _ = try lock(32, first, 1, 10, 19)
    #expect(throws: FUSEClient.Refusal(code: EAGAIN)) { try lock(33, second, 0, 19, .max >> 1) }
    let found = try lock(31, second, 1, 0, .max >> 1)
    #expect(found.number(0, 8) == 10 && found.number(8, 8) == 19 && found.number(16, 4) == 1)
    _ = try lock(32, first, 2, 0, .max >> 1)
    _ = try lock(32, second, 1, 0, .max >> 1)
    #expect(throws: FUSEClient.Refusal(code: ENOSYS)) {
      let plain = try self.client()
      try plain.call(32, 1, raw(Array(repeating: 0, count: 48)))
    }
  }
}
