import Glibc
import Testing

@testable import Shares

/// Whatever a guest sends, the servers answer in form, hold no more than they may, and leave what is outside alone.
@Suite struct `A hostile guest` {
  let folder = Folder()

  init() {
    // What must not be seen, and where it would be found.
    let secret = fopen(folder.outside + "/secret", "w")!
    fputs("SECRET", secret)
    fclose(secret)
    symlink(folder.outside + "/secret", folder("link"))
    mkfifo(folder("pipe"), 0o600)
  }

  func isContained() -> Bool {
    Folder.read(folder.outside + "/secret") == "SECRET"
      && Set(Folder.names(folder.outside)) == [".", "..", "share", "secret"]
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `sends 10,000 FUSE frames`(seed: UInt64) throws {
    var frames = HostileFrames(seed: seed)
    var plan = SharePlan(path: folder.path, limit: 40)
    plan.sharesLocks = true
    let server = try FUSEServer(plan)
    _ = FUSEClient(server)
    var refused = 0
    var memory = 0
    for index in 0..<10_000 {
      let frame = frames.fuse()
      let room = frames.room()
      let answer = server.answer(frame, room: room)
      if !answer.isEmpty {
        try #require(answer.count <= room && answer.count >= 16)
        try #require(answer.number(0, 4) == answer.count)
        try #require(answer.number(8, 8) == frame.number(8, 8))
        if answer.number(4, 4) != 0 { refused += 1 }
        try #require(!tells(answer))
      }
      if index == 2000 { memory = residentMemory() }
    }
    #expect(refused > 2000 && refused < 9500)
    #expect(residentMemory() - memory < 64 << 10)
    #expect(folder.descriptors <= 40 + 2)
    #expect(isContained())
    // It is still there for those who behave, once the host has undone what the guest did to its directory.
    chmod(folder.path, 0o755)
    let client = FUSEClient(server)
    _ = try client.create("behaved")
  }

  @Test(arguments: [1, 2, 3] as [UInt64])
  func `sends 10,000 9P frames`(seed: UInt64) throws {
    var frames = HostileFrames(seed: seed)
    let server = try NinePServer(SharePlan(path: folder.path, limit: 40))
    var client = NinePClient(server)
    var refused = 0
    var memory = 0
    for index in 0..<10_000 {
      // Without a session nothing happens.
      if index % 100 == 0 { client = NinePClient(server) }
      let frame = frames.nineP()
      let room = frames.room()
      let answer = server.answer(frame, room: room)
      if !answer.isEmpty {
        try #require(answer.count <= room && answer.count >= 7)
        try #require(answer.number(0, 4) == answer.count)
        try #require(answer.number(5, 2) == frame.number(5, 2))
        try #require(answer[4] == 7 || answer[4] == frame[4] &+ 1)
        if answer[4] == 7 { refused += 1 }
        try #require(!tells(answer))
      }
      if index == 2000 { memory = residentMemory() }
    }
    #expect(refused > 2000 && refused < 9500)
    #expect(residentMemory() - memory < 64 << 10)
    #expect(folder.descriptors <= 40 + 2)
    #expect(isContained())
    chmod(folder.path, 0o755)
    client = NinePClient(server)
    try client.walk([], to: 1)
    try client.create("behaved", at: 1)
  }
}

/// Whether an answer begins with what is outside, behind whatever header.
private func tells(_ answer: [UInt8]) -> Bool {
  let secret = Array("SECRET".utf8)
  return (0..<min(64, answer.count)).contains { answer[$0...].starts(with: secret) }
}
