import Chipset
import Execution
import Synchronization

/// What the guest asks of the machine's owner, on its way to the owner.
///
/// The processors are told to rest at once, so that the guest runs on for as short a while as on a board;
/// the owner hears of it a little later.
final class ControlPanel: MachineControl {
  private let events: AsyncStream<MachineEvent>.Continuation
  private let halt = Mutex<(@Sendable () -> Void)?>(nil)

  init(_ events: AsyncStream<MachineEvent>.Continuation) { self.events = events }

  /// Names what makes the processors rest; called from any thread, must not wait.
  func connect(halt: @escaping @Sendable () -> Void) { self.halt.withLock { $0 = halt } }

  func requestReset() { stop(for: .reset) }
  func requestPowerOff() { stop(for: .powerOff) }
  func exitForDebug(_ value: UInt32) { stop(for: .debugExit(value)) }
  func requestSleep(_ state: Int) { events.yield(.sleep(state)) }

  // MARK: - The A20 gate

  private struct Gate {
    var isOpen = true
    var engine: (any AddressLine20)?
  }
  /// Held while the engine is told: what it hears last is how the gate stands.
  private let gate = Mutex(Gate())

  var isA20Open: Bool { gate.withLock(\.isOpen) }

  /// Names the engine whose processors mind the gate, if they do, and tells it how the gate stands.
  func connect(addressLine20: (any AddressLine20)?) {
    gate.withLock { gate in
      gate.engine = addressLine20
      addressLine20?.set(open: gate.isOpen)
    }
  }

  func setA20(_ isOpen: Bool) {
    gate.withLock { gate in
      guard gate.isOpen != isOpen else { return }
      gate.isOpen = isOpen
      gate.engine?.set(open: isOpen)
    }
  }

  private func stop(for event: MachineEvent) {
    halt.withLock { $0 }?()
    events.yield(event)
  }
}
