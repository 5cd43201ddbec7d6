import Arch

/// The ways a guest ends its machine. None of them comes back.
enum Endings {
  /// S5, by the type that the DSDT's \_S5 names (ACPI 6.5 §4.8.3.2.1, §7.4.2.5).
  static func powerOff() -> Never {
    guard let fadt = ACPI.fadt else { fail("no FADT") }
    guard let type = sleepType(fadt) else { fail("no \\_S5") }
    let control = UInt16(truncatingIfNeeded: load32(fadt + 64))
    let enable = load8(fadt + 52)
    if in16(control) & 1 == 0, enable != 0 {
      out8(UInt16(truncatingIfNeeded: load32(fadt + 48)), enable)
      expect("ACPI mode", Time.wait(upTo: 1000) { in16(control) & 1 == 1 })
    }
    line("end  by S5")
    out16(control, in16(control) & 0x203 | type << 10 | 1 << 13)
    stop_forever()
  }

  /// The first element of the package that is \_S5's value.
  private static func sleepType(_ fadt: UInt64) -> UInt16? {
    let table = UInt64(load32(fadt + 40))
    let end = table + UInt64(load32(table + 4))
    var at = table + 36
    while at + 9 <= end {
      // NameOp (or its root), "_S5_", PackageOp, a length of one byte, a count, then the element.
      if load32(at) == 0x5f35_535f, load8(at + 4) == 0x12 {
        let element = at + 7
        return UInt16(load8(element) == 0x0a ? load8(element + 1) : load8(element))
      }
      at += 1
    }
    return nil
  }

  /// The reset control register, port CF9h: a full reset.
  static func resetControl() -> Never {
    line("end  by CF9h")
    out8(0xcf9, 0x02)
    out8(0xcf9, 0x06)
    stop_forever()
  }

  /// The 8042's command FEh: a pulse on its output bit 0.
  static func keyboardController() -> Never {
    while in8(0x64) & 2 != 0 { spin_pause() }
    line("end  by the 8042")
    out8(0x64, 0xfe)
    stop_forever()
  }

  /// An exception without an IDT.
  static func tripleFault() -> Never {
    line("end  by a triple fault")
    load_empty_idt()
    invalid()
    stop_forever()
  }
}
