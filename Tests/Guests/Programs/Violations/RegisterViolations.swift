import Arch

/// Registers in every width, at every offset, with any content, while the device works.
enum RegisterViolations {
  static func commit(_ violations: Violations) {
    if let transport = violations.driver.transport as? MMIOTransport {
      sweep(violations, "of the transport", transport.base, 0x100)
      sweep(violations, "of the device's configuration", transport.configuration, 0x40)
      sweep(violations, "at the end of the window", transport.base + 0x1f0, 0x20)
      whole(violations, transport.base, 0x200)
    }
    if let transport = violations.driver.transport as? PCITransport {
      sweep(violations, "of the common structure", transport.common, 0x40)
      sweep(violations, "of the notifications", transport.notification, 0x20)
      sweep(violations, "of the interrupt status", transport.interruptStatus, 8)
      if transport.configuration != 0 {
        sweep(violations, "of the device's configuration", transport.configuration, 0x40)
      }
      sweep(violations, "behind the common structure", transport.common + 0xff0, 0x10)
      whole(violations, transport.common, 0x40)
    }
  }

  private static func sweep(
    _ violations: Violations, _ which: StaticString, _ start: UInt64, _ length: UInt64
  ) {
    for offset in 0..<length / 4 {
      violations.violate("any access to a register", which, offset * 4) { driver in
        violations.fill(driver)
        access(start + offset * 4, violations)
        driver.kickAll()
      }
    }
  }

  /// Reads and writes of all widths within four bytes, over their end, and by instructions that do both.
  private static func access(_ register: UInt64, _ violations: Violations) {
    for byte in UInt64(0)..<4 {
      let place = register + byte
      let value = violations.chance.next()
      _ = load8(place)
      _ = load16(place)
      _ = load32(place)
      _ = load64(place)
      store8(place, UInt8(truncatingIfNeeded: value))
      store16(place, UInt16(truncatingIfNeeded: value >> 8))
      store32(place, UInt32(truncatingIfNeeded: value >> 24))
      store64(place, value)
    }
    store32(register, 0)
    store32(register, .max)
    locked_increment32(register)
    _ = exchange(register & ~7, violations.chance.next())
  }

  private static func whole(_ violations: Violations, _ start: UInt64, _ length: UInt64) {
    for byte: UInt8 in [0, 1, 0x55, 0xff] {
      violations.violate("all registers are filled with", "", UInt64(byte)) { driver in
        violations.fill(driver)
        fill_bytes(start, byte, length)
        driver.kickAll()
      }
    }
    violations.violate("all registers are copied over each other") { driver in
      violations.fill(driver)
      copy_bytes(start + 1, start, length - 1)
      driver.kickAll()
    }
  }
}
