package import Board
import Synchronization

/// An interrupt controller that notes what its pins were driven to.
package final class RecordingController: InterruptController {
  package struct Change: Sendable, Equatable {
    package let pin: UInt32
    package let asserted: Bool
    package init(pin: UInt32, asserted: Bool) {
      self.pin = pin
      self.asserted = asserted
    }
  }
  private let state = Mutex((levels: [UInt32: Bool](), changes: [Change]()))

  package init() {}

  package func set(_ pin: UInt32, asserted: Bool) {
    state.withLock { state in
      guard state.levels[pin, default: false] != asserted else { return }
      state.levels[pin] = asserted
      state.changes.append(Change(pin: pin, asserted: asserted))
    }
  }

  package func level(_ pin: UInt32) -> Bool { state.withLock { $0.levels[pin, default: false] } }
  package var changes: [Change] { state.withLock { $0.changes } }
  /// How often the pin rose.
  package func rises(_ pin: UInt32) -> Int {
    changes.filter { $0.pin == pin && $0.asserted }.count
  }
}

/// A target that notes the messages it was sent.
package final class RecordingMSITarget: MSITarget {
  private let log = Mutex<[MSI]>([])

  package init() {}

  package func signal(_ message: MSI, from requester: UInt16) {
    log.withLock { $0.append(message) }
  }

  package var messages: [MSI] { log.withLock { $0 } }
}
