package import Board

/// A virtio device's registers in memory: VIRTIO 1.3 §4.2.2.
package final class GuestMMIO: GuestTransport {
  private let bus: IOBus
  private let base: UInt64

  package init(_ bus: IOBus, at base: UInt64) {
    self.bus = bus
    self.base = base
  }

  package func read(_ offset: UInt64, _ width: AccessWidth = .doubleword) -> UInt64 {
    var view = BusView(bus)
    return view.read(base + offset, width)
  }

  package func write(_ value: UInt64, _ offset: UInt64, _ width: AccessWidth = .doubleword) {
    var view = BusView(bus)
    view.write(value, base + offset, width)
  }

  package var status: UInt8 {
    get { UInt8(truncatingIfNeeded: read(0x70)) }
    set { write(UInt64(newValue), 0x70) }
  }

  package var deviceFeatures: UInt64 {
    write(1, 0x14)
    let high = read(0x10)
    write(0, 0x14)
    return high << 32 | read(0x10)
  }

  package var driverFeatures: UInt64 = 0 {
    didSet {
      write(0, 0x24)
      write(driverFeatures & 0xffff_ffff, 0x20)
      write(1, 0x24)
      write(driverFeatures >> 32, 0x20)
    }
  }

  package func select(queue: Int) { write(UInt64(queue), 0x30) }
  package var queueMaximum: UInt16 { UInt16(truncatingIfNeeded: read(0x34)) }

  package func setQueue(
    size: UInt16, descriptorArea: UInt64, driverArea: UInt64, deviceArea: UInt64
  ) {
    write(UInt64(size), 0x38)
    for (value, offset) in [(descriptorArea, 0x80), (driverArea, 0x90), (deviceArea, 0xa0)]
      as [(UInt64, UInt64)]
    {
      write(value & 0xffff_ffff, offset)
      write(value >> 32, offset + 4)
    }
  }

  package var isQueueEnabled: Bool {
    get { read(0x44) == 1 }
    set { write(newValue ? 1 : 0, 0x44) }
  }

  package func resetQueue() { write(1, 0xc0) }
  package var isQueueResetting: Bool { read(0xc0) == 1 }
  package func notify(queue: Int) { write(UInt64(queue), 0x50) }

  package func takeInterruptStatus() -> UInt8 {
    let pending = read(0x60)
    write(pending, 0x64)
    return UInt8(truncatingIfNeeded: pending)
  }

  package func configuration(_ offset: Int, count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: read(0x100 + UInt64(offset + $0), .byte)) }
  }

  package func setConfiguration(_ bytes: [UInt8], at offset: Int) {
    for (index, byte) in bytes.enumerated() {
      write(UInt64(byte), 0x100 + UInt64(offset + index), .byte)
    }
  }
}
