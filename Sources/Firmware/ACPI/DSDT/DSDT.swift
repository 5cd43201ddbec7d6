extension Table {
  /// The devices that the guest cannot find by itself, and the methods to run them.
  ///
  /// - SeeAlso: ACPI 6.4 §5.2.11.1 "Differentiated System Description Table (DSDT)".
  static func dsdt(_ pc: PCDescription) -> Table {
    let namespace = [
      Scope("\\_SB") {
        for (index, id) in pc.processors.enumerated() { processor(index, id: id) }
        motherboard(pc)
        Device("PCI0") {
          pciHost(pc)
          legacyDevices(pc)
        }
        for (index, device) in pc.virtioDevices.enumerated() { virtioDevice(index, device) }
      },
      softOff(pc.powerManagement),
    ]
    let revisionWith64BitIntegers: UInt8 = 2
    return Table("DSDT", revision: revisionWith64BitIntegers, content: namespace.aml)
  }

  /// ACPI 6.4 §8.4 "Declaring Processors".
  private static func processor(_ index: Int, id: UInt32) -> Term {
    precondition(index < 1 << 12, "three hexadecimal digits name a processor")
    let digits = String(index, radix: 16, uppercase: true)
    return Device(NamePath("C" + String(repeating: "0", count: 3 - digits.count) + digits)) {
      Name("_HID", "ACPI0007")
      Name("_UID", Term(UInt64(id)))
    }
  }

  /// What the board itself decodes and no device may be placed over. The ports of the fixed hardware
  /// need no mention: the FADT names them.
  ///
  /// - SeeAlso: PCI Firmware 3.3 §4.1.2, which asks for configuration space to be reserved here.
  private static func motherboard(_ pc: PCDescription) -> Term {
    let configuration = pc.pci.configurationSpace
    return Device("MBRD") {
      Name("_HID", EISAID("PNP0C02"))
      Name("_UID", 0)
      Name(
        "_CRS",
        ResourceTemplate {
          Memory32Fixed(configuration.lowerBound, length: UInt32(configuration.count))
        })
    }
  }

  /// The one sleep state: off.
  ///
  /// - SeeAlso: ACPI 6.4 §7.4.2 "\_Sx (System States)".
  private static func softOff(_ power: PCDescription.PowerManagement) -> Term {
    Name("\\_S5", Package([Term(UInt64(power.softOff)), Term(UInt64(power.softOff)), 0, 0]))
  }
}
