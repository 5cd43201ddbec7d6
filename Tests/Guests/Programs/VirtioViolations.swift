import Arch

/// Drivers that keep no rule. Every device of a transport is brought up properly, misused in one way, and looked at:
/// the machine must live on, and the device be usable once it was reset. Then comes the next way.
///
/// Of two entropy devices the second is a witness, which is used properly all the while.
enum VirtioViolations {
  static func overMMIO() -> Never {
    VirtioInterrupts.open()
    var drivers: [VirtioDriver] = []
    VirtioDiscovery.forEachOnMMIO { add($0, to: &drivers) }
    run("virtio-mmio", drivers)
  }

  static func overPCI() -> Never {
    VirtioInterrupts.open()
    var drivers: [VirtioDriver] = []
    VirtioDiscovery.forEachOnPCI { add($0, to: &drivers) }
    run("virtio-pci", drivers)
  }

  private static func add(_ transport: any VirtioTransport, to drivers: inout [VirtioDriver]) {
    guard let use = deviceUse(ofKind: transport.kind) else {
      return note("there is no driver for a device of type", .decimal(transport.kind))
    }
    drivers.append(VirtioDriver(transport, use))
  }

  private static func run(_ name: StaticString, _ drivers: [VirtioDriver]) -> Never {
    guard let witness = drivers.last(where: { $0.use is EntropyUse }) else {
      fail("there is no entropy device")
    }
    guard witness.begin(dialects[3]) else { fail("the witness does not begin") }
    if let fault = witness.use.fault(with: witness) { fail(.words(fault)) }
    var count: UInt64 = 0
    let beats = VirtioInterrupts.beats.value
    for driver in drivers where driver !== witness {
      let violations = Violations(of: driver, before: witness)
      commit(violations)
      count += violations.count
      line(
        violations.failures == 0 ? "ok   " : "FAIL ", .words(name), " ", .words(driver.use.name),
        " withstands ", .decimal(violations.count), " violations, ", .decimal(violations.refused),
        " of which it answers with DEVICE_NEEDS_RESET")
      if violations.failures == 0 { Report.passed += 1 }
    }
    expect("the local APIC's timer beats on", VirtioInterrupts.beats.value > beats)
    line("note violations over ", .words(name), ": ", .decimal(count))
    finish()
  }

  private static var dialects: [4 of Dialect] {
    [[], [.packed], [.events, .interrupts], [.packed, .events, .interrupts]]
  }

  private static func commit(_ violations: Violations) {
    for index in dialects.indices {
      violations.dialect = dialects[index]
      ChainViolations.commit(violations)
      RingViolations.commit(violations)
      if index < 2 { LayoutViolations.commit(violations) }
      if index == 2 { StatusViolations.commit(violations) }
      if index == 1 { ConfigurationViolations.commit(violations) }
      if index == 0 { violations.use.breakRules(violations) }
      if index == 3 {
        RegisterViolations.commit(violations)
        PCIViolations.commit(violations)
      }
    }
  }
}
