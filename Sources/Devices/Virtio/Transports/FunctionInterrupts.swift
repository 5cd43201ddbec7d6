import PCI
import Synchronization

/// A PCI function's interrupts: a message for each event while MSI-X is on, and the pin while it is not.
///
/// The function itself knows which; it silences its pin while it sends messages, and messages while it does not.
final class FunctionInterrupts: VirtioInterrupts {
  let msix: MSIX
  private let function = Mutex<ConfigurationSpace?>(nil)
  private let level = Atomic<Bool>(false)

  init(vectors: Int) { msix = MSIX(vectors: vectors) }

  /// Names the function; `nil`: there is none any more.
  func connect(to function: ConfigurationSpace?) { self.function.withLock { $0 = function } }

  func update(_ pending: VirtioInterruptStatus, event vector: UInt16?) {
    if level.exchange(!pending.isEmpty, ordering: .relaxed) == pending.isEmpty {
      function.withLock { $0 }?.set(0, asserted: !pending.isEmpty)
    }
    if let vector, vector != VirtioRegisters.noVector { msix.signal(Int(vector)) }
  }
}
