import Board
import HostOS
import Kit
import Logging
import Memory
import Monitor
import Testing

/// Every access to every address where something answers, and around it: of each width, at each
/// alignment, before and after a reset. What is read must fit its width; nothing may trap.
struct RegisterAccessTests {
  private static let patterns: [UInt64] = [0, .max, 0x5555_5555_5555_5555, 0xaaaa_aaaa_aaaa_aaaa]

  private func makePC() throws -> (PC, Backplane) {
    let map = PCAddressMap(memory: 16 << 20)
    let board = Backplane(
      memory: try GuestMemory(map.regions), clock: ManualClock(), loop: ManualLoop(),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let pc = try PC(
      on: board, processors: 2, interrupts: SilentInterrupts(), control: SilentControl(),
      backends: Rig.backends, map: map, debugExitPort: 0xf4)
    return (pc, board)
  }

  /// The addresses to try: all of a small block, and of a large one its ends and pages of PCI functions.
  private func addresses(_ range: Range<UInt64>) -> [UInt64] {
    let low = range.lowerBound - min(range.lowerBound, 8)
    guard range.count > 0x2000 else { return Array(low..<range.upperBound + 8) }
    return Array(low..<range.lowerBound + 0x1100)
      + Array(range.upperBound - 0x100..<range.upperBound + 8)
  }

  /// Answers how many accesses there were, and where one was answered with more bits than it is wide.
  private func sweep(
    _ view: inout BusView, _ bus: IOBus, _ pattern: UInt64
  ) -> (accesses: Int, tooWide: [UInt64]) {
    var accesses = 0
    var tooWide: [UInt64] = []
    for mapping in bus.map {
      for address in addresses(mapping.range) {
        for width in AccessWidth.allCases {
          let before = view.read(address, width)
          view.write(pattern, address, width)
          let after = view.read(address, width)
          if (before | after) & ~width.mask != 0 { tooWide.append(address) }
          accesses += 3
        }
      }
    }
    return (accesses, tooWide)
  }

  @Test func `nothing traps, before and after a reset, running and at rest`() throws {
    let (pc, board) = try makePC()
    var buses = Buses(ports: board.ports, registers: board.registers)
    var accesses = 0
    for isReset in [false, true] {
      for pattern in Self.patterns {
        if isReset { for part in pc.parts { part.component.reset() } }
        for (count, tooWide) in [
          sweep(&buses.ports, board.ports, pattern),
          sweep(&buses.registers, board.registers, pattern),
        ] {
          accesses += count
          #expect(tooWide.isEmpty)
        }
        (board.clock as? ManualClock)?.advance(by: 1_000_000)
        (board.loop as? ManualLoop)?.run()
      }
      for part in pc.parts { part.component.start() }
    }
    #expect(accesses > 300_000)
  }
}
