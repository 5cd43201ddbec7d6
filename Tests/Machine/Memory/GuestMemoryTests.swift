import HostOS
import Memory
import Synchronization
import Testing

@Suite struct GuestMemoryTests {
  @Test func `an atomic overlay of guest memory is as large as the word that it covers`() {
    #expect(MemoryLayout<Atomic<UInt16>>.size == 2)
    #expect(MemoryLayout<Atomic<UInt16>>.stride == 2)
  }

  @Test func `memory that the host refuses is an error that says how much was asked`() {
    let error = #expect(throws: HostMemoryError.self) {
      try GuestMemory([
        .init(start: GPA(0), count: 0x1000),
        .init(start: GPA(0x1_0000_0000), count: 1 << 60),
      ])
    }
    #expect(error?.bytes == 1 << 60)
    #expect(error?.description.contains("1152921504606846976 bytes") == true)
  }

  @Test func `large pages of the guest lie on large pages of the host`() throws {
    let memory = try GuestMemory([
      .init(start: GPA(0), count: 0xa_0000),
      .init(start: GPA(0x10_0000), count: 0x40_0000),
      .init(start: GPA(0xfff0_0000), count: 0x10_0000, kind: .rom),
      .init(start: GPA(0x1_0000_1000), count: 0x30_0000),
    ])
    for address: UInt64 in [0, 0x9_f000, 0x10_0000, 0x20_0000, 0xfff0_0000, 0x1_0020_0000] {
      let page = try #require(memory.hostPage(holding: GPA(address)))
      #expect(UInt64(UInt(bitPattern: page.base)) % 0x20_0000 == address % 0x20_0000)
    }
    #expect(memory.hostPage(holding: GPA(0xa_0000)) == nil)
    #expect(memory.hostPage(holding: GPA(0x1_0000_0000)) == nil)
  }

  @Test func `values are little-endian`() throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 0x1000)])
    try memory.store(0x0403_0201 as UInt32, at: GPA(5))
    #expect(try memory.bytes(at: GPA(4), count: 6) == [0, 1, 2, 3, 4, 0])
  }

  @Test func `ROM is written only by whoever installs its content`() throws {
    let memory = try GuestMemory([.init(start: GPA(0xf_0000), count: 0x1000, kind: .rom)])
    try memory.install([0xea], at: GPA(0xf_0ff0))
    #expect(throws: MemoryFault.readOnly(GPA(0xf_0ff0))) {
      try memory.write([1], at: GPA(0xf_0ff0))
    }
    #expect(throws: MemoryFault.readOnly(GPA(0xf_0ff0))) {
      try memory.fill(0, at: GPA(0xf_0ff0), count: 1)
    }
    #expect(throws: MemoryFault.readOnly(GPA(0xf_0ff0))) {
      try memory.store(0 as UInt8, at: GPA(0xf_0ff0))
    }
    #expect(try memory.load(UInt8.self, at: GPA(0xf_0ff0)) == 0xea)
  }

  @Test func `an enormous range is refused before anything is allocated for it`() throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 0x1000)])
    let dma = DMA(memory)
    #expect(throws: MemoryFault.outOfRange(GPA(8))) { try memory.bytes(at: GPA(8), count: .max) }
    #expect(throws: MemoryFault.outOfRange(GPA(8))) { try dma.bytes(at: GPA(8), count: .max) }
  }

  @Test func `buffers count as written when the host has written them, not before`() throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 0x3000)])
    memory.dirtyPages.isEnabled = true
    let ranges = [
      GPARange(start: GPA(0xfff), count: 2), GPARange(start: GPA(0x2800), count: 0x1000),
    ].compactMap(\.self)
    #expect(throws: MemoryFault.outOfRange(GPA(0x2800))) {
      try memory.buffers(ranges, writable: true)
    }
    let buffers = try memory.buffers([ranges[0]], writable: true)
    #expect(memory.dirtyPages.collect().isEmpty)
    buffers.noteWritten()
    #expect(memory.dirtyPages.collect() == [0, 1])
  }

  @Test func `buffers keep the memory alive`() throws {
    var memory: GuestMemory? = try GuestMemory([.init(start: GPA(0), count: 0x1000)])
    try memory?.write([7], at: GPA(0xfff))
    let range = try #require(GPARange(start: GPA(0xfff), count: 1))
    let buffers = try #require(try memory?.buffers([range], writable: false))
    memory = nil
    #expect(buffers.count == 1)
    #expect(buffers.parts.first?.first == 7)
  }

  @Test func `a range that wraps does not exist, and one that ends the address space does`() {
    #expect(GPARange(start: GPA(.max), count: 2) == nil)
    #expect(GPARange(start: GPA(1), count: .max)?.count == .max)
    #expect(GPARange(start: GPA(2), count: .max) == nil)
    #expect(GPARange(start: GPA(.max), count: 1)?.count == 1)
    #expect(GPARange(start: GPA(.max), count: 0)?.count == 0)
  }

  @Test func `pages are numbered through all regions, and a number leads back to its page`() throws
  {
    let memory = try GuestMemory([
      .init(start: GPA(0), count: 0x2000), .init(start: GPA(0x8000), count: 0x1000, kind: .rom),
      .init(start: GPA(0x1_0000_0000), count: 0x2000),
    ])
    let pages: [UInt64] = [0, 0x1000, 0x8000, 0x1_0000_0000, 0x1_0000_1000]
    for (index, address) in pages.enumerated() {
      let page = try #require(memory.hostPage(holding: GPA(address + 0xabc)))
      #expect(page.index == index)
      #expect(page.isWritable == (address != 0x8000))
      #expect(memory.address(ofPage: index) == GPA(address))
      try memory.install([UInt8(index) + 1], at: GPA(address))
      #expect(page.base.load(as: UInt8.self) == UInt8(index) + 1)
    }
    for hole in [0x2000, 0x7fff, 0x9000, 0x1_0000_2000, .max] as [UInt64] {
      #expect(memory.hostPage(holding: GPA(hole)) == nil)
    }
  }

  @Test func `what was written before a ring's index is seen after it`() throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 0x1000)])
    let rounds: UInt16 = 2000
    let guest = try Thread(name: "guest") {
      for round in 1...rounds {
        // The announced value goes into one of two slots: the device may still be reading the other.
        try? memory.store(UInt64(round) &* 0x1_0001_0001, at: GPA(0x100 + UInt64(round & 1) * 8))
        try? memory.storeReleasing(round, at: GPA(0x80))
        spin { (try? memory.loadAcquiring(at: GPA(0x82))) == round }
      }
    }
    var wrong = 0
    for round in 1...rounds {
      spin { (try? memory.loadAcquiring(at: GPA(0x80))) == round }
      let announced = try memory.load(UInt64.self, at: GPA(0x100 + UInt64(round & 1) * 8))
      if announced != UInt64(round) &* 0x1_0001_0001 { wrong += 1 }
      try memory.storeReleasing(round, at: GPA(0x82))
    }
    guest.join()
    #expect(wrong == 0)
  }
}
