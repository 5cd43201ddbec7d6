import ArchitectureX86
import Board
import Execution
import Foundation
import HostOS
import KVM
import Kit
import Logging
import Monitor
import Testing
import Work

/// What Scripts/exit-cost.py measures of Roost that needs a device with a doorbell.
extension MachineTests {
  @Suite struct DoorbellCostTests {
    private static let isAsked = ProcessInfo.processInfo.environment["ROOST_TEST_EXIT_COST"] != nil

    /// An event that nobody waits for, as with QEMU's device.
    private final class LonelyDoorbell: Doorbell {
      private let event: any MessageTrigger
      var hostHandle: Int32? { event.hostHandle }
      init(_ event: any MessageTrigger) { self.event = event }
      func ring() {}
    }

    /// KVM, with a doorbell at a port and one in memory.
    private struct RingingEngine: Engine {
      typealias ISA = X86
      let engine: KVMEngine

      func makePartition(_ plan: PartitionPlan<X86>) throws(EngineError) -> any Partition<X86> {
        let partition = try engine.makePartition(plan)
        if let event = try partition.messageTriggers?.make() {
          let bell = LonelyDoorbell(event)
          for trigger in [
            DoorbellTrigger(.ports, 0x700, .byte), DoorbellTrigger(.registers, 0xfed1_0000, nil),
          ] {
            try partition.doorbells?.add(bell, for: trigger)
          }
        }
        return partition
      }
    }

    /// Prints what the guest `exit-cost` prints under QEMU: ticks of its counter.
    @Test(.onEngine(.kvm), .enabled(if: isAsked, "ROOST_TEST_EXIT_COST is not set"))
    func `a ring of a doorbell costs`() async throws {
      let loop = try EventLoop(name: "guest devices")
      defer { loop.stop() }
      let console = RecordingStream()
      let machine = try VirtualMachine(
        VMConfiguration(
          memory: MemorySize(bytes: 64 << 20), model: GuestMachine.model,
          boot: .kernel(.program("exit-cost doorbells")), debugExitPort: 0xf4,
          restartsOnReset: false),
        engine: RingingEngine(engine: KVMEngine()), loop: loop,
        backends: .init(serial: [console] + (0..<3).map { _ in RecordingStream() }),
        log: Logger(label: "guest") { _ in SwiftLogNoOpLogHandler() })
      try await machine.start()
      #expect(await machine.end() == .debugExit(0x10))
      let text = String(decoding: console.sent, as: UTF8.self)
      #expect(text.contains("cost port-doorbell "))
      print(text)
    }
  }
}
