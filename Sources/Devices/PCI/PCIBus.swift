import Board
import Synchronization

/// A PCI bus: up to 32 devices of up to eight functions, and the interrupt wires from its slots.
///
/// Slot and pin are wired in turn to the bus' interrupt wires, so that neighbours share as little as they
/// can. A bus behind a bridge has four, which come out of the bridge as if they were its own.
///
/// - SeeAlso: PCI 3.0 §2.2.6 "Interrupt Pins"; PCI-to-PCI Bridge Architecture 1.2 §9.1 "Interrupt Routing".
package final class PCIBus: Sendable {
  private struct Slot: Sendable {
    let address: PCIAddress
    let function: any PCIFunction
  }

  private struct State: Sendable {
    /// In the order of their addresses.
    var slots: [Slot] = []
    /// `nil`: the bus is behind a bridge that is not plugged in.
    var uplink: Uplink?
  }

  /// What the bus hangs on.
  struct Uplink: Sendable {
    let fabric: PCIFabric
    let wires: [SharedPin]
    let isRoot: Bool
  }

  private let numberCell: BusNumber
  private let state = Mutex(State())

  /// - Parameter number: behind a bridge, until the guest says.
  init(number: UInt8 = 0) { numberCell = BusNumber(number) }

  /// What the guest calls it.
  package internal(set) var number: UInt8 {
    get { numberCell.value }
    set { numberCell.value = newValue }
  }

  /// Puts a function into its slot: before the machine starts, or while it runs.
  package func plug(_ function: any PCIFunction, device: UInt8, function number: UInt8 = 0) {
    let address = PCIAddress(device: device, function: number)
    let uplink = state.withLock { state in
      let index = state.slots.firstIndex { $0.address.requesterID >= address.requesterID }
      precondition(
        index.map { state.slots[$0].address != address } ?? true, "two PCI functions at one place")
      state.slots.insert(
        Slot(address: address, function: function), at: index ?? state.slots.count)
      return state.uplink
    }
    guard let uplink else { return }
    function.plugged(at: place(address, function, uplink))
    uplink.fabric.settle()
  }

  /// Pulls out all functions of a slot. What they answered is no more when it returns.
  package func unplug(device: UInt8) {
    let (gone, uplink) = state.withLock { state in
      let gone = state.slots.filter { $0.address.device == device }
      state.slots.removeAll { $0.address.device == device }
      return (gone, state.uplink)
    }
    uplink?.fabric.settle()
    for slot in gone { slot.function.plugged(at: nil) }
  }

  /// Hangs the bus, and all behind it, on the machine; or takes it off.
  func connect(_ uplink: Uplink?) {
    let slots = state.withLock { state in
      state.uplink = uplink
      return state.slots
    }
    for slot in slots {
      slot.function.plugged(at: uplink.map { place(slot.address, slot.function, $0) })
    }
  }

  private func place(
    _ address: PCIAddress, _ function: any PCIFunction, _ uplink: Uplink
  ) -> PCIPlace {
    let line: InterruptLine? =
      if let pin = function.interruptPin {
        uplink.line(device: address.device, pin: pin)
      } else {
        nil
      }
    return PCIPlace(
      on: uplink, numberCell, device: address.device, function: address.function,
      interrupt: line)
  }

  /// All functions, in the order of their addresses.
  package var inventory: [any PCIFunction] { state.withLock { $0.slots.map(\.function) } }

  /// What is in that place; the bus number does not matter.
  package subscript(device: UInt8, function: UInt8) -> (any PCIFunction)? {
    let address = PCIAddress(device: device, function: function)
    return state.withLock { $0.slots.first { $0.address == address }?.function }
  }

  /// Whether other functions than the first answer in that slot: the Header Type's highest bit.
  func isMultiFunction(device: UInt8) -> Bool {
    state.withLock { state in
      state.slots.contains { $0.address.device == device && $0.address.function != 0 }
    }
  }
}

extension PCIBus.Uplink {
  /// A wire from one pin of one slot.
  func line(device: UInt8, pin: InterruptPin) -> InterruptLine {
    wires[(Int(device) + Int(pin.rawValue) - 1) % wires.count].line()
  }
}

// MARK: - Configuration accesses

extension PCIBus {
  /// Reads a register; ones where no function answers.
  func read(_ register: UInt16, of address: PCIAddress) -> UInt32 {
    guard let function = self[address.device, address.function] else { return .max }
    let value = function.readConfiguration(register)
    // Header Type is in the third byte of the fourth register: PCI 3.0 §6.2.1.
    guard register == 0x0c, isMultiFunction(device: address.device) else { return value }
    return value | 1 << 23
  }

  func write(_ value: UInt32, mask: UInt32, _ register: UInt16, of address: PCIAddress) {
    self[address.device, address.function]?.writeConfiguration(value, mask: mask, register)
  }
}
