import Arch

/// Queues that no driver may set up (VIRTIO 1.3 §2.6, §2.7, §2.8.10.1, §4.1.5.1.3, §4.2.3.2).
enum LayoutViolations {
  static func commit(_ violations: Violations) {
    places(violations)
    sizes(violations)
    order(violations)
    resets(violations)
  }

  /// Sets up the queue of requests as `change` wants it, and offers a request.
  private static func layOut(
    _ violations: Violations, _ what: StaticString, _ detail: StaticString = "",
    _ number: UInt64? = nil, _ change: (any VirtioTransport, Ring) -> Void
  ) {
    violations.violate(what, detail, number) { driver in
      guard driver.prepare(violations.dialect) else { return }
      for index in 0..<driver.ringCount where index != driver.use.requestQueue {
        driver.enable(driver.ring(index))
      }
      let transport = driver.transport
      transport.select(queue: UInt32(driver.use.requestQueue))
      transport.setQueue(size: UInt32(driver.requests.size))
      transport.setQueue(.descriptors, at: driver.requests.descriptors)
      transport.setQueue(.driver, at: driver.requests.driverArea)
      transport.setQueue(.device, at: driver.requests.deviceArea)
      change(transport, driver.requests)
      transport.isQueueEnabled = true
      transport.status |= DeviceStatus.driverOK
      driver.offer(driver.use.request())
    }
  }

  private static func places(_ violations: Violations) {
    Place.forEach(near: violations.driver.transport) { place in
      // Aligned, where it can be.
      let address = place.address & ~15
      layOut(violations, "the descriptors lie", place.name) { transport, _ in
        transport.setQueue(.descriptors, at: address)
      }
      layOut(violations, "the driver's area lies", place.name) { transport, _ in
        transport.setQueue(.driver, at: address)
      }
      layOut(violations, "the device's area lies", place.name) { transport, _ in
        transport.setQueue(.device, at: address)
      }
    }
    for offset: UInt64 in [1, 2, 4, 8] {
      layOut(violations, "the descriptors are off by", "", offset) { transport, ring in
        transport.setQueue(.descriptors, at: ring.descriptors + offset)
      }
      layOut(violations, "the driver's area is off by", "", offset) { transport, ring in
        transport.setQueue(.driver, at: ring.driverArea + offset)
      }
      layOut(violations, "the device's area is off by", "", offset) { transport, ring in
        transport.setQueue(.device, at: ring.deviceArea + offset)
      }
    }
    layOut(violations, "all areas are one") { transport, ring in
      transport.setQueue(.driver, at: ring.descriptors)
      transport.setQueue(.device, at: ring.descriptors)
    }
    layOut(violations, "the areas of the driver and the device change places") { transport, ring in
      transport.setQueue(.driver, at: ring.deviceArea)
      transport.setQueue(.device, at: ring.driverArea)
    }
    layOut(violations, "the areas are another queue's") { transport, ring in
      let other = violations.driver.ring(0)
      transport.setQueue(.descriptors, at: other.descriptors)
      transport.setQueue(.driver, at: other.driverArea)
      transport.setQueue(.device, at: other.deviceArea)
    }
  }

  private static func sizes(_ violations: Violations) {
    let most = UInt64(violations.driver.requests.size)
    for size: UInt64 in [0, 1, 2, 3, 5, 7, most + 1, 0x7fff, 0x8000, 0x8001, 0xffff, 0x1_0008] {
      layOut(violations, "the queue's size is", "", size) { transport, _ in
        transport.setQueue(size: UInt32(size))
      }
    }
    layOut(violations, "the queue's size is twice what it may be") { transport, _ in
      transport.setQueue(size: 2 * transport.queueMaximum)
    }
  }

