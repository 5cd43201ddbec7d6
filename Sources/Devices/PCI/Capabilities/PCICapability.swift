/// A structure in one of a function's lists of capabilities: registers, and which of their bits a guest
/// may change.
///
/// What a bit means is up to the device, which asks `ConfigurationSpace.capability` for the registers.
///
/// - SeeAlso: PCI 3.0 §6.7 "Capabilities List"; PCIe 6.0 §7.6 "PCI Express Extended Capabilities".
package struct PCICapability: Sendable {
  package let id: UInt16
  /// The version of an extended capability, which lies beyond the first 256 bytes; `nil`: it is none.
  package let extendedVersion: UInt8?
  /// From the doubleword on that begins with the ID; ID and pointer are filled in.
  package var registers: [UInt32]
  /// Bits that the guest may change.
  package let writable: [UInt32]
  /// Bits that writing a one clears.
  package let clearable: [UInt32]
  /// Bits that follow from something else than what was written: they may differ in a saved function.
  package let driven: [UInt32]
  package let live: (any LiveCapability)?

  package init(
    id: UInt8, registers: [UInt32], writable: [UInt32]? = nil, clearable: [UInt32]? = nil,
    driven: [UInt32]? = nil, live: (any LiveCapability)? = nil
  ) {
    self.init(UInt16(id), nil, registers, writable, clearable, driven, live)
  }

  /// An extended capability, which only PCI Express functions have.
  package init(
    extended id: UInt16, version: UInt8, registers: [UInt32], writable: [UInt32]? = nil,
    clearable: [UInt32]? = nil
  ) {
    self.init(id, version, registers, writable, clearable, nil, nil)
  }

  private init(
    _ id: UInt16, _ version: UInt8?, _ registers: [UInt32], _ writable: [UInt32]?,
    _ clearable: [UInt32]?, _ driven: [UInt32]?, _ live: (any LiveCapability)?
  ) {
    let none = [UInt32](repeating: 0, count: registers.count)
    self.id = id
    extendedVersion = version
    self.registers = registers
    self.writable = writable ?? none
    self.clearable = clearable ?? none
    self.driven = driven ?? none
    self.live = live
    precondition(
      !registers.isEmpty
        && [self.writable, self.clearable, self.driven].allSatisfy { $0.count == registers.count },
      "a capability has as many masks as registers, and at least one")
  }
}

/// Who answers in a capability whose registers do something when they are accessed.
///
/// Called on the guest's processors, not under the function's lock. `index` counts doublewords from the
/// capability's first; `registers` are all of it, as they are now.
package protocol LiveCapability: AnyObject, Sendable {
  /// What a register reads as.
  func read(_ index: Int, _ registers: [UInt32]) -> UInt32
  /// The guest has written the bytes of `mask`; what of that is kept is in `registers` already. `old` is
  /// what the register was.
  func written(_ index: Int, mask: UInt32, old: UInt32, _ registers: [UInt32])
}

extension LiveCapability {
  package func read(_ index: Int, _ registers: [UInt32]) -> UInt32 { registers[index] }
}
