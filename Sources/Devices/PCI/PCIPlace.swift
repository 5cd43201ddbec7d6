package import Board
import Synchronization

/// Where a function is plugged in: what it reaches the rest of the machine by.
package final class PCIPlace: Sendable {
  private let uplink: PCIBus.Uplink
  private let number: BusNumber
  private let device: UInt8
  private let function: UInt8
  private let interrupt: InterruptLine?

  init(
    on uplink: PCIBus.Uplink, _ number: BusNumber, device: UInt8, function: UInt8,
    interrupt: consuming InterruptLine?
  ) {
    self.uplink = uplink
    self.number = number
    self.device = device
    self.function = function
    self.interrupt = interrupt
  }

  /// The bus' number is what the guest has made it.
  package var address: PCIAddress {
    PCIAddress(bus: number.value, device: device, function: function)
  }

  package var isOnRootBus: Bool { uplink.isRoot }

  /// What a bus behind this function, being a bridge, hangs on. Its four wires come out of the bridge's
  /// slot as if they were the bridge's own pins.
  func makeUplink() -> PCIBus.Uplink {
    let wires = InterruptPin.allCases.map { pin in
      SharedPin(to: WireEnd(uplink.line(device: device, pin: pin)), pin: 0)
    }
    return PCIBus.Uplink(fabric: uplink.fabric, wires: wires, isRoot: false)
  }

  /// Drives the function's interrupt pin.
  package func drive(_ asserted: Bool) { interrupt?.set(asserted) }

  /// Sends a message in the function's name.
  package func send(_ message: MSI) {
    uplink.fabric.messages.signal(message, from: address.requesterID)
  }

  /// The function's decoding, bus mastering or bridging has changed. Not under its lock.
  package func changed() { uplink.fabric.settle() }
}

/// The near end of one wire, for a pin that drives it.
private final class WireEnd: InterruptController {
  private let line: InterruptLine

  init(_ line: consuming InterruptLine) { self.line = line }

  func set(_ pin: UInt32, asserted: Bool) { line.set(asserted) }
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
