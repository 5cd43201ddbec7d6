package import Board
import Synchronization

/// A PCI bus: up to 32 devices of up to eight functions, and the interrupt wires from its slots.
///
/// Slot and pin are wired in turn to the interrupt inputs, so that neighbours share as little as they can.
/// A machine's ACPI tables must say the same.
///
/// - SeeAlso: PCI 3.0 §2.2.6 "Interrupt Pins".
package final class PCIBus: Sendable {
  package let number: UInt8
  // Wiring.
  private let inputs: [SharedPin]
  private let functions = Mutex<[PCIAddress: any PCIFunction]>([:])

  /// - Parameters:
  ///   - interrupts: the controller whose inputs the slots are wired to.
  ///   - firstInterrupt: the first of its inputs that is PCI's.
  ///   - interruptCount: how many there are.
  package init(
    number: UInt8 = 0, interrupts: any InterruptController, firstInterrupt: UInt32 = 16,
    interruptCount: UInt32 = 8
  ) {
    precondition(interruptCount > 0, "PCI needs at least one interrupt")
    self.number = number
    inputs = (0..<interruptCount).map { SharedPin(to: interrupts, pin: firstInterrupt + $0) }
  }

  /// A wire from one pin of one slot.
  package func interruptLine(device: UInt8, pin: InterruptPin) -> InterruptLine {
    inputs[(Int(device) + Int(pin.rawValue) - 1) % inputs.count].line()
  }

  /// Puts a function into its slot. Before the machine starts.
  package func plug(_ function: any PCIFunction, device: UInt8, function number: UInt8 = 0) {
    let address = PCIAddress(bus: self.number, device: device, function: number)
    functions.withLock { functions in
      precondition(functions[address] == nil, "two PCI functions at one place")
      functions[address] = function
    }
  }

  /// What is at an address of this bus.
  package subscript(address: PCIAddress) -> (any PCIFunction)? {
    functions.withLock { $0[address] }
  }

  /// Whether other functions than the first answer in that slot: the Header Type's highest bit.
  func isMultiFunction(device: UInt8) -> Bool {
    functions.withLock { functions in
      functions.keys.contains { $0.device == device && $0.function != 0 }
    }
  }
}

// MARK: - Configuration accesses

extension PCIBus {
  /// Reads a register; ones where no function answers.
  func read(_ register: UInt16, of address: PCIAddress) -> UInt32 {
    guard let function = self[address] else { return .max }
    let value = function.readConfiguration(register)
    // Header Type is in the third byte of the fourth register: PCI 3.0 §6.2.1.
    let headerType: UInt32 = isMultiFunction(device: address.device) ? 1 << 23 : 0
    return register == 0x0c ? value | headerType : value
  }

  func write(_ value: UInt32, mask: UInt32, _ register: UInt16, of address: PCIAddress) {
    self[address]?.writeConfiguration(value, mask: mask, register)
  }
}
