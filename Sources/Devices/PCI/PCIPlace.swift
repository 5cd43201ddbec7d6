package import Board
import Synchronization

/// Where a function is plugged in: what it reaches the rest of the machine by.
package final class PCIPlace: Sendable {
  private let fabric: PCIFabric
  private let number: BusNumber
  private let device: UInt8
  private let function: UInt8
  private let interrupt: InterruptLine?

  init(
    on fabric: PCIFabric, _ number: BusNumber, device: UInt8, function: UInt8,
    interrupt: consuming InterruptLine?
  ) {
    self.fabric = fabric
    self.number = number
    self.device = device
    self.function = function
    self.interrupt = interrupt
  }

  /// The bus' number is what the guest has made it.
  package var address: PCIAddress {
    PCIAddress(bus: number.value, device: device, function: function)
  }

  /// Drives the function's interrupt pin.
  package func drive(_ asserted: Bool) { interrupt?.set(asserted) }

  /// Sends a message in the function's name.
  package func send(_ message: MSI) {
    fabric.messages.signal(message, from: address.requesterID)
  }

  /// The function's decoding, bus mastering or bridging has changed. Not under its lock.
  package func changed() { fabric.settle() }
}

/// The number of a bus, which the guest may change behind a bridge while others read it.
final class BusNumber: Sendable {
  private let number: Atomic<UInt8>

  init(_ value: UInt8 = 0) { number = Atomic(value) }

  var value: UInt8 {
    get { number.load(ordering: .relaxed) }
    set { number.store(newValue, ordering: .relaxed) }
  }
}
