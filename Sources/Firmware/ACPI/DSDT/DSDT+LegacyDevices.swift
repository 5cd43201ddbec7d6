extension Table {
  /// The devices of the PC/AT. They stand below the host bridge, whose windows their ports are in.
  ///
  /// - SeeAlso: ACPI 6.4 §5.6.7 "Device Class-Specific Objects"; Microsoft *Plug and Play Vendor IDs
  ///   and Device IDs* for the identifiers.
  @Listing<Term> static func legacyDevices(_ pc: PCDescription) -> [Term] {
    if pc.realTimeClock != nil { realTimeClock }
    if pc.hasKeyboardController {
      keyboard
      mouse
    }
    for (index, port) in pc.serialPorts.enumerated() { serialPort(index, port) }
    if let hpet = pc.hpet { timer(hpet) }
  }

  private static var realTimeClock: Term {
    Device("RTC") {
      Name("_HID", EISAID("PNP0B00"))
      Name(
        "_CRS",
        ResourceTemplate {
          IO(0x70, length: 2)
          IRQNoFlags(8)
        })
    }
  }

  private static var keyboard: Term {
    Device("KBD") {
      Name("_HID", EISAID("PNP0303"))
      Name(
        "_CRS",
        ResourceTemplate {
          IO(0x60, length: 1)
          IO(0x64, length: 1)
          IRQNoFlags(1)
        })
    }
  }

  /// The mouse hangs on the keyboard's controller: only the interrupt is its own.
  private static var mouse: Term {
    Device("MOU") {
      Name("_HID", EISAID("PNP0F13"))
      Name("_CRS", ResourceTemplate { IRQNoFlags(12) })
    }
  }

  private static func serialPort(_ index: Int, _ port: PCDescription.SerialPort) -> Term {
    Device(NamePath("COM\(index + 1)")) {
      Name("_HID", EISAID("PNP0501"))
      Name("_UID", Term(UInt64(index + 1)))
      Name(
        "_CRS",
        ResourceTemplate {
          IO(port.port, length: 8)
          IRQNoFlags(port.interrupt)
        })
    }
  }

  private static func timer(_ hpet: PCDescription.HPET) -> Term {
    Device("HPET") {
      Name("_HID", EISAID("PNP0103"))
      Name("_UID", 0)
      Name("_CRS", ResourceTemplate { Memory32Fixed(hpet.address, length: 0x400, writable: false) })
    }
  }
}
