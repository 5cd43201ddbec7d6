/// What a bus and all behind it need, and where it goes.
final class PCIPlan {
  typealias Space = PCIResources.Space

  struct BAR {
    let register: UInt16
    let is64Bit: Bool
    let space: Space
    let size: UInt64
  }

  struct Function {
    let function: any PCIFunction
    let primary: Int
    let bars: [BAR]
    var behind: PCIPlan?
    /// The highest bus number behind it.
    var lastBus: Int
    var room: [Space: UInt64] = [:]
  }

  /// An amount of address space and how it must be aligned.
  struct Need {
    var size: UInt64
    var alignment: UInt64

    func fits(_ window: Range<UInt64>) -> Bool {
      guard size > 0 else { return true }
      let (start, overflow) = window.lowerBound.addingReportingOverflow(alignment - 1)
      let (end, overflow2) = (start & ~(alignment - 1)).addingReportingOverflow(size)
      return !overflow && !overflow2 && end <= window.upperBound
    }
  }

  /// Something to be placed: a BAR, or the window of a bridge.
  private struct Item {
    let need: Need
    let place: (UInt64) -> Void
  }

  let number: Int
  let functions: [Function]

  init(number: Int, functions: [Function]) {
    self.number = number
    self.functions = functions
  }
}

// MARK: - Sizes

extension PCIPlan {
  /// The granularity of a bridge's window.
  private static func granularity(_ space: Space) -> UInt64 {
    space == .ports ? 0x1000 : 0x10_0000
  }

  /// All of a bus in one of its windows, from an address of that alignment on.
  func needs(_ space: Space) -> Need {
    let items = items(space)
    let end = items.reduce(0 as UInt64) { end, item in
      Self.align(end, item.need.alignment).saturatingAdd(item.need.size)
    }
    return Need(size: end, alignment: items.first?.need.alignment ?? 1)
  }

  /// What a bridge must pass on.
  private static func window(_ bridge: Function, _ space: Space) -> Need {
    let granularity = granularity(space)
    let inside = bridge.behind?.needs(space) ?? Need(size: 0, alignment: 1)
    let room = bridge.room[space] ?? 0
    // Aligned so that one BAR may take all the room there is.
    return Need(
      size: align(inside.size.saturatingAdd(room), granularity),
      alignment: max(inside.alignment, granularity, room))
  }

  /// What lies on the bus itself, the most strictly aligned first; so nothing is lost between.
  private func items(_ space: Space) -> [Item] {
    var items: [Item] = []
    for function in functions {
      for bar in function.bars where bar.space == space {
        items.append(
          Item(need: Need(size: bar.size, alignment: bar.size)) { Self.set(bar, function, $0) })
      }
      guard let behind = function.behind else { continue }
      let need = Self.window(function, space)
      guard need.size > 0 else { continue }
      items.append(
        Item(need: need) { address in
          Self.setWindow(of: function.function, space, address..<address + need.size)
          behind.place(space, at: address)
        })
    }
    return items.enumerated().sorted {
      ($1.element.need.alignment, $0.offset) < ($0.element.need.alignment, $1.offset)
    }.map(\.element)
  }

  private static func align(_ address: UInt64, _ alignment: UInt64) -> UInt64 {
    address.saturatingAdd(alignment - 1) & ~(alignment - 1)
  }
}

extension UInt64 {
  fileprivate func saturatingAdd(_ other: UInt64) -> UInt64 {
    let (sum, overflow) = addingReportingOverflow(other)
    return overflow ? .max : sum
  }
}

// MARK: - Registers

extension PCIPlan {
  /// Gives the bridges their bus numbers, and shuts their windows.
  func numberBuses() {
    for function in functions {
      guard let behind = function.behind else { continue }
      let numbers =
        UInt32(function.lastBus) << 16 | UInt32(behind.number) << 8 | UInt32(function.primary)
      function.function.writeConfiguration(numbers, mask: 0x00ff_ffff, 0x18)
      for space in Space.allCases { Self.setWindow(of: function.function, space, nil) }
      behind.numberBuses()
    }
  }

  /// Places all that fits there, which was seen to before.
  func place(_ space: Space, at start: UInt64) {
    var address = start
    for item in items(space) {
      address = Self.align(address, item.need.alignment)
      item.place(address)
      address += item.need.size
    }
  }

  /// Turns decoding on, and says that no pin reaches the interrupt inputs of ISA, which is what the
  /// register counts: PCI 3.0 §6.2.4.
  func enable() {
    for function in functions {
      function.function.writeConfiguration(0xff, mask: 0xff, 0x3c)
      var command: UInt32 = function.behind == nil ? 0 : 0b11
      for bar in function.bars { command |= bar.space == .ports ? 0b01 : 0b10 }
      function.function.write(command, bits: 0b111, to: 0x04)
      function.behind?.enable()
    }
  }

  private static func set(_ bar: BAR, _ function: Function, _ address: UInt64) {
    let (low, high) = halves(address)
    function.function.writeConfiguration(low, mask: .max, bar.register)
    if bar.is64Bit { function.function.writeConfiguration(high, mask: .max, bar.register + 4) }
  }

  /// PCI-to-PCI Bridge Architecture 1.2 §3.2.5. A base above its limit shuts a window.
  private static func setWindow(
    of bridge: any PCIFunction, _ space: Space, _ range: Range<UInt64>?
  ) {
    let first = range?.lowerBound, last = range.map { $0.upperBound - 1 }
    switch space {
    case .ports:
      let base = first.map { UInt32(truncatingIfNeeded: $0 >> 8 & 0xf0) } ?? 0xf0
      let limit = last.map { UInt32(truncatingIfNeeded: $0 & 0xf000) } ?? 0
      bridge.writeConfiguration(limit | base, mask: 0xffff, 0x1c)
    case .memory, .highMemory:
      let base = first.map { UInt32(truncatingIfNeeded: $0 >> 16 & 0xfff0) } ?? 0xfff0
      let limit = last.map { UInt32(truncatingIfNeeded: $0 & 0xfff0_0000) } ?? 0
      let isHigh = space == .highMemory
      bridge.writeConfiguration(limit | base, mask: .max, isHigh ? 0x24 : 0x20)
      guard isHigh else { return }
      bridge.writeConfiguration(halves(first ?? 0).high, mask: .max, 0x28)
      bridge.writeConfiguration(halves(last ?? 0).high, mask: .max, 0x2c)
    }
  }

  private static func halves(_ value: UInt64) -> (low: UInt32, high: UInt32) {
    (UInt32(truncatingIfNeeded: value), UInt32(truncatingIfNeeded: value >> 32))
  }
}
