import ArchitectureX86
import Board
import Execution
import Foundation
import Testing
import Work

/// What Scripts/exit-cost.py measures of Roost that needs a device with a doorbell.
extension EngineContract {
  @Suite struct DoorbellCostTests {
    private static let isAsked = ProcessInfo.processInfo.environment["ROOST_TEST_EXIT_COST"] != nil

    /// An event that nobody waits for, as with QEMU's device.
    private final class LonelyDoorbell: Doorbell {
      private let event: any MessageTrigger
      var hostHandle: Int32? { event.hostHandle }
      init(_ event: any MessageTrigger) { self.event = event }
      func ring() {}
    }

    /// Prints the ticks of the guest's own counter that a write takes, the least of 25 slices of 200 writes.
    @Test(.onEngine(.kvm), .enabled(if: isAsked, "ROOST_TEST_EXIT_COST is not set"))
    func `a ring of a doorbell costs`() throws {
      let rig = try Rig(.kvm)
      let bell = try LonelyDoorbell(#require(rig.partition.messageTriggers).make())
      let doorbells = try #require(rig.partition.doorbells)
      try doorbells.add(bell, for: DoorbellTrigger(.ports, 0x700, .byte))
      try doorbells.add(bell, for: DoorbellTrigger(.registers, Rig.Place.registers, .byte))
      for (name, instruction) in [
        ("nothing", [0x89, 0xc0]), ("port-doorbell", [0xee]), ("memory-doorbell", [0x88, 0x03]),
      ] as [(String, [UInt8])] {
        // MOV EAX, EAX; OUT DX, AL; MOV [RBX], AL
        try rig.load { code in
          code.move(.rdi, 25)
          let slice = code.placed()
          code.move(.rcx, 200)
          code.move(.rbx, Rig.Place.registers)
          code.readTimeStampCounter()
          code.move(.rsi, .rax)
          code.move(.rdx, 0x700)
          for byte in instruction { code.emit(byte) }
          code.emit(0x48, 0xff, 0xc9)  // DEC RCX
          code.emit(0x75, UInt8(truncatingIfNeeded: -(instruction.count + 5)))  // JNZ
          code.readTimeStampCounter()
          code.compute(.subtract, .rax, .rsi)
          code.report(.rax)
          code.compute(.subtract, .rdi, 1)
          code.jump(if: .notZero, to: slice)
          code.end()
        }
        let before = rig.reports.count
        try rig.run(from: Rig.Place.code)
        let least = try #require(rig.reports.dropFirst(before).min())
        print("cost \(name) \(least / 200)")
      }
    }
  }
}
