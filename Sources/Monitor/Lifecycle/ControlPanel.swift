import Chipset
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

  /// Address line 20 is always driven: what minds it is older than anything that runs here.
  func setA20(_ enabled: Bool) {}

  private func stop(for event: MachineEvent) {
    halt.withLock { $0 }?()
    events.yield(event)
  }
}
