/// Walks a hierarchy, numbers its buses and finds out what each function needs.
struct PCIPlanner {
  let room: PCIResources.Room
  let hasHighMemory: Bool
  /// The highest bus number given out.
  private(set) var lastBus = 0

  init(room: PCIResources.Room, hasHighMemory: Bool) {
    self.room = room
    self.hasHighMemory = hasHighMemory
  }

  /// The plan of a bus, and of all behind it. Bus numbers go depth first, as a bridge's must.
  mutating func plan(_ bus: PCIBus) -> PCIPlan {
    let number = lastBus
    return PCIPlan(number: number, functions: bus.inventory.map { plan($0, on: number) })
  }

  private mutating func plan(_ function: any PCIFunction, on bus: Int) -> PCIPlan.Function {
    // Off while its BARs are measured and moved.
    function.write(0, bits: 0b111, to: 0x04)
    var item = PCIPlan.Function(
      function: function, primary: bus, bars: measure(function), behind: nil, lastBus: bus)
    guard let bridge = function.bridge else { return item }
    lastBus += 1
    item.behind = plan(bridge.secondary)
    if bridge.isHotPlugSlot {
      lastBus += room.buses
      item.room[.memory] = room.memory
      item.room[.highMemory] = hasHighMemory ? room.highMemory : 0
    }
    item.lastBus = lastBus
    return item
  }

  /// The BARs, by writing ones: PCI 3.0 §6.2.5.1, implementation note "Sizing a 32-bit Base Address
  /// Register Example".
  private func measure(_ function: any PCIFunction) -> [PCIPlan.BAR] {
    let isBridge = function.readConfiguration(0x0c) >> 16 & 0x7f == 1
    let end: UInt16 = isBridge ? 0x18 : 0x28
    var bars: [PCIPlan.BAR] = []
    var register: UInt16 = 0x10
    while register < end {
      let low = function.size(register)
      let isPorts = low & 1 == 1
      let is64Bit = !isPorts && low & 0b110 == 0b100 && register + 4 < end
      var mask = UInt64(low & (isPorts ? ~0b11 : ~0b1111))
      if isPorts { mask |= 0xffff_0000 }
      mask |= UInt64(is64Bit ? function.size(register + 4) : .max) << 32
      // The lowest bit that can be written is the size, and must not be missing.
      let size = mask & (~mask &+ 1)
      let isHigh = is64Bit && low & 0b1000 != 0 && hasHighMemory
      if low != 0, size != 0, is64Bit || size < 1 << 32 {
        bars.append(
          PCIPlan.BAR(
            register: register, is64Bit: is64Bit,
            space: isPorts ? .ports : isHigh ? .highMemory : .memory, size: size))
      }
      register += is64Bit ? 8 : 4
    }
    return bars
  }
}

extension PCIFunction {
  /// Changes some bits of a register, by whole bytes as all configuration writes.
  func write(_ value: UInt32, bits: UInt32, to register: UInt16) {
    let old = readConfiguration(register)
    // Bits that a one clears are not written.
    let mask: UInt32 = bits > 0xffff ? .max : 0xffff
    writeConfiguration(old & ~bits | value & bits, mask: mask, register)
  }

  /// What a BAR reads after all ones.
  fileprivate func size(_ register: UInt16) -> UInt32 {
    writeConfiguration(.max, mask: .max, register)
    let answer = readConfiguration(register)
    writeConfiguration(0, mask: .max, register)
    return answer
  }
}
