import Arch

/// What no driver may do to a function's place on the bus, least of all while the function works: PCI 3.0 §6.2, VIRTIO 1.3
/// §4.1. What is out of place is put back before the device is reset.
enum PCIViolations {
  static func commit(_ violations: Violations) {
    guard let transport = violations.driver.transport as? PCITransport else { return }
    commands(violations, transport)
    headers(violations, transport)
    addresses(violations, transport)
    functionResets(violations, transport)
    WindowViolations.commit(violations, transport)
    MessageViolations.commit(violations, transport)
  }

  /// One violation, with requests in flight before and after it.
  static func disturb(
    _ violations: Violations, _ transport: PCITransport, _ what: StaticString,
    _ number: UInt64? = nil, _ change: () -> Void
  ) {
    violations.violate(what, "", number) { driver in
      violations.fill(driver)
      change()
      // Wherever its registers are now.
      driver.kickAll()
      _ = transport.status
      transport.restore()
      driver.kickAll()
    }
  }

  private static func commands(_ violations: Violations, _ transport: PCITransport) {
    let space = transport.space
    for command: UInt16 in [0, 1, 2, 4, 5, 0x400, 0x406, 0x0547, 0xffff] {
      disturb(violations, transport, "the command register becomes", UInt64(command)) {
        space.command = command
      }
      disturb(violations, transport, "for a moment the command register is", UInt64(command)) {
        let before = space.command
        for _ in 0..<20 {
          space.command = command
          space.command = before
        }
      }
    }
    disturb(violations, transport, "bus mastering ends between two requests") {
      space.command = PCIFunctionSpace.Command.memory
      violations.fill(violations.driver)
      space.command = PCIFunctionSpace.Command.memory | PCIFunctionSpace.Command.busMaster
    }
    violations.check("a driver works without bus mastering") { driver in
      space.command = PCIFunctionSpace.Command.memory
      violations.fill(driver)
      return violations.isSilent(driver) ? restored(transport) : "it reaches memory all the same"
    }
    violations.violate("a driver begins without bus mastering") { driver in
      space.command = PCIFunctionSpace.Command.memory
      _ = driver.begin(violations.dialect)
      violations.fill(driver)
      transport.restore()
      driver.kickAll()
    }
    violations.check("a driver looks for registers while memory is off") { driver in
      space.command = PCIFunctionSpace.Command.busMaster
      let isAbsent = load32(transport.common) == .max && transport.status == 0xff
      return isAbsent ? restored(transport) : "they answer all the same"
    }
    if transport.power != 0 {
      for state: UInt16 in [1, 2, 3, 0xffff] {
        disturb(violations, transport, "the power state becomes", UInt64(state)) {
          store16(space.base + transport.power + 4, state)
        }
      }
      violations.check("a driver works in D3hot") { driver in
        store16(space.base + transport.power + 4, 3)
        violations.fill(driver)
        return violations.isSilent(driver) ? restored(transport) : "it works all the same"
      }
    }
  }

  private static func restored(_ transport: PCITransport) -> StaticString? {
    transport.restore()
    return nil
  }

  /// All 4 KiB of its configuration space, by all widths.
  private static func headers(_ violations: Violations, _ transport: PCITransport) {
    let space = transport.space
    for offset in UInt64(0)..<64 {
      disturb(violations, transport, "any access to the configuration space at", offset * 4) {
        let place = space.base + offset * 4
        for byte in UInt64(0)..<4 {
          _ = load8(place + byte)
          _ = load16(place + byte)
          _ = load32(place + byte)
          _ = load64(place + byte)
          store8(place + byte, UInt8(truncatingIfNeeded: violations.chance.next()))
        }
        // The reset of the function is for others.
        if offset * 4 == transport.express + 8 { return }
        store16(place + 1, UInt16(truncatingIfNeeded: violations.chance.next()))
        store64(place & ~7, violations.chance.next())
        store32(place, .max)
        store32(place, 0)
      }
    }
    for byte: UInt8 in [0, 0x55, 0xff] {
      disturb(violations, transport, "the configuration space is filled with", UInt64(byte)) {
        fill_bytes(space.base, byte, 0x100)
        fill_bytes(space.base + 0x100, byte, 0x100)
        fill_bytes(space.base + 0xff0, byte, 0x10)
      }
    }
    disturb(violations, transport, "the configuration space is reached by ports, in all widths") {
      for register in UInt32(0)..<64 {
        let port = PCIScan.select(space.device, 0, register * 4)
        _ = in8(port + 3)
        _ = in16(port + 1)
        out8(port + 1, 0xff)
        out16(port + 2, 0xffff)
      }
    }
  }

