import Chipset
import Synchronization

/// A machine's owner who notes what it was asked for.
final class RecordingMachineControl: MachineControl {
  enum Request: Equatable {
    case reset, powerOff, sleep(Int), a20(Bool), exit(UInt32)
  }
  private let log = Mutex<[Request]>([])
  private let gate = Mutex(true)

  var requests: [Request] { log.withLock { $0 } }

  func requestReset() { log.withLock { $0.append(.reset) } }
  func requestPowerOff() { log.withLock { $0.append(.powerOff) } }
  func requestSleep(_ state: Int) { log.withLock { $0.append(.sleep(state)) } }
  var isA20Open: Bool { gate.withLock { $0 } }
  func setA20(_ isOpen: Bool) {
    let moved = gate.withLock { gate in
      defer { gate = isOpen }
      return gate != isOpen
    }
    if moved { log.withLock { $0.append(.a20(isOpen)) } }
  }
  func exitForDebug(_ value: UInt32) { log.withLock { $0.append(.exit(value)) } }
}
