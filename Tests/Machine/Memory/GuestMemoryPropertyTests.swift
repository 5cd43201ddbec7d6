import Kit
import Memory
import Testing

/// Guest memory against `MemoryModel`: whatever is asked of both, they answer alike and hold the same.
@Suite struct GuestMemoryPropertyTests {
  /// As on a PC: memory below and above the PCI hole, ROM within, and regions that touch. The last one ends
  /// with the address space.
  private static let regions: [GuestMemory.Region] = [
    .init(start: GPA(0), count: 0x3000),
    .init(start: GPA(0x3000), count: 0x1000, kind: .rom),
    .init(start: GPA(0x4000), count: 0x2000),
    .init(start: GPA(0x6000), count: 0x1000),
    .init(start: GPA(0xffff_e000), count: 0x2000, kind: .rom),
    .init(start: GPA(0x1_0000_0000), count: 0x2000),
    .init(start: GPA(0xffff_ffff_ffff_f000), count: 0x1000),
  ]

  @Test(arguments: 1...8 as ClosedRange<UInt64>)
  func `memory holds what a plain array would, and refuses what it would`(seed: UInt64) throws {
    var trial = try Trial(Self.regions, seed: seed)
    for step in 0..<600 {
      trial.step()
      if step.isMultiple(of: 50) { trial.compareAll() }
    }
    trial.compareAll()
  }

  /// One memory, one model, and what chance does to both.
  private struct Trial {
    private let memory: GuestMemory
    private var model: MemoryModel
    private var chance: Chance

    init(_ regions: [GuestMemory.Region], seed: UInt64) throws {
      memory = try GuestMemory(regions)
      memory.dirtyPages.isEnabled = true
      model = MemoryModel(regions)
      chance = Chance(seed: seed)
    }

    mutating func step() {
      let address = address()
      switch chance.number(below: 12) {
      case 0: value(UInt8.self, at: address)
      case 1: value(UInt16.self, at: address)
      case 2: value(UInt32.self, at: address)
      case 3: value(UInt64.self, at: address)
      case 4: value(SIMD16<UInt8>.self, at: address)
      case 5: ringIndex(at: address)
      case 6: fill(at: address)
      case 7: write(at: address, toROM: true)
      case 8, 9: write(at: address, toROM: false)
      case 10: buffers(at: address)
      default: read(at: address)
      }
    }

    /// Every byte of every region, and every page written since the last time.
    mutating func compareAll() {
      for (region, bytes) in zip(model.regions, model.contents) {
        #expect((try? memory.bytes(at: region.start, count: bytes.count)) == bytes)
      }
      #expect(memory.dirtyPages.collect() == model.takeDirtyPages())
    }

    /// Near an edge of a region, or anywhere.
    private mutating func address() -> GPA {
      guard chance.number(below: 8) != 0 else { return GPA(chance.value()) }
      let region = model.regions[Int(chance.number(below: UInt64(model.regions.count)))]
      let edge =
        chance.number(below: 2) == 0 ? region.start.rawValue : region.start.rawValue &+ region.count
      return GPA(edge &+ chance.number(below: 40) &- 20)
    }

    private mutating func count() -> UInt64 {
      switch chance.number(below: 8) {
      case 0: 0
      case 1: chance.number(below: 0x2800)
      case 2: .max &- chance.number(below: 0x2000)
      default: chance.number(below: 64)
      }
    }

    private mutating func bytes(_ count: UInt64) -> [UInt8] {
      (0..<count).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
    }

    /// The length of an array of bytes: the largest ones are for ranges only.
    private mutating func arrayLength() -> UInt64 { min(count(), 0x2800) }

    // MARK: Each operation, on both

