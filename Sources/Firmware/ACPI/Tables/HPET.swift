extension Table {
  /// Where the high precision event timer is, for the time before the namespace is loaded.
  ///
  /// - SeeAlso: IA-PC HPET 1.0a §3.2.4 "The ACPI 2.0 HPET Description Table".
  static func hpet(_ hpet: PCDescription.HPET) -> Table {
    Table(
      "HPET", revision: 1,
      [
        .dword(hpet.blockID),
        .address(
          GenericAddress(
            space: .memory, bitWidth: 64, accessSize: .undefined, address: UInt64(hpet.address))),
        .byte(0),  // HPET Number
        .word(hpet.minimumTick),
        .byte(0),  // Page Protection: none
      ])
  }
}
