import Arch

/// What a driver may not do to the rings themselves (VIRTIO 1.3 §2.7.6 to §2.7.13, §2.8.1 to §2.8.21).
enum RingViolations {
  static func commit(_ violations: Violations) {
    violations.dialect.contains(.packed) ? packed(violations) : split(violations)
    garbage(violations)
    notifications(violations)
    whileItWorks(violations)
  }

  // MARK: Split rings

  private static func split(_ violations: Violations) {
    for step: UInt16 in [2, 8, 9, 10, 0x100, 0x7fff, 0x8000, 0xfffe, 0xffff] {
      violations.violate("the available index jumps by", "", UInt64(step)) { driver in
        store16(driver.requests.driverArea + 2, step)
        driver.kickAll()
      }
      violations.violate("the available index jumps, after a request, by", "", UInt64(step)) {
        driver in
        _ = driver.complete(driver.use.request())
        store16(driver.requests.driverArea + 2, 1 &+ step)
        driver.kickAll()
      }
    }
    violations.violate("the available index goes back") { driver in
      _ = driver.complete(driver.use.request())
      store16(driver.requests.driverArea + 2, 0)
      driver.kickAll()
    }
    violations.violate("a request is offered twice at once") { driver in
      driver.offer(driver.use.request())
      store16(driver.requests.driverArea + 6, load16(driver.requests.driverArea + 4))
      store16(driver.requests.driverArea + 2, 2)
      driver.kickAll()
    }
    violations.violate("a request is offered as often as the ring is long") { driver in
      driver.offer(driver.use.request())
      store16(driver.requests.driverArea + 2, driver.requests.size)
      driver.kickAll()
    }
    for flags: UInt16 in [2, 0xfffe, 0xffff] {
      violations.violate("the available ring has flags", "", UInt64(flags)) { driver in
        store16(driver.requests.driverArea, flags)
        driver.offer(driver.use.request())
      }
    }
    for index: UInt16 in [1, 8, 0x8000, 0xffff] {
      violations.violate("the driver writes to the used index", "", UInt64(index)) { driver in
        store16(driver.requests.deviceArea + 2, index)
        driver.offer(driver.use.request())
      }
      violations.violate("the driver waits for an event at", "", UInt64(index)) { driver in
        let size = UInt64(driver.requests.size)
        store16(driver.requests.driverArea + 4 + 2 * size, index)
        store16(driver.requests.deviceArea + 4 + 8 * size, index)
        driver.offer(driver.use.request())
      }
    }
  }

  // MARK: Packed rings

  private static func packed(_ violations: Violations) {
    let both = Descriptor.available | Descriptor.used
    for flags: UInt16 in [0, both, Descriptor.used, both | 7] {
      violations.violate("a descriptor with the wrap counters", "", UInt64(flags)) { driver in
        driver.offer(driver.use.request())
        store16(driver.requests.descriptors + 14, flags)
        driver.kickAll()
      }
      violations.violate("all descriptors have the flags", "", UInt64(flags)) { driver in
        for slot in 0..<UInt64(driver.requests.size) {
          store16(driver.requests.descriptors + 16 * slot + 14, flags)
        }
        driver.kickAll()
      }
    }
    for flags: UInt16 in [0, 1, 2, 3, 4, 5, 7] {
      violations.violate("all descriptors are available, with the flags", "", UInt64(flags)) {
        driver in
        driver.offer(driver.use.request())
        let first = driver.requests.descriptors
        for slot in 0..<UInt64(driver.requests.size) {
          store64(first + 16 * slot, load64(first))
          store32(first + 16 * slot + 8, 16)
          store16(first + 16 * slot + 14, Descriptor.available | flags)
        }
        driver.kickAll()
      }
    }
    violations.check("a request skips a place") { driver in
      var chain = driver.use.request()
      driver.requests.join(&chain)
      store64(driver.requests.descriptors + 16, chain.first.address)
      store32(driver.requests.descriptors + 24, chain.first.length)
      store16(driver.requests.descriptors + 30, Descriptor.available)
      driver.kickAll()
      return violations.isSilent(driver) ? nil : "it skips it too"
    }
    violations.violate("a request is offered again in the same lap") { driver in
      _ = driver.complete(driver.use.request())
      store16(driver.requests.descriptors + 14, Descriptor.available)
      driver.kickAll()
    }
    violations.violate("a used descriptor is made the next lap's too early") { driver in
      _ = driver.complete(driver.use.request())
      store16(driver.requests.descriptors + 14, Descriptor.used)
      driver.kickAll()
    }
    for flags: UInt16 in [1, 2, 3, 0xfffc, 0xffff] {
      for event: UInt16 in [0, 7, 8, 0x7fff, 0x8000, 0xffff] {
        violations.violate(
          "the driver suppresses events by", "", UInt64(flags) << 16 | UInt64(event)
        ) {
          driver in
          store16(driver.requests.driverArea, event)
          store16(driver.requests.driverArea + 2, flags)
          driver.offer(driver.use.request())
        }
      }
      violations.violate("the driver writes to the device's events", "", UInt64(flags)) { driver in
        store16(driver.requests.deviceArea, 0xffff)
        store16(driver.requests.deviceArea + 2, flags)
        driver.offer(driver.use.request())
      }
    }
  }

