import Glibc
import HostOS
import Kit
import Synchronization
import Testing

@testable import Shares

@Suite struct `A saved share` {
  let folder = Folder()

  var plan: SharePlan { SharePlan(path: folder.path) }

  @Test func `gives a FUSE client its files back in another process`() throws {
    folder.makeDirectory("d")
    folder.write("d/f", "hello")
    for name in ["gone", "replaced", "moved", "unlinked"] { folder.write(name, name) }
    let first = try FUSEServer(plan)
    let client = FUSEClient(first)
    let directory = try client.lookUp("d").node
    let file = try client.lookUp("f", in: directory).node
    let handle = try client.open(file, flags: 2 | 0o1000)
    try client.write(handle, Array("HELLO".utf8))
    let gone = try client.lookUp("gone").node
    let replaced = try client.lookUp("replaced").node
    let moved = try client.lookUp("moved").node
    let unlinked = try client.lookUp("unlinked").node
    let unlinkedHandle = try client.open(unlinked)
    try client.call(10, 1, z("unlinked"))
    folder.makeDirectory("listed")
    for index in 0..<20 { folder.write("listed/file\(index)", "") }
    let listing = try client.openDirectory(try client.lookUp("listed").node)
    let start = try client.list(listing, from: 0, size: 100)
    let rest = try client.list(listing, from: start.last!.next)
    // The host moves a directory and a file before the save: names are those of now.
    #expect(rename(folder("d"), folder("D")) == 0 && rename(folder("moved"), folder("D/m")) == 0)

    let saved = try first.save()
    #expect(try first.save() == saved)
    #expect(unlink(folder("gone")) == 0)
    folder.write("other", "x")
    #expect(rename(folder("other"), folder("replaced")) == 0)

    let second = try FUSEServer(plan)
    try second.restore(saved)
    let other = FUSEClient(second, begins: false)
    #expect(try other.read(handle, 10) == Array("HELLO".utf8))
    try other.write(handle, Array("again".utf8))
    #expect(folder.read("D/f") == "again")
    #expect(try other.attributes(moved).size == 5)
    #expect(try other.list(listing, from: start.last!.next).map(\.name) == rest.map(\.name))
    for node in [gone, replaced, unlinked] {
      #expect(throws: FUSEClient.Refusal(code: ESTALE)) { try other.attributes(node) }
      #expect(throws: FUSEClient.Refusal(code: ESTALE)) { try other.open(node) }
    }
    #expect(throws: FUSEClient.Refusal(code: ESTALE)) { try other.read(unlinkedHandle, 1) }
    try other.release(unlinkedHandle)
    // Numbers of before are not used again, and what is found again keeps its own.
    #expect(try other.lookUp("D").node == directory)
    #expect(try other.lookUp("replaced").node > unlinked)
    other.forget(gone)
    #expect(second.table.withLock { $0.nodes[gone] == nil })
  }

  @Test func `is the same when it is saved again`() throws {
    folder.write("f", "")
    folder.makeDirectory("d")
    let first = try FUSEServer(plan)
    let client = FUSEClient(first)
    _ = try client.open(try client.lookUp("f").node)
    _ = try client.openDirectory(try client.lookUp("d").node)
    let saved = try first.save()
    let second = try FUSEServer(plan)
    try second.restore(saved)
    #expect(try second.save() == saved)
  }

  @Test func `gives a 9P client its fids back in another process`() throws {
    folder.makeDirectory("d")
    folder.write("d/f", "hello")
    folder.write("gone", "")
    let first = try NinePServer(plan)
    let client = NinePClient(first)
    try client.walk(["d", "f"], to: 1)
    try client.open(1, flags: 2)
    try client.walk(["d"], to: 2)
    try client.open(2, flags: 0o200000)
    let names = try client.names(2).map(\.name)
    try client.walk(["gone"], to: 3)
    try client.open(3)
    try client.walk(["d", "f"], to: 4)
    try client.call(32, n4(4) + s("user.x") + n8(4) + n4(0))
    try client.write(4, Array("bl".utf8))
    try client.walk(["d", "f"], to: 5)
    let saved = try first.save()
    #expect(unlink(folder("gone")) == 0)

    let second = try NinePServer(plan)
    try second.restore(saved)
    let other = NinePClient(second, begins: false)
    #expect(try other.read(1, 10) == Array("hello".utf8))
    #expect(try other.names(2).map(\.name) == names)
    #expect(throws: NinePClient.Refusal(code: ESTALE)) { try other.attributes(3) }
    #expect(throws: NinePClient.Refusal(code: ESTALE)) { try other.read(3, 1) }
    try other.clunk(3)
    try other.write(4, Array("ue".utf8), at: 2)
    try other.clunk(4)
    #expect(try other.call(30, n4(5) + n4(6) + s("user.x")).number(0, 8) == 4)
    // By its fid alone
    try other.call(122, n4(5))
    #expect(folder.status("d/f") == nil)
  }

  @Test func `is refused when it is damaged, whatever the damage`() throws {
    folder.write("f", "")
    let fuse = try FUSEServer(plan)
    let client = FUSEClient(fuse)
    _ = try client.open(try client.lookUp("f").node)
    let nineP = try NinePServer(plan)
    let other = NinePClient(nineP)
    try other.walk(["f"], to: 1)
    var chance = Chance(seed: 7)
    for (share, saved) in [(fuse as any Share, try fuse.save()), (nineP, try nineP.save())] {
      for count in 0..<saved.count {
        #expect(throws: ShareError.self) { try share.restore(Array(saved.prefix(count))) }
      }
      #expect(throws: ShareError.self) { try share.restore(saved + [0]) }
      for _ in 0..<3000 {
        var damaged = saved
        damaged[Int(chance.number(below: UInt64(saved.count)))] ^=
          1 << UInt8(chance.number(below: 8))
        try? share.restore(damaged)
      }
      try share.restore(saved)
    }
    _ = try client.lookUp("f")
    #expect(try other.attributes(1).size == 0)
  }
}
