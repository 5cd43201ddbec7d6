import Board
import Kit
import Memory
import Work

@testable import Virtio

/// A driver that keeps no rule for long. After each of its offences the device must be usable after a reset.
struct HostileDriver {
  let driver: GuestDriver
  let loop: ManualLoop
  var chance: Chance

  init(_ driver: GuestDriver, _ loop: ManualLoop, seed: UInt64) {
    self.driver = driver
    self.loop = loop
    chance = Chance(seed: seed)
  }

  /// What it does wrong, in rings and registers.
  enum Offence: CaseIterable {
    case wildAddress, noLength, hugeLength, wildNext, loop, jumpingIndex, backwardIndex, wildHead
    case tableInTable, tableOfOddSize, tableWithNext, hugeTable, writableFirst, overRing
    case garbageDescriptors, garbageDriverArea, garbageDeviceArea, garbageEverywhere
    case queueOutOfMemory, queueMisaligned, queueAtEnd, oddSize, changedWhileEnabled, disabled
    case wildStatus, wildNotify, lateFeatures, resetTwice, queueResets, wildRegisters, ringMoved
  }

  private mutating func number(_ limit: UInt64) -> UInt64 { chance.number(below: limit) }
  private mutating func bytes(_ count: Int) -> [UInt8] {
    (0..<count).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
  }
  private mutating func wild() -> UInt64 {
    [chance.value(), .max, UInt64.max - 15, 16 << 20, (16 << 20) - 1, 0][Int(number(6))]
  }

