/// The ACPI tables of a machine, ready to be copied into its memory.
package struct ACPITables: Sendable {
  /// A table and the address that the others know it by.
  package struct Placement: Sendable {
    package let signature: String
    package let address: UInt32
    package let bytes: [UInt8]
  }

  /// The RSDP: what the guest is told of, or finds between E0000h and FFFFFh.
  package let rootPointer: Placement
  /// Everything that it leads to, in one area that the guest must not use as RAM.
  package let tables: [Placement]
  /// The bytes from the area's first address to the end of its last table.
  package let length: UInt32

  /// Renders the tables of `pc` for an area at `base` and the pointer to them for
  /// `address`; both are multiples of 64.
  package init(describing pc: PCDescription, at base: UInt32, rootPointerAt address: UInt32) {
    precondition((base | address).isMultiple(of: 64), "ACPI tables misaligned")
    var area = Area(end: base)
    let facs = area.place("FACS", firmwareControlStructure)
    let dsdt = area.place(.dsdt(pc))
    var listed = [
      area.place(.fadt(pc, facs: facs, dsdt: dsdt)), area.place(.madt(pc)),
      area.place(.mcfg(pc.pci)),
    ]
    if let hpet = pc.hpet { listed.append(area.place(.hpet(hpet))) }
    let rsdt = area.place(.rsdt(listed))
    let xsdt = area.place(.xsdt(listed))

    tables = area.tables
    length = area.end - base
    rootPointer = Placement(
      signature: "RSD PTR ", address: address,
      bytes: rootSystemDescriptionPointer(rsdt: rsdt, xsdt: xsdt))
  }

  /// Tables one after another, each on a 64-byte boundary because the FACS must be.
  private struct Area {
    var tables: [Placement] = []
    var end: UInt32

    mutating func place(_ table: Table) -> UInt32 { place("\(table.signature)", table.encoded) }

    mutating func place(_ signature: String, _ bytes: [UInt8]) -> UInt32 {
      let address = (end + 63) & ~63
      tables.append(Placement(signature: signature, address: address, bytes: bytes))
      end = address + UInt32(bytes.count)
      return address
    }
  }
}
