import Arch

/// Drivers that keep no rule. Every device of a transport is brought up properly, misused in one way, and looked at:
/// the machine must live on, and the device be usable once it was reset. Then comes the next way.
///
/// Of two entropy devices the second is a witness, which is used properly all the while. The word `sparsely` leaves out
/// most violations, for machines that need long for each.
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
    for driver in drivers where driver !== witness { checkUse(driver, name) }
    // A violation is enough for some of its devices never to come back: its disk turns in a circle.
    if Machine.isTCG {
      skip("violations, which QEMU's devices do not survive")
      finish()
    }
    var count: UInt64 = 0
    let beats = VirtioInterrupts.beats.value
    let stride: UInt64 = StartInfo.current.isAsked(for: "sparsely") ? 13 : 1
    for driver in drivers where driver !== witness {
      let violations = Violations(of: driver, before: witness, oneOf: stride)
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

  /// A driver that keeps the rules finds that the device works, whichever way they speak.
  private static func checkUse(_ driver: VirtioDriver, _ name: StaticString) {
    for index in dialects.indices {
      let fault =
        driver.begin(dialects[index]) ? driver.use.fault(with: driver) : "it does not begin"
      if let fault {
        line("FAIL ", .words(name), " ", .words(driver.use.name), ": ", .words(fault))
        Report.failed += 1
        finish()
      }
    }
    line(
      "ok   ", .words(name), " ", .words(driver.use.name),
      " works for a driver that keeps the rules")
    Report.passed += 1
  }

  private static var dialects: [4 of Dialect] {
    [[], [.packed], [.events, .interrupts], [.packed, .events, .interrupts]]
  }

  private static func commit(_ violations: Violations) {
    for index in dialects.indices {
      violations.dialect = dialects[index]
      RingViolations.commit(violations)
      switch index {
      case 0:
        LayoutViolations.commit(violations)
        violations.use.breakRules(violations)
      case 1:
        ChainViolations.commit(violations)
        ConfigurationViolations.commit(violations)
      case 2:
        ChainViolations.commit(violations)
        StatusViolations.commit(violations)
      default:
        LayoutViolations.commit(violations)
        RegisterViolations.commit(violations)
        PCIViolations.commit(violations)
      }
    }
  }
}
