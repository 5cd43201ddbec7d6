import Board
import HostOS
import Kit
import Logging
import Memory
import Monitor
import Streams
import Testing

struct PCTests {
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

  private func lines(_ bus: IOBus) -> [String] {
    bus.map.map {
      String($0.range.lowerBound, radix: 16) + "-" + String($0.range.upperBound - 1, radix: 16)
        + " \(type(of: $0.device)) \($0.region)"
    }
  }

  @Test func `everything answers where a PC's guest expects it`() throws {
    let (_, board) = try makePC()
    #expect(
      lines(board.ports) == [
        "20-21 I8259Pair 0", "40-43 I8254 0", "60-60 I8042 0", "61-61 I8254 1", "64-64 I8042 1",
        "70-73 RTCMC146818 0", "80-80 POSTPort 0", "92-92 FastA20Port 0", "a0-a1 I8259Pair 1",
        "e9-e9 DebugConsole 0", "f4-f7 DebugExit 0", "2e8-2ef UART16550 0", "2f8-2ff UART16550 0",
        "3e8-3ef UART16550 0", "3f8-3ff UART16550 0", "402-402 DebugConsole 0",
        "4d0-4d1 I8259Pair 2", "600-603 ACPIPowerManagement 0", "604-605 ACPIPowerManagement 1",
        "608-60b ACPIPowerManagement 2", "620-623 ACPIPowerManagement 3", "cf8-cff PCIHost 0",
      ])
    #expect(
      lines(board.registers) == [
        "b0000000-bfffffff PCIHost 1", "fec00000-fec00fff IOAPIC 0", "fed00000-fed003ff HPET 0",
      ])
  }

  @Test func `parts have names of their own, interrupt controllers first`() throws {
    let names = try makePC().0.parts.map(\.name)
    #expect(Set(names).count == names.count)
    #expect(names.prefix(3) == ["pic", "ioapic", "hpet"])
  }

  @Test func `ports and switches are parts, and have their places`() throws {
    let map = PCAddressMap(memory: 16 << 20)
    let board = Backplane(
      memory: try GuestMemory(map.regions), clock: ManualClock(), loop: ManualLoop(),
      log: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
    let pc = try PC(
      on: board, processors: 1, interrupts: SilentInterrupts(), control: SilentControl(),
      backends: Rig.backends, map: map, debugExitPort: nil,
      pci: PCITopology(
        ports: ["id=a,slot=2", "id=b", "id=c,bus=s", "id=d,bus=s"].map(
          PCIPortRequest.init(parsing:)),
        switches: [PCISwitchRequest(parsing: "id=s,bus=b")]))
    #expect(
      pc.parts.map(\.name).filter { $0.contains("-port-") || $0.contains("-switch-") }
        == ["pci-port-a", "pci-port-b", "pci-switch-s", "pci-port-c", "pci-port-d"])
    try pc.assignPCIResources(map)
    var buses = Buses(ports: board.ports, registers: board.registers)
    func identity(_ bus: UInt64, _ device: UInt64) -> UInt64 {
      buses.registers.read(0xb000_0000 + bus << 20 + device << 15, .doubleword)
    }
    #expect(identity(0, 1) == 0x000c_1b36 && identity(0, 2) == 0x000c_1b36)
    #expect(identity(0, 3) == 0xffff_ffff)
    // Behind the first port there is room for three more buses.
    #expect(identity(5, 0) == 0x8232_104c)
    #expect(identity(6, 0) == 0x8233_104c && identity(6, 1) == 0x8233_104c)
    // Slot numbers: what was asked for, then those that are free.
    let slots = [(0, 1), (0, 2), (6, 0), (6, 1)].map { bus, device in
      buses.registers.read(
        0xb000_005c + UInt64(bus) << 20 + UInt64(device) << 15, .doubleword) >> 19
    }
    #expect(slots == [2, 1, 3, 4])
  }

  @Test func `the reset control register answers beneath PCI's address port`() throws {
    let (_, board) = try makePC()
    var buses = Buses(ports: board.ports, registers: board.registers)
    buses.ports.write(2, 0xcf9, .byte)
    #expect(buses.ports.read(0xcf9, .byte) == 2)
    buses.ports.write(0x8000_0000, 0xcf8, .doubleword)
    #expect(buses.ports.read(0xcfc, .doubleword) == 0x0008_1b36)
  }
}