  // MARK: Both

  private static func garbage(_ violations: Violations) {
    for turn in UInt64(0)..<4 {
      violations.violate("chance in the descriptors", "", turn) { driver in
        for ring in 0..<driver.ringCount {
          scribble(driver.ring(ring).descriptors, 16 * UInt64(Ring.mostEntries), violations)
        }
        driver.kickAll()
      }
      violations.violate("chance in the driver's area", "", turn) { driver in
        driver.offer(driver.use.request())
        for ring in 0..<driver.ringCount { scribble(driver.ring(ring).driverArea, 24, violations) }
        driver.kickAll()
      }
      violations.violate("chance in the device's area", "", turn) { driver in
        driver.offer(driver.use.request())
        for ring in 0..<driver.ringCount { scribble(driver.ring(ring).deviceArea, 72, violations) }
        driver.kickAll()
      }
      violations.violate("chance in all of the ring", "", turn) { driver in
        for ring in 0..<driver.ringCount {
          scribble(driver.ring(ring).descriptors, 16 * UInt64(Ring.mostEntries), violations)
          scribble(driver.ring(ring).driverArea, 24, violations)
          scribble(driver.ring(ring).deviceArea, 72, violations)
        }
        driver.kickAll()
      }
      violations.violate("chance in a table", "", turn) { driver in
        var chain = driver.use.request()
        chain.isInTable = true
        driver.requests.join(&chain)
        driver.requests.add(chain)
        scribble(driver.requests.tables, 16 * UInt64(chain.count), violations)
        driver.kickAll()
      }
    }
  }

  /// Addresses of 64 bits by chance are none in RAM.
  private static func scribble(_ start: UInt64, _ count: UInt64, _ violations: Violations) {
    for offset in 0..<count / 8 { store64(start + 8 * offset, violations.chance.next()) }
  }

  private static func notifications(_ violations: Violations) {
    violations.violate("a hundred notifications of nothing") { driver in
      for _ in 0..<100 { driver.kickAll() }
    }
    violations.violate("a request of which the device is not told") { driver in
      var chain = driver.use.request()
      driver.requests.join(&chain)
      driver.requests.add(chain)
    }
    violations.violate("a request without buffers") { driver in
      driver.requests.add(Chain(for: driver.use.requestQueue))
      driver.kickAll()
    }
    for index in 0..<driver(violations).ringCount where index != violations.use.requestQueue {
      violations.violate("a request in the wrong queue", "", UInt64(index)) { driver in
        var chain = driver.use.request()
        driver.ring(index).join(&chain)
        driver.ring(index).add(chain)
        driver.kickAll()
      }
    }
  }

  private static func driver(_ violations: Violations) -> VirtioDriver { violations.driver }

  /// The device may find any state of what is being written.
  private static func whileItWorks(_ violations: Violations) {
    violations.violate("the indices run while the device works") { driver in
      violations.fill(driver)
      for count in UInt16(0)..<200 {
        store16(driver.requests.driverArea + 2, count &* 7)
        if count % 50 == 0 { driver.kickAll() }
      }
    }
    violations.violate("descriptors change while the device works") { driver in
      violations.fill(driver)
      for count in UInt64(0)..<200 {
        let place = driver.requests.descriptors + 16 * (count % UInt64(Ring.mostEntries))
        store64(place, violations.chance.next())
        store32(place + 8, UInt32(truncatingIfNeeded: count))
        if count % 50 == 0 { driver.kickAll() }
      }
    }
    violations.violate("a table changes while the device works") { driver in
      violations.fill(driver)
      for count in UInt64(0)..<200 {
        store64(driver.requests.tables + 16 * (count % 3), violations.chance.next())
        store32(driver.requests.tables + 16 * (count % 3) + 12, UInt32(count))
        if count % 50 == 0 { driver.kickAll() }
      }
    }
  }
}
