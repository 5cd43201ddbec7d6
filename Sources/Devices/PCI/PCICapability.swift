/// A structure in a function's list of capabilities: registers, and which of their bits a guest may change.
///
/// What a bit means is up to the device, which asks `ConfigurationSpace.capability` for the registers.
///
/// - SeeAlso: PCI 3.0 §6.7 "Capabilities List".
package struct PCICapability: Sendable {
  package let id: UInt8
  /// From the doubleword on that begins with ID and pointer; those two bytes are filled in.
  package var registers: [UInt32]
  package let writable: [UInt32]

  package init(id: UInt8, registers: [UInt32], writable: [UInt32]) {
    precondition(
      registers.count == writable.count && !registers.isEmpty,
      "a capability has as many masks as registers, and at least one")
    self.id = id
    self.registers = registers
    self.writable = writable
  }
}
