/// How a machine's run ended.
package enum ExitReason: Sendable, Equatable {
  /// The guest switched itself off.
  case poweredOff
  /// The guest reset the machine, and a reset was to end the run.
  case reset
  /// A processor shut down: an exception while delivering a double fault.
  case tripleFault(processor: Int)
  /// A guest wrote this to the debug exit device.
  case debugExit(UInt32)
  /// Somebody outside stopped it.
  case stopped
  /// The engine or the host failed; the text says how.
  case failed(String)
}
