import Board
import Inspection
import SavedState
import Synchronization
import Testing

@Suite struct ComponentTests {
  private struct Level: Codable, Sendable { var level: Int }

  /// A part whose whole state is a number below 100.
  private final class Tank: Component {
    static let schema = "tank/1"
    let level = Mutex(0)
    func reset() { level.withLock { $0 = 0 } }
    func save() -> Level { Level(level: level.withLock { $0 }) }
    func restore(_ saved: Level) throws(RestoreError) {
      guard saved.level < 100 else {
        throw .malformed(part: "level", reason: "the tank holds less")
      }
      level.withLock { $0 = saved.level }
    }
    func inspect(_ node: inout Node) {}
  }

  /// The same state under a later name.
  private final class NewerTank: Component {
    static let schema = "tank/2"
    func reset() {}
    func save() -> Level { Level(level: 7) }
    func restore(_ saved: Level) {}
    func inspect(_ node: inout Node) {}
  }

  @Test func `what a part saved another of its kind takes over`() throws {
    let (tank, twin) = (Tank(), Tank())
    tank.level.withLock { $0 = 42 }
    let part = try tank.savedPart(named: "left")
    #expect(part.name == "left")
    #expect(part.schema == "tank/1")
    try twin.restore(from: part)
    #expect(twin.level.withLock { $0 } == 42)
  }

  @Test func `a state of another schema is refused by name, and nothing changes`() throws {
    let tank = Tank()
    tank.level.withLock { $0 = 42 }
    let part = try NewerTank().savedPart(named: "left")
    #expect(
      throws: RestoreError.schemaMismatch(part: "left", found: "tank/2", expected: "tank/1")
    ) { try tank.restore(from: part) }
    #expect(tank.level.withLock { $0 } == 42)
  }

  @Test func `a state of the right schema that makes no sense is refused`() throws {
    let tank = Tank()
    let empty = try SavedPart(name: "left", schema: "tank/1", value: ["other": 1])
    let overfull = try SavedPart(name: "left", schema: "tank/1", value: Level(level: 100))
    #expect(throws: RestoreError.self) { try tank.restore(from: empty) }
    #expect(throws: RestoreError.self) { try tank.restore(from: overfull) }
    #expect(tank.level.withLock { $0 } == 0)
  }
}
