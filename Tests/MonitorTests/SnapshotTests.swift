import Board
import Execution
import Glibc
import HostOS
import Monitor
import SavedState
import Testing

struct SnapshotTests {
  private func temporaryPath() -> String {
    "/tmp/roost-snapshot-\(UInt64.random(in: 0...UInt64.max))"
  }

  /// A machine that has lived a little, saved.
  private func save(to path: String) async throws {
    let tally = Tally()
    let rig = try Rig(processors: 2) { (index, buses) throws(EngineError) in
      if index == 0 { buses.ports.write(0x5a, 0x3ff, .byte) }
      tally.add(index)
      return nil
    }
    try await rig.machine.start()
    #expect(await eventually { tally[0] > 1 })
    try await rig.machine.save(to: path)
    #expect(await rig.machine.condition == .running)
    await rig.machine.stop()
    rig.loop.stop()
  }

  private func overwrite(_ path: String, _ bytes: [UInt8]) throws {
    try HostFile.create(path).writeAll(bytes)
  }

  @Test func `a restored machine is the one that was saved and goes on from its time`() async throws
  {
    let path = temporaryPath()
    defer { unlink(path) }
    let again = temporaryPath()
    defer { unlink(again) }
    try await save(to: path)
    let saved = try Snapshot(path: path)
    let scratch = Tally()
    let rig = try Rig(restoring: path) { (_, buses) throws(EngineError) in
      scratch.add(Int(buses.ports.read(0x3ff, .byte)))
      return nil
    }
    try await rig.machine.start()
    #expect(await rig.machine.condition == .running)
    #expect(await eventually { scratch[0x5a] > 0 })
    try await rig.machine.save(to: again)
    let second = try Snapshot(path: again)
    #expect(second.clock.now >= saved.clock.now)
    #expect(second.clock.epoch == saved.clock.epoch)
    #expect(second.shape == saved.shape)
    #expect(second.tree.parts.map(\.name) == saved.tree.parts.map(\.name))
    await rig.machine.stop()
    rig.loop.stop()
  }

  @Test func `a reset ends a restored machine, which has nothing to start from`() async throws {
    let path = temporaryPath()
    defer { unlink(path) }
    try await save(to: path)
    let rig = try Rig(restoring: path)
    try await rig.machine.start()
    await rig.machine.reset()
    #expect(await rig.machine.end() == .reset)
    rig.loop.stop()
  }

  @Test func `a file with any byte changed or cut off is refused`() async throws {
    let path = temporaryPath()
    defer { unlink(path) }
    try await save(to: path)
    let whole = try HostFile.contents(of: path, limit: 64 << 20)
    var positions = [0, 8, 15, 16, 30, whole.count / 2, whole.count - 17, whole.count - 1]
    positions += (0..<12).map { _ in Int.random(in: 0..<whole.count) }
    for position in positions {
      var damaged = whole
      damaged[position] ^= 0x40
      try overwrite(path, damaged)
      await #expect(throws: (any Error).self, "byte \(position)") { try await startRestored(path) }
      try overwrite(path, Array(whole[..<position]))
      await #expect(throws: (any Error).self, "cut at \(position)") {
        try await startRestored(path)
      }
    }
  }

  private func startRestored(_ path: String) async throws {
    let rig = try Rig(restoring: path)
    defer { rig.loop.stop() }
    do {
      try await rig.machine.start()
    } catch {
      await rig.machine.stop()
      throw error
    }
    await rig.machine.stop()
  }
}
