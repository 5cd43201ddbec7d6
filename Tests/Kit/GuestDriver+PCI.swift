package import Board

/// A virtio device's structures, found through its capabilities: VIRTIO 1.3 §4.1.4.
package final class GuestPCI: GuestTransport {
  private let readRegister: (UInt16) -> UInt32
  private let writeRegister: (UInt32, UInt16) -> Void
  private let bus: IOBus
  /// Where each structure is, by its type, and how far the queues' places are apart.
  package private(set) var structures: [UInt8: UInt64] = [:]
  private var multiplier: UInt64 = 0
  /// The capability that is a window to the structures.
  package private(set) var window: UInt16 = 0
  /// Where the MSI-X table is, and its capability.
  private var table: UInt64 = 0
  private var msix: UInt16 = 0

  /// Puts the function's memory BAR at `base` and turns memory and bus mastering on.
  ///
  /// - Parameters:
  ///   - bar: the number of the BAR with the structures, one of 64 bits.
  ///   - read, write: registers of the configuration space.
  package init(
    bus: IOBus, base: UInt64, bar: UInt16 = 0, read: @escaping (UInt16) -> UInt32,
    write: @escaping (UInt32, UInt16) -> Void
  ) {
    self.bus = bus
    readRegister = read
    writeRegister = write
    write(UInt32(truncatingIfNeeded: base), 0x10 + 4 * bar)
    write(UInt32(truncatingIfNeeded: base >> 32), 0x14 + 4 * bar)
    open()
    var pointer = UInt16(read(0x34) & 0xff)
    for _ in 0..<48 where pointer != 0 {
      let header = read(pointer)
      let type = UInt8(header >> 24)
      if header & 0xff == 0x09 {
        if type == 5 { window = pointer }
        if structures[type] == nil { structures[type] = base + UInt64(read(pointer + 8)) }
        if type == 2 { multiplier = UInt64(read(pointer + 16)) }
      } else if header & 0xff == 0x11 {
        msix = pointer
        table = base + UInt64(read(pointer + 4) & ~7)
      }
      pointer = UInt16(header >> 8 & 0xff)
    }
  }

  /// Memory, ports and bus mastering on.
  package func open() { writeRegister(7, 0x04) }

  /// Turns MSI-X on, with messages that are told apart by their data, and gives each queue and the configuration a
  /// vector: the configuration's is 0.
  package func useMessages(queues: Int) {
    var view = BusView(bus)
    for vector in 0...UInt64(queues) {
      view.write(0xfee0_0000, table + 16 * vector, .doubleword)
      view.write(0, table + 16 * vector + 4, .doubleword)
      view.write(0x40 + vector, table + 16 * vector + 8, .doubleword)
      view.write(0, table + 16 * vector + 12, .doubleword)
    }
    writeRegister(readRegister(msix) | 1 << 31, msix)
    write(0, 0x10, .word)
    for queue in 0..<queues {
      select(queue: queue)
      write(UInt64(queue + 1), 0x1a, .word)
    }
  }

  private func place(_ type: UInt8) -> UInt64 { structures[type] ?? 0 }

  package func read(_ offset: UInt64, _ width: AccessWidth) -> UInt64 {
    var view = BusView(bus)
    return view.read(place(1) + offset, width)
  }

  package func write(_ value: UInt64, _ offset: UInt64, _ width: AccessWidth) {
    var view = BusView(bus)
    view.write(value, place(1) + offset, width)
  }

  package var status: UInt8 {
    get { UInt8(truncatingIfNeeded: read(0x14, .byte)) }
    set { write(UInt64(newValue), 0x14, .byte) }
  }

  package var deviceFeatures: UInt64 {
    write(1, 0x00, .doubleword)
    let high = read(0x04, .doubleword)
    write(0, 0x00, .doubleword)
    return high << 32 | read(0x04, .doubleword)
  }

  package var driverFeatures: UInt64 = 0 {
    didSet {
      for half in 0..<2 as Range<UInt64> {
        write(half, 0x08, .doubleword)
        write(driverFeatures >> (32 * half) & 0xffff_ffff, 0x0c, .doubleword)
      }
    }
  }

  package func select(queue: Int) { write(UInt64(queue), 0x16, .word) }
  package var queueMaximum: UInt16 { UInt16(truncatingIfNeeded: read(0x18, .word)) }

  package func setQueue(
    size: UInt16, descriptorArea: UInt64, driverArea: UInt64, deviceArea: UInt64
  ) {
    write(UInt64(size), 0x18, .word)
    for (value, offset) in [(descriptorArea, 0x20), (driverArea, 0x28), (deviceArea, 0x30)]
      as [(UInt64, UInt64)]
    {
      write(value & 0xffff_ffff, offset, .doubleword)
      write(value >> 32, offset + 4, .doubleword)
    }
  }

  package var isQueueEnabled: Bool {
    get { read(0x1c, .word) == 1 }
    set { write(newValue ? 1 : 0, 0x1c, .word) }
  }

  package func resetQueue() { write(1, 0x3a, .word) }
  package var isQueueResetting: Bool { read(0x3a, .word) == 1 }

  package func notify(queue: Int) {
    var view = BusView(bus)
    view.write(UInt64(queue), place(2) + UInt64(queue) * multiplier, .word)
  }

  package func takeInterruptStatus() -> UInt8 {
    var view = BusView(bus)
    return UInt8(truncatingIfNeeded: view.read(place(3), .byte))
  }

  package func configuration(_ offset: Int, count: Int) -> [UInt8] {
    var view = BusView(bus)
    return (0..<count).map {
      UInt8(truncatingIfNeeded: view.read(place(4) + UInt64(offset + $0), .byte))
    }
  }

  package func setConfiguration(_ bytes: [UInt8], at offset: Int) {
    var view = BusView(bus)
    for (index, byte) in bytes.enumerated() {
      view.write(UInt64(byte), place(4) + UInt64(offset + index), .byte)
    }
  }
}
