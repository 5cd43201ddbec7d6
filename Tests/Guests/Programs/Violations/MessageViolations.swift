import Arch

/// MSI-X tables that no driver may write, and vectors that there are not: PCI 3.0 §6.8.2, VIRTIO 1.3 §4.1.5.1.2.
enum MessageViolations {
  static func commit(_ violations: Violations, _ transport: PCITransport) {
    guard transport.msix != 0 else { return }
    vectors(violations, transport)
    messages(violations, transport)
    masks(violations, transport)
    accesses(violations, transport)
  }

  /// With messages on for all queues, and one in flight.
  private static func disturb(
    _ violations: Violations, _ transport: PCITransport, _ what: StaticString,
    _ number: UInt64? = nil, _ change: () -> Void
  ) {
    PCIViolations.disturb(violations, transport, what, number) {
      transport.openInterrupts(queues: violations.driver.ringCount)
      violations.driver.requests.askForInterrupt()
      change()
      violations.fill(violations.driver)
    }
  }

  private static func vectors(_ violations: Violations, _ transport: PCITransport) {
    for vector: UInt16 in [0x40, 0x7ff, 0x800, 0x7fff, 0x8000, 0xfffe, 0xffff] {
      set(violations, transport, "a queue has the vector", vector) {
        transport.select(queue: UInt32(violations.use.requestQueue))
        return transport.common + PCITransport.Register.queueVector
      }
      set(violations, transport, "the configuration has the vector", vector) {
        transport.common + PCITransport.Register.configurationVector
      }
    }
  }

  /// §4.1.5.1.2.1: a vector that cannot be mapped reads back as none.
  private static func set(
    _ violations: Violations, _ transport: PCITransport, _ what: StaticString, _ vector: UInt16,
    _ register: () -> UInt64
  ) {
    violations.check(what, "", UInt64(vector)) { driver in
      transport.openInterrupts(queues: driver.ringCount)
      let register = register()
      store16(register, vector)
      if load16(register) != 0xffff { return "it is taken" }
      driver.requests.askForInterrupt()
      violations.fill(driver)
      transport.restore()
      return nil
    }
  }

  private static func messages(_ violations: Violations, _ transport: PCITransport) {
    let data = UInt32(VirtioInterrupts.messageVector)
    // Where no local APIC hears. What a device does with an address in RAM is a write there: to a page of nobody's.
    let spare = (violations.use as? BalloonUse)?.spare ?? violations.driver.requests.tables
    for address: UInt64 in [
      spare, 0xa_0000, 0xd000_0000, 0xfec0_0000, 0xfeef_f000, 1 << 38, 1 << 63, .max,
    ] where !Machine.isTCG {
      disturb(violations, transport, "a message goes to", address) {
        transport.setMessage(0, address: address, data: data)
      }
    }
    for number: UInt32 in [0, 1, 15] {
      // Vectors that there are not; delivery modes that are reserved; what is above the 16 bits.
      for mode: UInt32 in [0, 0x300, 0xffff_0000] {
        disturb(violations, transport, "a message says", UInt64(mode | number)) {
          transport.setMessage(
            0, address: VirtioInterrupts.messageAddress, data: mode | number)
        }
      }
    }
  }

  private static func masks(_ violations: Violations, _ transport: PCITransport) {
    disturb(violations, transport, "all vectors are masked") {
      for vector in 0..<transport.vectors {
        transport.setMessage(
          vector, address: VirtioInterrupts.messageAddress,
          data: UInt32(VirtioInterrupts.messageVector), isMasked: true)
      }
    }
    disturb(violations, transport, "the function is masked, and not") {
      for turn in 0..<40 {
        transport.messageControl =
          PCITransport.messagesEnabled | (turn & 1 == 0 ? PCITransport.messagesMasked : 0)
        violations.driver.kickAll()
      }
    }
    disturb(violations, transport, "messages are turned on and off") {
      for turn in 0..<40 {
        transport.messageControl = turn & 1 == 0 ? 0 : PCITransport.messagesEnabled
        violations.driver.kickAll()
      }
    }
    for control: UInt16 in [0x3fff, 0x7fff, 0xffff] {
      disturb(violations, transport, "message control is", UInt64(control)) {
        transport.messageControl = control
      }
    }
    disturb(violations, transport, "a message that waits is changed") {
      transport.messageControl = PCITransport.messagesEnabled | PCITransport.messagesMasked
      violations.fill(violations.driver)
      for turn in UInt32(0)..<8 {
        transport.setMessage(
          0, address: VirtioInterrupts.messageAddress,
          data: UInt32(VirtioInterrupts.messageVector), isMasked: turn & 1 == 0)
      }
      transport.messageControl = PCITransport.messagesEnabled
    }
  }

  /// The table, the bits of what waits, and what is between, by all widths.
  private static func accesses(_ violations: Violations, _ transport: PCITransport) {
    for offset: UInt64 in [0, 4, 8, 12, 0x30, 0x40, 0x7f8, 0x800, 0x808, 0xff8] {
      disturb(violations, transport, "any access to the table at", offset) {
        let place = transport.table + offset
        for byte in UInt64(0)..<4 {
          _ = load8(place + byte)
          _ = load16(place + byte)
          _ = load32(place + byte)
          _ = load64(place + byte)
          store8(place + byte, 0)
          store16(place + byte, 0)
        }
        store64(place & ~7, 0)
        store32(place, 0)
      }
    }
    disturb(violations, transport, "the table is filled by bytes") {
      fill_bytes(transport.table, 0xff, 0x80)
    }
  }
}
