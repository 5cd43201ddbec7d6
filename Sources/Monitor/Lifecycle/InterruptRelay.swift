package import Board
package import Execution
import Synchronization

/// The board's wires to the processors. The machine's parts hold them for life, the engine at their other end
/// may change.
package final class InterruptRelay: ProcessorInterrupts {
  private struct State {
    /// `nil` once the machine has ended.
    var controllers: (any ProcessorInterrupts)?
    /// The pins of `ProcessorPin` that are asserted.
    var asserted: Set<UInt32> = []
    // The machine holds these two, and they hold the relay.
    weak var acknowledger: (any InterruptAcknowledger)?
    weak var endOfInterrupt: (any EndOfInterruptListener)?
  }
  private let state: Mutex<State>

  package init(to controllers: any ProcessorInterrupts) {
    state = Mutex(State(controllers: controllers))
  }

  /// Leads the wires to other controllers, which hear what is connected and which pins are asserted. Only at
  /// rest: what was signalled before belongs to the controllers before.
  package func connect(to controllers: any ProcessorInterrupts) {
    let state = state.withLock { state in
      state.controllers = controllers
      return state
    }
    if let acknowledger = state.acknowledger { controllers.connect(acknowledger: acknowledger) }
    if let listener = state.endOfInterrupt { controllers.connect(endOfInterrupt: listener) }
    for pin in state.asserted { controllers.set(pin, asserted: true) }
  }

  /// Lets go of the controllers, and with them of the engine: the machine has ended.
  package func disconnect() { state.withLock { $0.controllers = nil } }

  /// Tells the board the end of all level-triggered interrupts but those that the processors have under way. Only at
  /// rest, for processors that came from elsewhere: an end that one of them was about to tell stayed behind.
  package func endAll(but underWay: Set<UInt8>) {
    guard let listener = state.withLock({ $0.endOfInterrupt }) else { return }
    for vector in UInt8(16)...UInt8.max where !underWay.contains(vector) {
      listener.endOfInterrupt(vector: vector)
    }
  }
}

// MARK: - What the board sees

// Controllers are called without the lock: they ask the board back.
extension InterruptRelay {
  package func set(_ pin: UInt32, asserted: Bool) {
    let controllers = state.withLock { state in
      if asserted { state.asserted.insert(pin) } else { state.asserted.remove(pin) }
      return state.controllers
    }
    controllers?.set(pin, asserted: asserted)
  }

  package func signal(_ message: MSI, from requester: UInt16) {
    state.withLock { $0.controllers }?.signal(message, from: requester)
  }

  package func connect(acknowledger: any InterruptAcknowledger) {
    let controllers = state.withLock { state in
      state.acknowledger = acknowledger
      return state.controllers
    }
    controllers?.connect(acknowledger: acknowledger)
  }

  package func connect(endOfInterrupt: any EndOfInterruptListener) {
    let controllers = state.withLock { state in
      state.endOfInterrupt = endOfInterrupt
      return state.controllers
    }
    controllers?.connect(endOfInterrupt: endOfInterrupt)
  }
}
