import Board
import Execution
import HostOS
import Kit
import Logging
import Memory
import Monitor
import Synchronization
import Testing
import Work

struct EngineDoorbellsTests {
  /// A device with one doorbell in its region 1, at offset 8.
  private final class Ringer: IODevice {
    let bell: any Doorbell
    init(_ bell: any Doorbell) { self.bell = bell }

    func read(_ access: Access) throws(IOError) -> UInt64 { 0 }
    func write(_ value: UInt64, _ access: Access) throws(IOError) {}
    func doorbells(in region: UInt8) -> [DoorbellPlace] {
      region == 1 ? [DoorbellPlace(offset: 8, width: .word, value: 3, doorbell: bell)] : []
    }
  }

  private final class Bell: Doorbell {
    let hostHandle: Int32?
    init(_ handle: Int32?) { hostHandle = handle }
    func ring() {}
  }

  private final class Registrar: DoorbellRegistrar {
    let triggers = Mutex<Set<DoorbellTrigger>>([])
    let refuses: Bool
    init(refuses: Bool = false) { self.refuses = refuses }

    func add(_ doorbell: any Doorbell, for trigger: DoorbellTrigger) throws(EngineError) {
      if refuses { throw EngineError("no room") }
      #expect(triggers.withLock { $0.insert(trigger).inserted })
    }

    func remove(_ doorbell: any Doorbell, for trigger: DoorbellTrigger) throws(EngineError) {
      #expect(triggers.withLock { $0.remove(trigger) } != nil)
    }
  }

  private let board: Backplane
  private let doorbells = EngineDoorbells(Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })

  init() throws {
    board = Backplane(
      memory: try GuestMemory([.init(start: GPA(0), count: 4096)]), clock: ManualClock(),
      loop: ManualLoop(), log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
  }

  @Test func `an engine is told of doorbells that are there, come, move and go`() {
    let registrar = Registrar()
    let (early, late) = (Ringer(Bell(7)), Ringer(Bell(8)))
    board.registers.map(early, at: 0x1000..<0x1010, region: 1)
    board.registers.map(early, at: 0x2000..<0x2010, region: 2)
    doorbells.connect(to: registrar)
    doorbells.watch(board)
    board.ports.map(late, at: 0x700..<0x710, region: 1)
    let first = DoorbellTrigger(.registers, 0x1008, .word, value: 3)
    let second = DoorbellTrigger(.ports, 0x708, .word, value: 3)
    #expect(registrar.triggers.withLock { $0 } == [first, second])
    #expect(doorbells.count == 2)

    board.registers.unmap(0x1000..<0x1010)
    board.registers.map(early, at: 0x3000..<0x3010, region: 1)
    let moved = DoorbellTrigger(.registers, 0x3008, .word, value: 3)
    #expect(registrar.triggers.withLock { $0 } == [moved, second])

    let successor = Registrar()
    doorbells.connect(to: successor)
    #expect(successor.triggers.withLock { $0 } == [moved, second])
    board.registers.unmapAll()
    board.ports.unmapAll()
    #expect(successor.triggers.withLock { $0 } == [])
    #expect(doorbells.count == 0)
  }

  @Test func `what an engine cannot ring goes by the bus`() {
    doorbells.watch(board)
    board.ports.map(Ringer(Bell(nil)), at: 0x700..<0x710, region: 1)
    board.ports.map(Ringer(Bell(7)), at: 0x800..<0x810, region: 1)
    #expect(doorbells.count == 0)
    doorbells.connect(to: Registrar(refuses: true))
    #expect(doorbells.count == 0)
    // An engine that refused is not asked to take away what it never had.
    board.ports.unmapAll()
    doorbells.connect(to: nil)
  }
}
