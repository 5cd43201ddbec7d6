import Arch

/// The device's own configuration space, written with any content while the device works (VIRTIO 1.3 §2.5).
enum ConfigurationViolations {
  static func commit(_ violations: Violations) {
    guard violations.driver.transport.configuration != 0 else { return }
    for value: UInt64 in [0, 1, 0x8000_0000_8000_0000, .max] {
      violations.violate("the configuration is filled with", "", value) { driver in
        violations.fill(driver)
        let start = driver.transport.configuration
        for offset in UInt64(0)..<16 {
          store32(start + 4 * offset, UInt32(truncatingIfNeeded: value))
        }
        for offset in UInt64(0)..<32 {
          store16(start + 2 * offset, UInt16(truncatingIfNeeded: value))
        }
        for offset in UInt64(0)..<64 { store8(start + offset, UInt8(truncatingIfNeeded: value)) }
        driver.kickAll()
      }
    }
    violations.checkEarly("the configuration is written to before the device is known") {
      driver in
      for offset in UInt64(0)..<16 {
        store32(
          driver.transport.configuration + 4 * offset,
          UInt32(truncatingIfNeeded: violations.chance.next()))
      }
      return nil
    }
  }
}
