import Board
import CKVM
import Execution

// Instructions that KVM's emulator does not know.

extension KVMProcessor {
  /// Finishes with our interpreter the instruction at which KVM stopped.
  func finishInstruction(_ buses: inout Buses) throws(EngineError) -> Exit? {
    let suberror = exit.pointee.internal.suberror
    throw EngineError("KVM failed at processor \(index): internal error \(suberror)")
  }
}