    private mutating func value<Value: BitwiseCopyable>(_: Value.Type, at address: GPA) {
      let size = MemoryLayout<Value>.size
      if chance.number(below: 2) == 0 {
        let bytes = bytes(UInt64(size))
        let ours = outcome { () throws(MemoryFault) in
          try memory.store(bytes.withUnsafeBytes { $0.loadUnaligned(as: Value.self) }, at: address)
        }
        let theirs = outcome { () throws(MemoryFault) in
          try model.checkValue(at: address, count: size, toWrite: true)
          try model.write(bytes, at: address)
        }
        #expect(ours == theirs)
      } else {
        let ours = answer { () throws(MemoryFault) in
          let value = try memory.load(Value.self, at: address)
          return withUnsafeBytes(of: value) { Array($0) }
        }
        let theirs = answer { () throws(MemoryFault) in
          try model.checkValue(at: address, count: size, toWrite: false)
          return try model.read(at: address, count: UInt64(size))
        }
        #expect(ours == theirs)
      }
    }

    private mutating func ringIndex(at address: GPA) {
      let value = UInt16(truncatingIfNeeded: chance.next())
      let ours = outcome { () throws(MemoryFault) in
        try memory.storeReleasing(value, at: address)
      }
      let theirs = outcome { () throws(MemoryFault) in
        guard address.rawValue % 2 == 0 else { throw .outOfRange(address) }
        try model.checkValue(at: address, count: 2, toWrite: true)
        try model.write([UInt8(value & 0xff), UInt8(value >> 8)], at: address)
      }
      #expect(ours == theirs)
      if ours == nil { #expect((try? memory.loadAcquiring(at: address)) == value) }
    }

    private mutating func fill(at address: GPA) {
      let (value, count) = (UInt8(truncatingIfNeeded: chance.next()), count())
      let ours = outcome { () throws(MemoryFault) in
        try memory.fill(value, at: address, count: count)
      }
      let theirs = outcome { () throws(MemoryFault) in
        try model.fill(value, at: address, count: count)
      }
      #expect(ours == theirs)
    }

    private mutating func write(at address: GPA, toROM: Bool) {
      let bytes = bytes(arrayLength())
      let ours = outcome { () throws(MemoryFault) in
        if toROM {
          try memory.install(bytes, at: address)
        } else {
          try memory.write(bytes, at: address)
        }
      }
      let theirs = outcome { () throws(MemoryFault) in
        try model.write(bytes, at: address, toROM: toROM)
      }
      #expect(ours == theirs)
    }

    private mutating func read(at address: GPA) {
      let count = arrayLength()
      let ours = answer { () throws(MemoryFault) in
        try memory.bytes(at: address, count: Int(count))
      }
      let theirs = answer { () throws(MemoryFault) in try model.read(at: address, count: count) }
      #expect(ours == theirs)
    }

    /// Two ranges at once, resolved and then written to as `readv` would.
    private mutating func buffers(at first: GPA) {
      let ranges = [(first, count()), (address(), count())]
        .compactMap { GPARange(start: $0.0, count: $0.1) }
      let value = UInt8(truncatingIfNeeded: chance.next())
      let ours = outcome { () throws(MemoryFault) in
        let buffers = try memory.buffers(ranges, writable: true)
        #expect(buffers.count == ranges.reduce(0) { $0 + Int($1.count) })
        for part in buffers.parts {
          for index in part.indices { part[index] = value }
        }
        buffers.noteWritten()
      }
      let theirs = outcome { () throws(MemoryFault) in
        var changed = model
        for range in ranges { try changed.fill(value, at: range.start, count: range.count) }
        model = changed
      }
      #expect(ours == theirs)
    }

    private func outcome(_ body: () throws(MemoryFault) -> Void) -> MemoryFault? {
      do throws(MemoryFault) { try body() } catch { return error }
      return nil
    }

    private func answer(
      _ body: () throws(MemoryFault) -> [UInt8]
    ) -> Result<[UInt8], MemoryFault> {
      do throws(MemoryFault) { return .success(try body()) } catch { return .failure(error) }
    }
  }
}
