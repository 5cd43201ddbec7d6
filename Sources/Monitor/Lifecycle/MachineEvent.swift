package import Execution

/// What a running machine wants its owner to know.
package enum MachineEvent: Sendable {
  /// The guest pulsed the reset line.
  case reset
  case powerOff
  /// The guest asked for S`state`.
  case sleep(Int)
  case debugExit(UInt32)
  /// The guest has let go of a device that was to be unplugged, and does not know it any more.
  case slotEmptied(device: String)
  case tripleFault(processor: Int)
  case failed(processor: Int, EngineError)
}
