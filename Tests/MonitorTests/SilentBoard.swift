import Board
import Chipset
import Execution

/// Processors that hear of no interrupt.
final class SilentInterrupts: ProcessorInterrupts {
  func set(_ pin: UInt32, asserted: Bool) {}
  func signal(_ message: MSI, from requester: UInt16) {}
  func connect(acknowledger: any InterruptAcknowledger) {}
  func connect(endOfInterrupt: any EndOfInterruptListener) {}
}

/// An owner who does nothing that is asked of it.
final class SilentControl: MachineControl {
  func requestReset() {}
  func requestPowerOff() {}
  func requestSleep(_ state: Int) {}
  var isA20Open: Bool { true }
  func setA20(_ isOpen: Bool) {}
  func exitForDebug(_ value: UInt32) {}
}
