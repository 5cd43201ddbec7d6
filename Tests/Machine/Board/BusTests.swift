import Board
import HostOS
import Kit
import Synchronization
import Testing

/// A device that keeps bytes, notes what reached it, and takes some widths only.
final class RegisterFile: IODevice {
  private let state: Mutex<(bytes: [UInt8], accesses: [Access])>
  private let widths: Set<AccessWidth>
  private let refusal: IOError

  init(
    _ bytes: [UInt8], widths: Set<AccessWidth> = Set(AccessWidth.allCases),
    refusal: IOError = .unsupportedWidth
  ) {
    state = Mutex((bytes, []))
    self.widths = widths
    self.refusal = refusal
  }

  func read(_ access: Access) throws(IOError) -> UInt64 {
    guard widths.contains(access.width) else { throw refusal }
    return state.withLock { state in
      state.accesses.append(access)
      let first = Int(access.offset)
      return (0..<Int(access.width.bytes)).reduce(0) {
        $0 | UInt64(state.bytes[first + $1]) << (8 * UInt64($1))
      }
    }
  }

  func write(_ value: UInt64, _ access: Access) throws(IOError) {
    guard widths.contains(access.width) else { throw refusal }
    state.withLock { state in
      state.accesses.append(access)
      for index in 0..<Int(access.width.bytes) {
        state.bytes[Int(access.offset) + index] =
          UInt8(truncatingIfNeeded: value >> (8 * UInt64(index)))
      }
    }
  }

  var bytes: [UInt8] { state.withLock { $0.bytes } }
  var widthsSeen: [AccessWidth] { state.withLock { $0.accesses.map(\.width) } }
  var regionsSeen: [UInt8] { state.withLock { $0.accesses.map(\.region) } }
}

@Suite struct IOBusTests {
  private let bus = IOBus(wideAccess: .split)
  private let a = RegisterFile([0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17])
  private let b = RegisterFile([0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x27])

  @Test func `the map is sorted, whatever the order of mapping`() {
    #expect(bus.map(b, at: 0x108..<0x110))
    #expect(bus.map(a, at: 0x60..<0x61))
    #expect(bus.map(a, at: 0x100..<0x108, region: 3))
    #expect(bus.map.map(\.range) == [0x60..<0x61, 0x100..<0x108, 0x108..<0x110])
    #expect(bus.map.map(\.region) == [0, 3, 0])
  }

