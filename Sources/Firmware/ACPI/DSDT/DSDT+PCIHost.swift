extension Table {
  /// The objects of the PCI Express host bridge.
  ///
  /// - SeeAlso: PCI Firmware 3.3 §4 "ACPI Related Interfaces".
  @Listing<Term> static func pciHost(_ pc: PCDescription) -> [Term] {
    Name("_HID", EISAID("PNP0A08"))
    Name("_CID", EISAID("PNP0A03"))
    Name("_UID", 0)
    Name("_SEG", 0)
    Name("_BBN", Term(UInt64(pc.pci.buses.lowerBound)))
    Name("_CRS", windows(pc))
    Name("_PRT", routing(pc.pci.routing))
    operatingSystemCapabilities
  }

  /// The host bridge's own ports are CF8h to CFFh; it passes on all the others, and memory.
  private static func windows(_ pc: PCDescription) -> Term {
    ResourceTemplate {
      WordBusNumber(pc.pci.buses)
      IO(0xCF8, length: 8)
      WordIO(0x0000...0x0CF7)
      WordIO(0x0D00...0xFFFF)
      if pc.hasVGA { DWordMemory(0xA_0000...0xB_FFFF, .cacheable) }
      DWordMemory(pc.pci.memoryWindow, .nonCacheable)
      if let window = pc.pci.highMemoryWindow { QWordMemory(window, .cacheable) }
    }
  }

  /// A row for each pin of each slot: address (any function), pin, no link device, input.
  ///
  /// - SeeAlso: ACPI 6.4 §6.2.13 "_PRT (PCI Routing Table)".
  private static func routing(_ routing: PCDescription.PCIRouting) -> Term {
    typealias Routing = PCDescription.PCIRouting
    let anyFunction: UInt64 = 0xFFFF
    return Package(
      Routing.slots.flatMap { slot in
        Routing.pins.map { pin in
          Package([
            Term(UInt64(slot) << 16 | anyFunction), Term(UInt64(pin)), 0,
            Term(UInt64(routing.globalInterrupt(slot: slot, pin: pin))),
          ])
        }
      })
  }

  /// The guest asks which features of the hierarchy it may run itself. No firmware runs beside it,
  /// so it is given all that this table knows of: hot plug of both kinds, power management events,
  /// error reporting and the PCI Express capability structure.
  ///
  /// - SeeAlso: ACPI 6.4 §6.2.11 "_OSC (Operating System Capabilities)"; PCI Firmware 3.3 §4.5.
  private static var operatingSystemCapabilities: Term {
    let revision = Arg(1), capabilities = Arg(3)
    let unknownUUID: Term = 0x04, unknownRevision: Term = 0x08, capabilitiesMasked: Term = 0x10
    let status = Reference("STAT"), control = Reference("CTRL"), asked = Local(0)
    return Method("_OSC", arguments: 4, serialized: true) {
      CreateDWordField(capabilities, 0, "STAT")
      If(Equal(Arg(0), UUID(0x33DB_4D5B_1FF7_401C_9657_7441_C03D_D766))) {
        CreateDWordField(capabilities, 8, "CTRL")
        Store(control, into: asked)
        And(control, 0b11111, into: control)
        If(NotEqual(control, asked)) { Or(status, capabilitiesMasked, into: status) }
        If(NotEqual(revision, 1)) { Or(status, unknownRevision, into: status) }
      }
      Else { Or(status, unknownUUID, into: status) }
      Return(capabilities)
    }
  }
}
