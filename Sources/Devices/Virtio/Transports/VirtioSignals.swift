import Synchronization

/// How a transport's interrupts reach the driver.
protocol VirtioInterrupts: AnyObject, Sendable {
  /// Something happened, or was acknowledged: `pending` is all that pends now, `vector` that of the event. Called under
  /// the registers' lock, so that the last level is the right one.
  func update(_ pending: VirtioInterruptStatus, event vector: UInt16?)
}

/// What a device and its queues tell the driver by. From any thread, with no lock of the device's held.
package final class VirtioSignals: Sendable {
  let registers: Mutex<VirtioRegisters>
  private let interrupts: any VirtioInterrupts

  init(_ registers: VirtioRegisters, _ interrupts: any VirtioInterrupts) {
    self.registers = Mutex(registers)
    self.interrupts = interrupts
  }

  /// The configuration space reads differently from now on.
  package func configurationChanged() {
    registers.withLock { registers in
      registers.noteConfigurationChange()
      raise(.configuration, registers.configurationVector, &registers)
    }
  }

  /// Buffers of a queue were used.
  func usedBuffers(in queue: Int) {
    registers.withLock { registers in
      raise(.queue, registers.queues[queue].vector, &registers)
    }
  }

  /// The driver broke a rule on a queue, in that life of the device.
  func broke(_ queue: Int, _ fault: QueueFault, life: UInt32) {
    registers.withLock { registers in
      guard life == registers.life else { return }
      registers.broke(queue, fault)
      raise(.configuration, registers.configurationVector, &registers)
    }
  }

  /// VIRTIO 1.3 §3.1.1: no notification before DRIVER_OK.
  private func raise(
    _ event: VirtioInterruptStatus, _ vector: UInt16, _ registers: inout VirtioRegisters
  ) {
    guard registers.status.contains(.driverOK) else { return }
    registers.raise(event)
    interrupts.update(registers.interruptStatus, event: vector)
  }

  /// Changes the registers, and brings the interrupt in line with them.
  func with<Result>(_ change: (inout VirtioRegisters) -> Result) -> Result {
    registers.withLock { registers in
      let result = change(&registers)
      interrupts.update(registers.interruptStatus, event: nil)
      return result
    }
  }
}