  @Test func `whoever comes to an occupied place is refused, and nothing changes`() {
    bus.map(a, at: 0x100..<0x108)
    let others: [Range<UInt64>] = [
      0x100..<0x108, 0x0fc..<0x101, 0x107..<0x10f, 0x102..<0x104, 0x0f0..<0x120,
    ]
    for range in others { #expect(!bus.map(b, at: range)) }
    #expect(bus.map.map(\.range) == [0x100..<0x108])
    #expect(bus.map(b, at: 0x0f8..<0x100))
    #expect(bus.map(b, at: 0x108..<0x110))
    #expect(bus.map(b, at: 0x104..<0x104), "nothing, mapped anywhere, is in nobody's way")
    #expect(bus.map.count == 3)
  }

  @Test func `only mappings wholly inside a range go with it`() {
    bus.map(a, at: 0x100..<0x108)
    bus.map(b, at: 0x110..<0x118)
    bus.unmap(0x101..<0x118)
    #expect(bus.map.map(\.range) == [0x100..<0x108])
    bus.unmap(0..<0x107)
    bus.unmap(0x104..<0x104)
    #expect(bus.map.count == 1)
    bus.unmap(0x100..<0x108)
    #expect(bus.map.isEmpty)
    #expect(bus.map(b, at: 0x100..<0x108))
  }

  @Test func `a view follows the map at its next access`() {
    var view = BusView(bus)
    #expect(view.read(0x100, .byte) == 0xff)
    bus.map(a, at: 0x100..<0x108)
    #expect(view.read(0x100, .byte) == 0x10)
    bus.unmap(0x100..<0x108)
    bus.map(b, at: 0x100..<0x108)
    #expect(view.read(0x100, .byte) == 0x20)
    bus.unmap(0x100..<0x108)
    #expect(view.read(0x100, .byte) == 0xff)
  }

  @Test func `a device is told its region and the offset in it`() {
    bus.map(a, at: 0x100..<0x104, region: 7)
    bus.map(a, at: 0x200..<0x208, region: 9)
    var view = BusView(bus)
    #expect(view.read(0x203, .byte) == 0x13)
    view.write(0xabcd, 0x102, .word)
    #expect(a.regionsSeen == [9, 7])
    #expect(a.bytes[2...3] == [0xcd, 0xab])
  }

  @Test
  func
    `views of several threads see a map that changes under them, or do not, and never half of it`()
    throws
  {
    let done = Atomic<Bool>(false)
    let wrong = Atomic<Int>(0)
    bus.map(a, at: 0..<8)
    let readers = try (0..<2).map { index in
      try Thread(name: "reader \(index)") { [bus] in
        var view = BusView(bus)
        while !done.load(ordering: .acquiring) {
          let (first, second) = (view.read(0, .byte), view.read(0x100, .byte))
          if first != 0x10 || second != 0x20 && second != 0xff {
            wrong.add(1, ordering: .relaxed)
          }
        }
      }
    }
    for _ in 0..<1000 {
      bus.map(b, at: 0x100..<0x108)
      bus.unmap(0x100..<0x108)
    }
    done.store(true, ordering: .releasing)
    for reader in readers { reader.join() }
    #expect(wrong.load(ordering: .relaxed) == 0)
  }
}

@Suite struct BusViewTests {
  /// What the bytes of two devices side by side, and nothing on either side of them, read as.
  private static func plain(
    _ bytes: [UInt8], from start: UInt64, _ address: UInt64, _ width: AccessWidth
  ) -> UInt64 {
    (0..<width.bytes).reduce(0) { value, index in
      let (offset, before) = (address + index).subtractingReportingOverflow(start)
      let byte = before || offset >= bytes.count ? 0xff : bytes[Int(offset)]
      return value | UInt64(byte) << (8 * index)
    }
  }

  @Test(arguments: [IOBus.WideAccess.split, .refuse], AccessWidth.allCases)
  func `an access across devices and holes is one of bytes`(
    wideAccess: IOBus.WideAccess, width: AccessWidth
  ) {
    let bus = IOBus(wideAccess: wideAccess)
    let a = RegisterFile([0x10, 0x11, 0x12, 0x13])
    let b = RegisterFile([0x20, 0x21, 0x22, 0x23])
    bus.map(a, at: 0x100..<0x104)
    bus.map(b, at: 0x104..<0x108)
    var view = BusView(bus)
    for address in 0xf0...0x110 as ClosedRange<UInt64> {
      #expect(
        view.read(address, width)
          == Self.plain(a.bytes + b.bytes, from: 0x100, address, width), "at \(address)")
    }
    for address in 0xf0...0x110 as ClosedRange<UInt64> {
      var expected = a.bytes + b.bytes
      for index in 0..<width.bytes where 0x100..<0x108 ~= address + index {
        expected[Int(address + index - 0x100)] = UInt8(0xc0 + index)
      }
      view.write(0xc7c6_c5c4_c3c2_c1c0, address, width)
      #expect(a.bytes + b.bytes == expected, "at \(address)")
    }
  }

  @Test func `a width that a device does not take is split on the port bus`() {
    let bus = IOBus(wideAccess: .split)
    let device = RegisterFile([1, 2, 3, 4], widths: [.byte])
    bus.map(device, at: 0x40..<0x44)
    var view = BusView(bus)
    #expect(view.read(0x40, .doubleword) == 0x0403_0201)
    view.write(0x0605, 0x41, .word)
    #expect(device.bytes == [1, 5, 6, 4])
    #expect(device.widthsSeen == Array(repeating: .byte, count: 6))
    #expect(bus.unanswered == 0)
  }

