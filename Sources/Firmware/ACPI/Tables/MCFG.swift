extension Table {
  /// Where PCI Express configuration space is mapped.
  ///
  /// - SeeAlso: PCI Firmware 3.3 §4.1.2 "MCFG Table Description".
  static func mcfg(_ pci: PCDescription.PCIHost) -> Table {
    Table(
      "MCFG", revision: 1,
      [
        .reserved(8),
        .qword(UInt64(pci.configurationBase)),
        .word(0),  // PCI Segment Group Number
        .byte(pci.buses.lowerBound),
        .byte(pci.buses.upperBound),
        .reserved(4),
      ])
  }
}