  private static func order(_ violations: Violations) {
    let isServed: StaticString = "it serves a queue too early"
    violations.checkEarly("a queue is enabled before anything else") { driver in
      driver.enable(driver.requests)
      driver.offer(driver.use.request())
      return violations.isSilent(driver) ? nil : isServed
    }
    violations.checkEarly("a queue is enabled before FEATURES_OK") { driver in
      driver.transport.status = DeviceStatus.acknowledge
      driver.transport.status = DeviceStatus.acknowledge | DeviceStatus.driver
      driver.enable(driver.requests)
      driver.offer(driver.use.request())
      return violations.isSilent(driver) ? nil : isServed
    }
    // §3.1.1: no buffer is consumed before DRIVER_OK.
    violations.check("a request before DRIVER_OK") { driver in
      guard driver.prepare(violations.dialect) else { return nil }
      driver.enable(driver.requests)
      driver.offer(driver.use.request())
      return violations.isSilent(driver) ? nil : isServed
    }
    violations.check("a request in a queue that is not enabled") { driver in
      guard driver.prepare(violations.dialect) else { return nil }
      driver.transport.status |= DeviceStatus.driverOK
      driver.offer(driver.use.request())
      return violations.isSilent(driver) ? nil : isServed
    }
    violations.violate("a queue is enabled after DRIVER_OK") { driver in
      guard driver.prepare(violations.dialect) else { return }
      driver.transport.status |= DeviceStatus.driverOK
      driver.enable(driver.requests)
      driver.offer(driver.use.request())
    }
    violations.violate("a queue is enabled twice") { driver in
      driver.offer(driver.use.request())
      driver.enable(driver.requests)
      driver.enable(driver.requests)
    }
    violations.check("a queue moves while it is enabled") { driver in
      violations.fill(driver)
      driver.transport.select(queue: UInt32(driver.use.requestQueue))
      driver.transport.setQueue(size: 2)
      driver.transport.setQueue(.descriptors, at: Place.endOfRAM)
      driver.transport.setQueue(.driver, at: Place.endOfRAM)
      driver.transport.setQueue(.device, at: Place.endOfRAM)
      driver.transport.isQueueEnabled = true
      driver.kickAll()
      return driver.wait(driver.use.requestQueue) == nil ? "it lost its queue" : nil
    }
    violations.violate("a queue is disabled while it works") { driver in
      violations.fill(driver)
      driver.transport.select(queue: UInt32(driver.use.requestQueue))
      driver.transport.isQueueEnabled = false
      driver.kickAll()
    }
    for queue: UInt32 in [8, 0x7f, 0xff, 0xffff, 0x1_0000, 0xffff_ffff] {
      violations.violate("a queue is set up that there is not", "", UInt64(queue)) { driver in
        driver.transport.select(queue: queue)
        driver.transport.setQueue(size: 8)
        driver.transport.setQueue(.descriptors, at: driver.requests.descriptors)
        driver.transport.isQueueEnabled = true
        driver.transport.resetQueue()
        driver.transport.isQueueEnabled = false
        // On PCI each number has a place of its own: not further than the page.
        driver.transport.notify(queue: driver.transport is MMIOTransport ? queue : queue & 0xff)
      }
    }
  }

  /// §2.6.1.
  private static func resets(_ violations: Violations) {
    violations.violate("a queue is reset while it works") { driver in
      violations.fill(driver)
      driver.transport.select(queue: UInt32(driver.use.requestQueue))
      driver.transport.resetQueue()
      driver.kickAll()
    }
    violations.violate("queues are reset again and again") { driver in
      violations.fill(driver)
      for turn in 0..<40 {
        driver.transport.select(queue: UInt32(turn % (driver.ringCount + 1)))
        driver.transport.resetQueue()
        driver.transport.isQueueEnabled = turn & 4 != 0
        driver.kickAll()
      }
    }
    violations.violate("a queue that was reset is enabled behind RAM") { driver in
      driver.transport.select(queue: UInt32(driver.use.requestQueue))
      driver.transport.resetQueue()
      driver.transport.setQueue(.descriptors, at: Place.endOfRAM)
      driver.transport.setQueue(.driver, at: Place.endOfRAM)
      driver.transport.setQueue(.device, at: Place.endOfRAM)
      driver.transport.isQueueEnabled = true
      driver.kickAll()
    }
    violations.violate("a queue is reset although that was not agreed on") { driver in
      _ = driver.reset()
      guard driver.negotiate(driver.offered & driver.dialect.features & ~Feature.ringReset)
      else { return }
      for index in 0..<driver.ringCount { driver.enable(driver.ring(index)) }
      driver.transport.status |= DeviceStatus.driverOK
      violations.fill(driver)
      driver.transport.select(queue: UInt32(driver.use.requestQueue))
      driver.transport.resetQueue()
      driver.kickAll()
    }
  }
}
