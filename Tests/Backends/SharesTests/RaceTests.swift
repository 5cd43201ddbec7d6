import Glibc
import HostOS
import Synchronization
import Testing

@testable import Shares

/// A process of the host exchanges what names stand for while a guest uses them; none leads it outside.
@Suite struct `A host that moves names` {
  /// Goes on until both was seen, that a name led to its file and that it led to a link, and at least for 1,000
  /// rounds.
  private func race(_ stage: Stage, _ round: () throws -> Bool) rethrows -> Bool {
    var reached = 0
    var stopped = 0
    var rounds = 0
    while rounds < 1000 || (reached == 0 || stopped == 0) && rounds < 200_000 {
      if try round() { reached += 1 } else { stopped += 1 }
      rounds += 1
    }
    return stage.end() > 0 && reached > 0 && stopped > 0
  }

  @Test func `lets no FUSE client out`() throws {
    let stage = try Stage()
    let server = try FUSEServer(SharePlan(path: stage.folder.path))
    let client = FUSEClient(server)
    let inside = Array("inside".utf8)
    let raced = race(stage) {
      var reached = false
      if let directory = try? client.lookUp("d") {
        if let file = try? client.lookUp("f", in: directory.node) {
          if let handle = try? client.open(file.node) {
            #expect((try? client.read(handle, 10)) == inside)
            try? client.release(handle)
            reached = true
          }
          client.forget(file.node)
        }
        if let made = try? client.create("new", in: directory.node) {
          _ = try? client.write(made.handle, [1])
          try? client.release(made.handle)
          client.forget(made.entry.node)
        }
        _ = try? client.call(10, directory.node, z("new"))
        _ = try? client.setAttributes(directory.node, valid: 1, mode: 0o755)
        client.forget(directory.node)
      }
      if let file = try? client.lookUp("f") {
        if let handle = try? client.open(file.node, flags: 2) {
          #expect((try? client.read(handle, 10)) == inside)
          _ = try? client.write(handle, inside)
          try? client.release(handle)
        }
        client.forget(file.node)
      }
      if let made = try? client.create("f") {
        #expect((try? client.read(made.handle, 10)) == inside)
        try? client.release(made.handle)
        client.forget(made.entry.node)
      }
      return reached
    }
    #expect(raced)
    #expect(stage.isContained)
    #expect(stage.folder.descriptors == 2)
  }

  @Test func `lets no 9P client out`() throws {
    let stage = try Stage()
    let client = NinePClient(try NinePServer(SharePlan(path: stage.folder.path)))
    let inside = Array("inside".utf8)
    let raced = race(stage) {
      var reached = false
      if (try? client.walk(["d", "f"], to: 1)) == 2 {
        if (try? client.open(1, flags: 2)) != nil {
          #expect((try? client.read(1, 10)) == inside)
          _ = try? client.write(1, inside)
          reached = true
        }
        try? client.clunk(1)
      }
      if (try? client.walk(["d"], to: 2)) != nil {
        _ = try? client.create("new", at: 2)
        try? client.clunk(2)
      }
      if (try? client.walk(["d"], to: 3)) != nil {
        _ = try? client.call(76, n4(3) + s("new") + n4(0))
        try? client.setAttributes(3, valid: 1, mode: 0o755)
        try? client.clunk(3)
      }
      if (try? client.walk(["f"], to: 4)) != nil {
        if (try? client.open(4)) != nil { #expect((try? client.read(4, 10)) == inside) }
        try? client.clunk(4)
      }
      return reached
    }
    #expect(raced)
    #expect(stage.isContained)
  }

  @Test func `serves several threads at once, and loses nothing`() throws {
    let folder = Folder()
    let server = try FUSEServer(SharePlan(path: folder.path))
    _ = FUSEClient(server)
    let failures = Counter()
    let threads = try (0..<4).map { number in
      try HostOS.Thread(name: "guest \(number)") {
        let client = FUSEClient(server, begins: false)
        for index in 0..<300 {
          do {
            let (entry, handle) = try client.create("file\(index % 10)")
            try client.write(handle, [UInt8(number)])
            if try client.read(handle, 10).isEmpty { failures.value.add(1, ordering: .relaxed) }
            let again = try client.lookUp("file\(index % 10)")
            try client.release(handle)
            client.forget(entry.node)
            client.forget(again.node)
          } catch { failures.value.add(1, ordering: .relaxed) }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(failures.value.load(ordering: .relaxed) == 0)
    #expect(server.table.withLock { $0.nodes.count == 1 && $0.handles.isEmpty })
    #expect(folder.descriptors == 2)
  }

  private final class Counter: Sendable { let value = Atomic(0) }
}
