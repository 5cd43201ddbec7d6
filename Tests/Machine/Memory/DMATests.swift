import Memory
import Testing

@Suite struct DMATests {
  private let memory: GuestMemory

  init() throws { memory = try GuestMemory([.init(start: GPA(0), count: 0x4000)]) }

  @Test func `a shut gate lets nothing through, and opens at any time`() throws {
    let gate = Gate()
    let dma = DMA(memory, gate: gate)
    try memory.write([1, 2, 3], at: GPA(0x10))
    let range = try #require(GPARange(start: GPA(0x10), count: 3))
    #expect(throws: MemoryFault.notPermitted(GPA(0x10))) { try dma.bytes(at: GPA(0x10), count: 3) }
    #expect(throws: MemoryFault.notPermitted(GPA(0x10))) { try dma.write([9], at: GPA(0x10)) }
    #expect(throws: MemoryFault.notPermitted(GPA(0x10))) {
      try dma.buffers([range], writable: false)
    }
    #expect(try memory.bytes(at: GPA(0x10), count: 3) == [1, 2, 3])
    gate.isOpen = true
    #expect(try dma.bytes(at: GPA(0x10), count: 3) == [1, 2, 3])
    try dma.write([9], at: GPA(0x10))
    #expect(try dma.buffers([range], writable: true).count == 3)
    gate.isOpen = false
    #expect(throws: MemoryFault.notPermitted(GPA(0))) { try dma.bytes(at: GPA(0), count: 0) }
  }

  @Test func `addresses that wrap are refused without a gate or a translation`() {
    let dma = DMA(memory)
    #expect(throws: MemoryFault.outOfRange(GPA(.max))) { try dma.bytes(at: GPA(.max), count: 2) }
    #expect(throws: MemoryFault.outOfRange(GPA(.max))) { try dma.write([1, 2], at: GPA(.max)) }
  }

  /// An IOMMU that swaps neighbouring pages, and lets nobody write above its limit.
  private final class SwappingPages: DMATranslation {
    func translate(_ range: GPARange, writable: Bool) throws(MemoryFault) -> [GPARange] {
      var runs: [GPARange] = []
      var address = range.start.rawValue
      var left = range.count
      while left > 0 {
        if writable && address >= 0x3000 { throw .notPermitted(GPA(address)) }
        let count = min(left, 0x1000 - address % 0x1000)
        guard let run = GPARange(start: GPA(address ^ 0x1000), count: count) else {
          throw .outOfRange(GPA(address))
        }
        runs.append(run)
        address += count
        left -= count
      }
      return runs
    }
  }

  @Test func `a translation decides where bytes lie, in the order of the device's addresses`()
    throws
  {
    let dma = DMA(memory, translation: SwappingPages())
    try dma.write([1, 2, 3, 4], at: GPA(0xffe))
    #expect(try memory.bytes(at: GPA(0x1ffe), count: 2) == [1, 2])
    #expect(try memory.bytes(at: GPA(0), count: 2) == [3, 4])
    #expect(try dma.bytes(at: GPA(0xffe), count: 4) == [1, 2, 3, 4])
    let range = try #require(GPARange(start: GPA(0xffe), count: 4))
    let buffers = try dma.buffers([range], writable: false)
    #expect(buffers.parts.map { Array($0) } == [[1, 2], [3, 4]])
  }

  /// An IOMMU that leads the second half of a range to where there is no memory.
  private final class LeadingAstray: DMATranslation {
    func translate(_ range: GPARange, writable: Bool) throws(MemoryFault) -> [GPARange] {
      let half = range.count / 2
      return [
        GPARange(start: range.start, count: half),
        GPARange(start: GPA(0x100_0000), count: range.count - half),
      ].compactMap(\.self)
    }
  }

  @Test func `a write of which a part leads nowhere changes nothing`() throws {
    let dma = DMA(memory, translation: LeadingAstray())
    #expect(throws: MemoryFault.outOfRange(GPA(0x100_0000))) {
      try dma.write([1, 2, 3, 4], at: GPA(0x10))
    }
    #expect(throws: MemoryFault.outOfRange(GPA(0x100_0000))) {
      try dma.bytes(at: GPA(0x10), count: 4)
    }
    #expect(try memory.bytes(at: GPA(0x10), count: 4) == [0, 0, 0, 0])
  }

  @Test func `a refusal of the translation changes nothing`() throws {
    let dma = DMA(memory, translation: SwappingPages())
    #expect(throws: MemoryFault.notPermitted(GPA(0x3000))) {
      try dma.write([1, 2, 3, 4], at: GPA(0x2ffe))
    }
    #expect(try memory.bytes(at: GPA(0), count: 0x4000).allSatisfy { $0 == 0 })
  }
}