  private func long(_ value: UInt64, _ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: value >> UInt64(8 * $0)) }
  }

  private var isPacked: Bool { driver.has(GuestDriver.packed) }

  /// Makes a chain available that is sound but for `spoil`, which is given the place of a descriptor in the chain.
  private mutating func offer(_ queue: GuestQueue, _ spoil: (inout Self, UInt64) -> Void) {
    let data = driver.allocate(4096)
    let count = Int(min(1 + number(3), UInt64(queue.size)))
    let victim = Int(number(UInt64(count)))
    // The queue's own book-keeping says where; spoiling comes before the device is told.
    let before = driver.bytes(at: queue.descriptorArea, count: 16 * Int(queue.size))
    _ = queue.add((0..<count).map { .init(data + UInt64($0) * 64, 16, writable: $0 > 0) })
    let after = driver.bytes(at: queue.descriptorArea, count: 16 * Int(queue.size))
    let changed = (0..<Int(queue.size)).filter {
      before[$0 * 16..<$0 * 16 + 16] != after[$0 * 16..<$0 * 16 + 16]
    }
    if !changed.isEmpty {
      let index = changed[victim % changed.count]
      spoil(&self, queue.descriptorArea + 16 * UInt64(index))
    }
  }

  /// The flags of a descriptor, wherever the format has them.
  private func flags(_ place: UInt64) -> UInt64 { place + (isPacked ? 14 : 12) }
  private func setFlags(_ bits: UInt8, at place: UInt64) {
    let old = driver.bytes(at: flags(place), count: 1)
    driver.put([(old.first ?? 0) | bits], at: flags(place))
  }

  mutating func commit(_ offence: Offence) {
    let transport = driver.transport
    guard !driver.queues.isEmpty else { return }
    let queue = driver.queues[Int(number(UInt64(driver.queues.count)))]
    let size = UInt64(queue.size)
    switch offence {
    case .wildAddress: offer(queue) { $0.driver.put($0.long($0.wild(), 8), at: $1) }
    case .noLength: offer(queue) { $0.driver.put([0, 0, 0, 0], at: $1 + 8) }
    case .hugeLength: offer(queue) { $0.driver.put([255, 255, 255, 255], at: $1 + 8) }
    case .wildNext:
      offer(queue) {
        $0.setFlags(1, at: $1)
        $0.driver.put($0.bytes(2), at: $1 + ($0.isPacked ? 12 : 14))
      }
    case .loop:
      offer(queue) { me, place in
        let index = (place - queue.descriptorArea) / 16
        me.setFlags(1, at: place)
        if !me.isPacked { me.driver.put(me.long(index, 2), at: place + 14) }
      }
      if isPacked {
        for index in 0..<size { setFlags(1, at: queue.descriptorArea + 16 * index) }
      }
    case .jumpingIndex: driver.put(long(size + 1 + number(0xf000), 2), at: queue.driverArea + 2)
    case .backwardIndex: driver.put([0xff, 0xff], at: queue.driverArea + 2)
    case .wildHead:
      offer(queue) { _, _ in }
      if isPacked {
        driver.put(bytes(16), at: queue.descriptorArea + 16 * number(size))
      } else {
        for slot in 0..<size { driver.put(bytes(2), at: queue.driverArea + 4 + 2 * slot) }
      }
    case .tableInTable, .tableOfOddSize, .tableWithNext, .hugeTable:
      let table = driver.allocate(64)
      let inner: UInt8 = offence == .tableInTable ? 4 : 0
      driver.put(
        long(table, 8) + [16, 0, 0, 0] + [isPacked ? 0 : inner, 0, isPacked ? inner : 0, 0],
        at: table)
      let length: UInt64 = offence == .tableOfOddSize ? 17 : offence == .hugeTable ? 1 << 24 : 16
      offer(queue) { me, place in
        me.driver.put(me.long(table, 8) + me.long(length, 4), at: place)
        me.setFlags(offence == .tableWithNext ? 5 : 4, at: place)
      }
    case .writableFirst: offer(queue) { $0.setFlags(2 | ($0.number(2) == 0 ? 1 : 0), at: $1) }
    case .overRing:
      offer(queue) {
        $0.driver.put($0.long(queue.descriptorArea + 8, 8), at: $1)
        $0.setFlags(2, at: $1)
      }
    case .garbageDescriptors: driver.put(bytes(16 * Int(size)), at: queue.descriptorArea)
    case .garbageDriverArea:
      driver.put(bytes(isPacked ? 4 : 6 + 2 * Int(size)), at: queue.driverArea)
    case .garbageDeviceArea:
      driver.put(bytes(isPacked ? 4 : 6 + 8 * Int(size)), at: queue.deviceArea)
    case .garbageEverywhere:
      for area in [queue.descriptorArea, queue.driverArea, queue.deviceArea] {
        driver.put(bytes(512), at: area)
      }
    case .queueOutOfMemory: restart { ($0.wild() & ~15, 64 << 20, 1 << 60) }
    case .queueMisaligned: restart { me in (0x10001 + me.number(15), 0x20001, 0x30002) }
    case .queueAtEnd: restart { _ in (UInt64.max & ~15, UInt64.max - 1, UInt64.max & ~3) }
    case .oddSize:
      _ = driver.negotiate()
      transport.select(queue: 0)
      transport.setQueue(
        size: UInt16(truncatingIfNeeded: chance.value()), descriptorArea: 0x10000,
        driverArea: 0x20000,
        deviceArea: 0x30000)
      transport.isQueueEnabled = true
      transport.status |= GuestDriver.driverOK
    case .changedWhileEnabled:
      transport.select(queue: queue.index)
      transport.setQueue(size: 3, descriptorArea: wild(), driverArea: wild(), deviceArea: wild())
      transport.isQueueEnabled = true
    case .disabled:
      transport.select(queue: queue.index)
      transport.isQueueEnabled = false
    case .wildStatus: for _ in 0..<8 { transport.status = UInt8(truncatingIfNeeded: chance.next()) }
    case .wildNotify: for _ in 0..<4 { transport.notify(queue: Int(number(0x1_0000))) }
    case .lateFeatures: transport.driverFeatures = chance.next()
    case .resetTwice:
      transport.status = 0
      if number(2) == 0 { loop.run() }
      transport.status = 0
      transport.status = 1
    case .queueResets:
      for _ in 0..<4 {
        transport.select(queue: Int(number(UInt64(driver.queues.count + 1))))
        transport.resetQueue()
        if number(2) == 0 { loop.run() }
        transport.isQueueEnabled = number(2) == 0
      }
    case .wildRegisters:
      for _ in 0..<50 {
        let width = AccessWidth.allCases[Int(number(4))]
        let offset = number(0x110)
        if let mmio = transport as? GuestMMIO { mmio.write(chance.value(), offset, width) }
        if let pci = transport as? GuestPCI { pci.write(chance.value(), offset % 0x3c, width) }
      }
    case .ringMoved:
      let junk = bytes(16 * Int(size))
      driver.put(driver.bytes(at: queue.driverArea, count: 64), at: queue.deviceArea)
      driver.put(junk, at: queue.driverArea + 4)
    }
    for queue in driver.queues {
      queue.kick()
      transport.notify(queue: queue.index)
    }
    loop.run()
  }

  /// Begins anew, with a queue at places of its choosing.
  private mutating func restart(_ areas: (inout Self) -> (UInt64, UInt64, UInt64)) {
    _ = driver.negotiate()
    driver.transport.select(queue: 0)
    let (descriptors, available, used) = areas(&self)
    driver.transport.setQueue(
      size: 8, descriptorArea: descriptors, driverArea: available, deviceArea: used)
    driver.transport.isQueueEnabled = true
    driver.transport.status |= GuestDriver.driverOK
  }
}
