package import Board

/// A PCI hierarchy: bus 0, the bridges on it, and the buses behind those.
///
/// The slots of bus 0 are wired in turn to the interrupt inputs. A machine's ACPI tables must say the same.
package final class PCIRoot: Sendable {
  package let bus: PCIBus
  private let fabric: PCIFabric
  private let wires: [SharedPin]

  /// - Parameters:
  ///   - ports: where BARs of ports answer.
  ///   - registers: where BARs of memory answer.
  ///   - messages: where message-signalled interrupts go.
  ///   - interrupts: the controller whose inputs the slots are wired to.
  ///   - firstInterrupt: the first of its inputs that is PCI's.
  ///   - interruptCount: how many there are.
  package init(
    ports: IOBus, registers: IOBus, messages: any MSITarget, interrupts: any InterruptController,
    firstInterrupt: UInt32 = 16, interruptCount: UInt32 = 8
  ) {
    precondition(interruptCount > 0, "PCI needs at least one interrupt")
    fabric = PCIFabric(ports: ports, registers: registers, messages: messages)
    bus = PCIBus()
    fabric.connect(root: bus)
    wires = (0..<interruptCount).map { SharedPin(to: interrupts, pin: firstInterrupt + $0) }
    bus.connect(PCIBus.Uplink(fabric: fabric, wires: wires, isRoot: true))
  }

  /// Takes all functions off the machine, for good: no address answers any more, and nothing keeps who did.
  package func dismantle() {
    for device in 0..<32 as Range<UInt8> { bus.unplug(device: device) }
  }

  /// A wire to one of the interrupt inputs, for a device that is on no bus. They are counted from the first, around.
  package func interruptLine(_ index: Int) -> InterruptLine { wires[index % wires.count].line() }

  /// The bus of that number, found as a configuration request is routed: from bridge to bridge.
  ///
  /// Every step leads one bridge further into the hierarchy as it was built, so that no numbers that a
  /// guest may think of make it turn in a circle.
  ///
  /// - SeeAlso: PCI-to-PCI Bridge Architecture 1.2 chapter 3.
  package func bus(_ number: UInt8) -> PCIBus? {
    var bus = self.bus
    while bus.number != number {
      let next = bus.inventory.lazy.compactMap(\.bridge).first {
        $0.buses.contains(UInt16(number))
      }
      guard let next else { return nil }
      bus = next.secondary
    }
    return bus
  }
}
