/// One processor's private view of a bus: looked up without a lock, refreshed when the map changes.
package struct BusView: ~Copyable {
  private let bus: IOBus
  private var version: UInt64 = 0
  private var mappings: [IOBus.Mapping] = []
  /// The mapping that answered last; most accesses repeat.
  private var last = 0

  package init(_ bus: IOBus) { self.bus = bus }

  /// Reads up to eight bytes. Where nothing answers the bus reads as ones.
  package mutating func read(_ address: UInt64, _ width: AccessWidth) -> UInt64 {
    refresh()
    if let index = find(address, width) {
      let mapping = mappings[index]
      let access = Access(
        region: mapping.region, width: width, offset: address &- mapping.range.lowerBound)
      do throws(IOError) {
        return try mapping.device.read(access) & width.mask
      } catch .unsupportedWidth where bus.wideAccess == .split && width != .byte {
        return readBytes(address, width)
      } catch {
        bus.countRefusal()
        return width.mask
      }
    }
    return width == .byte ? unanswered(width) : readBytes(address, width)
  }

  /// Writes up to eight bytes. Where nothing answers the write is lost.
  package mutating func write(_ value: UInt64, _ address: UInt64, _ width: AccessWidth) {
    refresh()
    if let index = find(address, width) {
      let mapping = mappings[index]
      let access = Access(
        region: mapping.region, width: width, offset: address &- mapping.range.lowerBound)
      do throws(IOError) {
        try mapping.device.write(value & width.mask, access)
      } catch .unsupportedWidth where bus.wideAccess == .split && width != .byte {
        writeBytes(value, address, width)
      } catch {
        bus.countRefusal()
      }
    } else if width == .byte {
      _ = unanswered(width)
    } else {
      writeBytes(value, address, width)
    }
  }

  private func unanswered(_ width: AccessWidth) -> UInt64 {
    bus.countRefusal()
    return width.mask
  }

  /// An access that one device does not take whole, byte by byte: each goes to whoever is there.
  private mutating func readBytes(_ address: UInt64, _ width: AccessWidth) -> UInt64 {
    guard touchesAnything(address, width) else { return unanswered(width) }
    var value: UInt64 = 0
    for index in 0..<width.bytes { value |= read(address &+ index, .byte) << (8 * index) }
    return value
  }

  private mutating func writeBytes(_ value: UInt64, _ address: UInt64, _ width: AccessWidth) {
    guard touchesAnything(address, width) else {
      _ = unanswered(width)
      return
    }
    for index in 0..<width.bytes {
      write((value >> (8 * index)) & 0xff, address &+ index, .byte)
    }
  }

  private func touchesAnything(_ address: UInt64, _ width: AccessWidth) -> Bool {
    let (end, overflow) = address.addingReportingOverflow(width.bytes)
    let range = address..<(overflow ? .max : end)
    return mappings.contains { $0.range.overlaps(range) }
  }

  /// Lets go of what is on the bus no more, as each access does.
  package mutating func refresh() {
    let current = bus.currentVersion
    guard current != version else { return }
    mappings = bus.map
    version = current
    last = 0
  }

  /// The mapping that holds the whole access.
  private mutating func find(_ address: UInt64, _ width: AccessWidth) -> Int? {
    if last < mappings.count, holds(mappings[last].range, address, width) { return last }
    var low = 0
    var high = mappings.count
    while low < high {
      let middle = (low + high) / 2
      if mappings[middle].range.upperBound <= address { low = middle + 1 } else { high = middle }
    }
    guard low < mappings.count, holds(mappings[low].range, address, width) else { return nil }
    last = low
    return low
  }

  private func holds(_ range: Range<UInt64>, _ address: UInt64, _ width: AccessWidth) -> Bool {
    address >= range.lowerBound && address < range.upperBound
      && width.bytes <= range.upperBound - address
  }
}

/// The address spaces that a processor's accesses leave it by.
package struct Buses: ~Copyable {
  package var ports: BusView
  package var registers: BusView

  package init(ports: IOBus, registers: IOBus) {
    self.ports = BusView(ports)
    self.registers = BusView(registers)
  }

  /// Lets go of what is on neither bus any more.
  package mutating func refresh() {
    ports.refresh()
    registers.refresh()
  }
}
