import Chipset
import Synchronization

/// A machine's owner who notes what it was asked for.
final class RecordingMachineControl: MachineControl {
  enum Request: Equatable {
    case reset, powerOff, sleep(Int), a20(Bool, A20Holder), exit(UInt32)
  }
  private let log = Mutex<[Request]>([])

  var requests: [Request] { log.withLock { $0 } }

  func requestReset() { log.withLock { $0.append(.reset) } }
  func requestPowerOff() { log.withLock { $0.append(.powerOff) } }
  func requestSleep(_ state: Int) { log.withLock { $0.append(.sleep(state)) } }
  func setA20(_ enabled: Bool, by holder: A20Holder) {
    log.withLock { $0.append(.a20(enabled, holder)) }
  }
  func exitForDebug(_ value: UInt32) { log.withLock { $0.append(.exit(value)) } }
}