  /// Where its BAR may not lie.
  private static func addresses(_ violations: Violations, _ transport: PCITransport) {
    let other = (violations.witness.transport as? PCITransport)?.barAddress ?? 0
    let own = transport.barAddress
    for address in [
      0, 0x1000, violations.driver.requests.descriptors & ~0x3fff, Place.endOfRAM,
      0xe_0000, 0xb000_0000, 0xfec0_0000, 0xfed0_0000, 0xfee0_0000, 0xffff_0000, other,
      other + 0x2000, other &- 0x2000, own + 0x10, own + 0x1000, own ^ 1 << 32, 1 << 38, 1 << 52,
      1 << 63, .max & ~0x7fff, .max,
    ] {
      disturb(violations, transport, "its BAR moves, while it works, to", address) {
        setBAR(transport, address)
      }
      violations.check("its BAR moves and is used, at", "", address) { driver in
        let ring = driver.requests.descriptors
        store64(ring, address)
        setBAR(transport, address)
        if load64(ring) != address { return "RAM is hidden" }
        // As far as the guest can reach, with the bits that its processor's addresses have.
        if address < 1 << 39 {
          PCITransport.reach(address)
          _ = load8(address & ~0x7fff | 0x14)
        }
        transport.restore()
        driver.kickAll()
        return nil
      }
    }
    disturb(violations, transport, "only the lower half of its BAR is written") {
      store32(transport.space.base + PCIFunctionSpace.Register.bar + 4 * transport.bar, .max)
    }
    disturb(violations, transport, "only the upper half of its BAR is written") {
      store32(transport.space.base + PCIFunctionSpace.Register.bar + 4 * transport.bar + 4, .max)
    }
    disturb(violations, transport, "its BAR wanders") {
      for step in UInt64(0)..<40 {
        setBAR(transport, own + step * 0x8000)
        violations.driver.kickAll()
      }
    }
  }

  private static func setBAR(_ transport: PCITransport, _ address: UInt64) {
    let register = transport.space.base + PCIFunctionSpace.Register.bar + 4 * transport.bar
    store32(register, UInt32(truncatingIfNeeded: address))
    store32(register + 4, UInt32(truncatingIfNeeded: address >> 32))
  }

  private static func functionResets(_ violations: Violations, _ transport: PCITransport) {
    guard transport.express != 0 else { return }
    violations.violate("a reset of the function with requests in flight") { driver in
      violations.fill(driver)
      _ = transport.resetFunction()
    }
    violations.violate("the function is reset again and again") { driver in
      for _ in 0..<20 {
        _ = transport.resetFunction()
        driver.kickAll()
      }
    }
    violations.violate("after a reset of the function the driver goes on") { driver in
      violations.fill(driver)
      _ = transport.resetFunction()
      driver.offer(driver.use.request())
    }
    violations.violate("a function is reset in the midst of a driver's beginning") { driver in
      guard driver.prepare(violations.dialect) else { return }
      _ = transport.resetFunction()
      for index in 0..<driver.ringCount { driver.enable(driver.ring(index)) }
      driver.transport.status |= DeviceStatus.driverOK
      driver.kickAll()
    }
    violations.violate("a driver that does not wait for the reset of the function") { driver in
      violations.fill(driver)
      _ = transport.resetFunction()
      _ = driver.negotiate(driver.features)
      for index in 0..<driver.ringCount { driver.enable(driver.ring(index)) }
      driver.transport.status |= DeviceStatus.driverOK
      driver.kickAll()
    }
  }
}
