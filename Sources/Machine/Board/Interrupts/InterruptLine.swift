import Synchronization

/// The receiving end of interrupt pins: a PIC, an I/O APIC, a GIC, or the engine's own.
package protocol InterruptController: AnyObject, Sendable {
  /// Drives a pin. Driving it to the level it has changes nothing. Callable from any thread.
  func set(_ pin: UInt32, asserted: Bool)
}

/// A wire from one device to one pin. Not copyable: a pin has one driver.
package struct InterruptLine: ~Copyable, Sendable {
  private let controller: any InterruptController
  private let pin: UInt32
  private let level = Atomic<Bool>(false)

  package init(to controller: any InterruptController, pin: UInt32) {
    self.controller = controller
    self.pin = pin
  }

  /// Drives the wire; does nothing if the level is already there.
  ///
  /// A device calls it under the lock of the state that the level follows from: of two calls at once the
  /// later would otherwise not be the last to reach the pin.
  package func set(_ asserted: Bool) {
    guard level.exchange(asserted, ordering: .acquiringAndReleasing) != asserted else { return }
    controller.set(pin, asserted: asserted)
  }

  package var isAsserted: Bool { level.load(ordering: .acquiring) }
}

/// One pin for several wires: asserted while any of them is, as with PCI's INTx.
package final class SharedPin: InterruptController {
  private let controller: any InterruptController
  private let pin: UInt32
  private let state = Mutex((asserted: Set<UInt32>(), lines: UInt32(0)))

  package init(to controller: any InterruptController, pin: UInt32) {
    self.controller = controller
    self.pin = pin
  }

  /// One more wire to the pin.
  package func line() -> InterruptLine {
    let number = state.withLock { state in
      state.lines += 1
      return state.lines
    }
    return InterruptLine(to: self, pin: number)
  }

  package func set(_ line: UInt32, asserted: Bool) {
    state.withLock { state in
      if asserted { state.asserted.insert(line) } else { state.asserted.remove(line) }
      controller.set(pin, asserted: !state.asserted.isEmpty)
    }
  }
}

/// One pin that drives several controllers, as a PC's IRQ pins reach the 8259 pair and the I/O APIC.
package final class InterruptFanOut: InterruptController {
  private let targets: [(controller: any InterruptController, pin: @Sendable (UInt32) -> UInt32?)]

  /// `pin` says which pin of that controller a wire reaches; `nil`: it does not reach it.
  package init(_ targets: [(any InterruptController, @Sendable (UInt32) -> UInt32?)]) {
    self.targets = targets.map { (controller: $0.0, pin: $0.1) }
  }

  package func set(_ pin: UInt32, asserted: Bool) {
    for target in targets {
      if let there = target.pin(pin) { target.controller.set(there, asserted: asserted) }
    }
  }
}