  @Test func `a width that a device does not take is lost on the memory bus`() {
    let bus = IOBus(wideAccess: .refuse)
    let device = RegisterFile([1, 2, 3, 4, 5, 6, 7, 8], widths: [.doubleword])
    bus.map(device, at: 0x40..<0x48)
    var view = BusView(bus)
    #expect(view.read(0x40, .quadword) == .max)
    #expect(view.read(0x40, .word) == 0xffff)
    view.write(0, 0x41, .byte)
    #expect(device.bytes == [1, 2, 3, 4, 5, 6, 7, 8])
    #expect(device.widthsSeen.isEmpty)
    #expect(bus.unanswered == 3)
    #expect(view.read(0x44, .doubleword) == 0x0807_0605)
  }

  @Test(arguments: [IOError.noSuchRegister, .misaligned, .absent])
  func `another refusal is final, and read as ones`(refusal: IOError) {
    let bus = IOBus(wideAccess: .split)
    let device = RegisterFile([1, 2, 3, 4, 5, 6, 7, 8], widths: [.byte], refusal: refusal)
    bus.map(device, at: 0x40..<0x48)
    var view = BusView(bus)
    #expect(view.read(0x40, .word) == 0xffff)
    #expect(view.read(0x40, .doubleword) == 0xffff_ffff)
    view.write(0, 0x40, .quadword)
    #expect(device.widthsSeen.isEmpty)
    #expect(bus.unanswered == 3)
  }

  @Test(arguments: AccessWidth.allCases)
  func `where nothing is, reads are ones, writes are lost, and each access is counted once`(
    width: AccessWidth
  ) {
    let bus = IOBus(wideAccess: .split)
    let neighbour = RegisterFile([0])
    bus.map(neighbour, at: 0x100..<0x101)
    var view = BusView(bus)
    #expect(view.read(0x80, width) == width.mask)
    view.write(0, 0x101, width)
    #expect(view.read(.max, width) == width.mask)
    #expect(bus.unanswered == 3)
    #expect(neighbour.widthsSeen.isEmpty)
  }

  @Test func `a device neither sees nor shows bits beyond the width`() {
    final class Ones: IODevice {
      let written = Atomic<UInt64>(0)
      func read(_ access: Access) throws(IOError) -> UInt64 { .max }
      func write(_ value: UInt64, _ access: Access) throws(IOError) {
        written.store(value, ordering: .relaxed)
      }
    }
    let bus = IOBus(wideAccess: .refuse)
    let device = Ones()
    bus.map(device, at: 0..<8)
    var view = BusView(bus)
    for width in AccessWidth.allCases {
      #expect(view.read(0, width) == width.mask)
      view.write(.max, 0, width)
      #expect(device.written.load(ordering: .relaxed) == width.mask)
    }
  }

  @Test(arguments: 1...4 as ClosedRange<UInt64>)
  func `a view finds what a search from front to back finds`(seed: UInt64) {
    var chance = Chance(seed: seed)
    let bus = IOBus(wideAccess: .split)
    var view = BusView(bus)
    let devices = (0..<8).map { RegisterFile([UInt8](repeating: UInt8($0), count: 64)) }
    for step in 0..<3000 {
      if step.isMultiple(of: 10) {
        let start = chance.number(below: 256)
        let range = start..<start + 1 + chance.number(below: 32)
        if chance.number(below: 3) == 0 {
          bus.unmap(range)
        } else {
          let isFree = !bus.map.contains { $0.range.overlaps(range) }
          #expect(bus.map(devices[Int(chance.number(below: 8))], at: range) == isFree)
        }
      }
      let address = chance.number(below: 300)
      let holder = bus.map.first { $0.range.contains(address) }?.device as? RegisterFile
      #expect(view.read(address, .byte) == holder.map { UInt64($0.bytes[0]) } ?? 0xff)
    }
  }
}
