import Arch

/// Steps of a driver's beginning in a wrong order, and feature bits that it may not accept (VIRTIO 1.3 §2.1, §2.2, §3.1).
enum StatusViolations {
  static func commit(_ violations: Violations) {
    beginnings(violations)
    later(violations)
    resets(violations)
    features(violations)
  }

  /// What is written first to a device that was just reset, and then as if all were well.
  private static func beginnings(_ violations: Violations) {
    for status: UInt8 in [
      0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0f, 0x10, 0x20, 0x30,
      0x40, 0x41, 0x7f, 0x80, 0x83, 0x8b, 0x8f, 0xbf, 0xff,
    ] {
      violations.checkEarly("the first status is", UInt64(status)) { driver in
        driver.transport.status = status
        driver.enable(driver.requests)
        driver.offer(driver.use.request())
        driver.transport.status = status | DeviceStatus.driverOK
        driver.offer(driver.use.request())
        return violations.isSilent(driver) ? nil : "it serves a driver that agreed on nothing"
      }
    }
    violations.checkEarly("the status counts up") { driver in
      for status in UInt8(1)...255 { driver.transport.status = status }
      driver.offer(driver.use.request())
      return violations.isSilent(driver) ? nil : "it serves a driver that agreed on nothing"
    }
    violations.checkEarly("the status counts down") { driver in
      for status in UInt8(1)...255 { driver.transport.status = 0 &- status }
      driver.offer(driver.use.request())
      return violations.isSilent(driver) ? nil : "it serves a driver that agreed on nothing"
    }
  }

  /// What is written to the status of a device at work.
  private static func later(_ violations: Violations) {
    for status: UInt8 in [0x01, 0x02, 0x03, 0x04, 0x0b, 0x40, 0x4f, 0x80, 0x8f, 0xf0, 0xff] {
      violations.violate("the status becomes, at work,", "", UInt64(status)) { driver in
        violations.fill(driver)
        driver.transport.status = status
        driver.kickAll()
      }
    }
  }

  private static func resets(_ violations: Violations) {
    violations.violate("a reset with requests in flight") { driver in
      violations.fill(driver)
      driver.transport.status = 0
    }
    violations.violate("a driver that does not wait for the reset") { driver in
      violations.fill(driver)
      driver.transport.status = 0
      _ = driver.negotiate(driver.features)
      for index in 0..<driver.ringCount { driver.enable(driver.ring(index)) }
      driver.transport.status |= DeviceStatus.driverOK
      driver.kickAll()
    }
    violations.violate("a hundred resets, with a request in each life") { driver in
      for _ in 0..<100 {
        driver.transport.status = 0
        driver.kickAll()
        driver.transport.status = DeviceStatus.acknowledge
      }
    }
    violations.violate("a reset before a request is looked at, and one in its midst") { driver in
      for _ in 0..<4 {
        guard driver.begin(violations.dialect) else { return }
        violations.fill(driver)
        driver.transport.status = 0
      }
    }
    violations.violate("a failed driver goes on") { driver in
      driver.transport.status |= DeviceStatus.failed
      driver.offer(driver.use.request())
    }
  }

  private static func features(_ violations: Violations) {
    for bit in UInt64(0)..<64 where violations.driver.offered >> bit & 1 == 0 {
      accept(violations, "a feature that is not offered is accepted", bit) {
        violations.dialect.features | 1 << bit
      }
    }
    accept(violations, "no feature is accepted") { 0 }
    accept(violations, "all features are accepted that can be thought of") { .max }
    accept(violations, "all features are accepted but the version") {
      violations.driver.offered & ~Feature.version1
    }
    violations.check("features are accepted after FEATURES_OK") { driver in
      guard driver.prepare(violations.dialect) else { return nil }
      driver.transport.accept(driver.features ^ Feature.packed)
      for index in 0..<driver.ringCount { driver.enable(driver.ring(index)) }
      driver.transport.status |= DeviceStatus.driverOK
      return isUnmoved(driver)
    }
    violations.check("features are accepted at work") { driver in
      driver.transport.accept(driver.features ^ Feature.packed ^ Feature.eventIndex)
      return isUnmoved(driver)
    }
  }

  /// §2.2.2: what the device cannot agree to it refuses by FEATURES_OK.
  private static func accept(
    _ violations: Violations, _ what: StaticString, _ bit: UInt64? = nil, _ features: () -> UInt64
  ) {
    violations.checkEarly(what, bit) { driver in
      if driver.negotiate(features()) { return "it agrees" }
      driver.enable(driver.requests)
      driver.transport.status |= DeviceStatus.driverOK
      driver.offer(driver.use.request())
      return violations.isSilent(driver) ? nil : "it serves a driver with whom it does not agree"
    }
  }

  private static func isUnmoved(_ driver: VirtioDriver) -> StaticString? {
    // The rings are still those that were agreed on.
    driver.complete(driver.use.request()) == nil ? "it speaks otherwise than was agreed on" : nil
  }
}
