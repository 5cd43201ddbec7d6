import Arch

/// The window to a device's structures in its configuration space, opened to where there is nothing: VIRTIO 1.3 §4.1.4.9.
enum WindowViolations {
  static func commit(_ violations: Violations, _ transport: PCITransport) {
    guard transport.window != 0 else { return }
    let bar = UInt32(transport.bar)
    for other: UInt32 in [0, 1, 2, 3, 4, 5, 6, 7, 0x80, 0xff] where other != bar {
      look(violations, transport, "the window shows BAR", UInt64(other), bar: other)
    }
    for length: UInt32 in [0, 3, 5, 8, 16, 0x100, 0x8000_0000, .max] {
      look(violations, transport, "the window has a length of", UInt64(length), length: length)
    }
    for offset: UInt32 in [
      1, 2, 3, 0x3a, 0x3c, 0x3f, 0xffc, 0x1001, 0x1fff, 0x2001, 0x3040, 0x3fff, 0x4000, 0x4004,
      0x4801,
      0x7fff, 0x8000, 0x1_0000, 0x7fff_fffc, 0x8000_0000, 0xffff_f000, .max,
    ] {
      for length: UInt32 in [1, 2, 4] {
        look(
          violations, transport, "the window shows, at", UInt64(offset), offset: offset,
          length: length)
      }
    }
    PCIViolations.disturb(violations, transport, "the device is reset through the window") {
      open(transport, bar: bar, offset: 0x14, length: 1)
      store32(data(transport), 0)
    }
    PCIViolations.disturb(violations, transport, "queues are notified through the window") {
      for queue in UInt32(0)..<64 {
        open(transport, bar: bar, offset: 0x1000 + 4 * queue, length: 2)
        store16(data(transport), UInt16(queue))
      }
    }
    PCIViolations.disturb(violations, transport, "the window is used while memory is off") {
      transport.space.command = PCIFunctionSpace.Command.busMaster
      open(transport, bar: bar, offset: 0x14, length: 1)
      _ = load8(data(transport))
      store8(data(transport), 0xff)
    }
    PCIViolations.disturb(violations, transport, "the window moves with each access") {
      for _ in 0..<100 {
        let number = violations.chance.next()
        open(
          transport, bar: bar, offset: UInt32(truncatingIfNeeded: number & 0x4fff),
          length: UInt32(1) << UInt32(truncatingIfNeeded: number >> 60 & 3))
        _ = load32(data(transport))
        // Of the status only the bits that a driver has.
        store16(data(transport), UInt16(truncatingIfNeeded: number >> 32))
      }
    }
  }

  private static func look(
    _ violations: Violations, _ transport: PCITransport, _ what: StaticString, _ number: UInt64,
    bar: UInt32? = nil, offset: UInt32 = 0x14, length: UInt32 = 4
  ) {
    PCIViolations.disturb(violations, transport, what, number) {
      open(transport, bar: bar ?? UInt32(transport.bar), offset: offset, length: length)
      for byte in UInt64(0)..<4 {
        _ = load8(data(transport) + byte)
        store8(data(transport) + byte, 0xa5)
      }
      _ = load16(data(transport))
      _ = load32(data(transport))
      store16(data(transport), 0x5a5a)
      store32(data(transport), .max)
      store32(data(transport), 0)
    }
  }

  private static func data(_ transport: PCITransport) -> UInt64 {
    transport.space.base + transport.window + 16
  }

  private static func open(
    _ transport: PCITransport, bar: UInt32, offset: UInt32, length: UInt32
  ) {
    let window = transport.space.base + transport.window
    store8(window + 4, UInt8(truncatingIfNeeded: bar))
    store32(window + 8, offset)
    store32(window + 12, length)
  }
}
