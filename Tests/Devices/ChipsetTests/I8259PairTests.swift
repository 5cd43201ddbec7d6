import Board
import Kit
import Testing

@testable import Chipset

/// The pair, and what drives it.
private struct Bench {
  let processor = RecordingController()
  let pair: I8259Pair

  init() { pair = I8259Pair(output: InterruptLine(to: processor, pin: 0)) }

  func write(_ value: UInt64, _ block: I8259Pair.Block, _ offset: UInt64) {
    try? pair.write(value, Access(region: block.rawValue, width: .byte, offset: offset))
  }

  func read(_ block: I8259Pair.Block, _ offset: UInt64) -> UInt64 {
    (try? pair.read(Access(region: block.rawValue, width: .byte, offset: offset))) ?? .max
  }

  /// As Linux' `init_8259A` does, vectors from 0x30 and 0x38, nothing masked.
  func initialize(icw4: UInt64 = 0x01) {
    for (block, vector, cascade): (I8259Pair.Block, UInt64, UInt64) in [
      (.master, 0x30, 0x04), (.slave, 0x38, 0x02),
    ] {
      write(0x11, block, 0)
      write(vector, block, 1)
      write(cascade, block, 1)
      write(icw4, block, 1)
    }
  }

  func pulse(_ pin: UInt32) {
    pair.set(pin, asserted: true)
    pair.set(pin, asserted: false)
  }

  var requests: Bool { processor.level(0) }
}

@Suite struct I8259PairTests {
  @Test func `before initialisation nothing gets through`() {
    let bench = Bench()
    bench.pulse(0)
    #expect(!bench.requests)
    bench.write(0xa5, .master, 1)
    #expect(
      bench.read(.master, 1) == 0xa5, "the mask answers, which is how Linux looks for the chip")
  }

  // "Interrupt sequence"
  @Test func `an edge becomes a vector, and the next waits for the end of interrupt`() {
    let bench = Bench()
    bench.initialize()
    bench.pulse(4)
    #expect(bench.requests)
    #expect(bench.pair.acknowledge() == 0x34)
    #expect(!bench.requests)
    bench.pulse(4)
    #expect(!bench.requests)
    bench.write(0x20, .master, 0)
    #expect(bench.requests)
  }

  // "Cascade mode"
  @Test func `the slave answers for its pins, and needs two ends of interrupt`() {
    let bench = Bench()
    bench.initialize()
    bench.pulse(12)
    bench.pulse(8)
    #expect(bench.pair.acknowledge() == 0x38)
    #expect(!bench.requests)
    bench.write(0x20, .slave, 0)
    bench.write(0x20, .master, 0)
    #expect(bench.requests)
    #expect(bench.pair.acknowledge() == 0x3c)
    bench.write(0x20, .slave, 0)
    bench.write(0x20, .master, 0)
    #expect(!bench.requests)
  }

  // "Fully nested mode"
  @Test func `a more urgent pin interrupts a less urgent one`() {
    let bench = Bench()
    bench.initialize()
    bench.pulse(5)
    _ = bench.pair.acknowledge()
    bench.pulse(6)
    #expect(!bench.requests)
    bench.pulse(1)
    #expect(bench.requests)
    #expect(bench.pair.acknowledge() == 0x31)
  }

  @Test func `a request withdrawn is answered with the spurious vector`() {
    let bench = Bench()
    bench.initialize()
    bench.write(0x20, .edgeLevel, 0)
    bench.pair.set(5, asserted: true)
    #expect(bench.requests)
    bench.pair.set(5, asserted: false)
    #expect(bench.pair.acknowledge() == 0x37)
    bench.write(0x0b, .master, 0)
    #expect(bench.read(.master, 0) == 0, "nothing is in service")
  }

  @Test func `a slave's request withdrawn is its own spurious vector`() {
    let bench = Bench()
    bench.initialize()
    bench.write(0x04, .edgeLevel, 1)
    bench.pair.set(10, asserted: true)
    bench.pair.set(10, asserted: false)
    #expect(bench.pair.acknowledge() == 0x3f)
    bench.write(0x0b, .master, 0)
    #expect(bench.read(.master, 0) == 0x04, "the master has its pin 2 in service")
  }

  @Test func `a level requests again after the end of interrupt, an edge does not`() {
    let bench = Bench()
    bench.initialize()
    bench.write(0x20, .edgeLevel, 0)
    for (pin, again): (UInt32, Bool) in [(5, true), (6, false)] {
      bench.pair.set(pin, asserted: true)
      _ = bench.pair.acknowledge()
      bench.write(0x20, .master, 0)
      #expect(bench.requests == again)
      bench.pair.set(pin, asserted: false)
    }
  }

  @Test func `pins 0, 1, 2, 8 and 13 cannot be level-triggered`() {
    let bench = Bench()
    bench.write(0xff, .edgeLevel, 0)
    bench.write(0xff, .edgeLevel, 1)
    #expect(bench.read(.edgeLevel, 0) == 0xf8)
    #expect(bench.read(.edgeLevel, 1) == 0xde)
  }

  // "Automatic end of interrupt (AEOI) mode"
  @Test func `with automatic end of interrupt nothing stays in service`() {
    let bench = Bench()
    bench.initialize(icw4: 0x03)
    bench.pulse(3)
    bench.pulse(9)
    #expect(bench.pair.acknowledge() == 0x39)
    #expect(bench.pair.acknowledge() == 0x33)
    #expect(!bench.requests)
  }

  @Test func `the output falls between two requests`() {
    let bench = Bench()
    bench.initialize(icw4: 0x03)
    bench.pulse(3)
    bench.pulse(9)
    bench.pulse(10)
    for _ in 0..<3 { _ = bench.pair.acknowledge() }
    #expect(bench.processor.rises(0) == 3)
  }

  // "Automatic rotation (equal priority devices)"
  @Test func `rotation gives the pin just served the lowest priority`() {
    let bench = Bench()
    bench.initialize()
    bench.pulse(4)
    _ = bench.pair.acknowledge()
    bench.write(0xa0, .master, 0)
    bench.pulse(4)
    bench.pulse(6)
    #expect(bench.pair.acknowledge() == 0x36)
  }

  // "Specific rotation (specific priority)"
  @Test func `the lowest priority can be set`() {
    let bench = Bench()
    bench.initialize()
    bench.write(0xc5, .master, 0)
    bench.pulse(3)
    bench.pulse(6)
    #expect(bench.pair.acknowledge() == 0x36)
  }

  @Test func `a specific end of interrupt ends that pin`() {
    let bench = Bench()
    bench.initialize()
    bench.pulse(5)
    _ = bench.pair.acknowledge()
    bench.pulse(1)
    _ = bench.pair.acknowledge()
    bench.write(0x65, .master, 0)
    bench.write(0x0b, .master, 0)
    #expect(bench.read(.master, 0) == 0x02)
  }

  // "Special mask mode"
  @Test func `special mask mode lets less urgent pins through`() {
    let bench = Bench()
    bench.initialize()
    bench.pulse(3)
    _ = bench.pair.acknowledge()
    bench.pulse(6)
    #expect(!bench.requests)
    bench.write(0x08, .master, 1)
    bench.write(0x68, .master, 0)
    #expect(bench.requests)
    bench.write(0x48, .master, 0)
    #expect(!bench.requests)
  }

  // "The special fully nested mode"
  @Test func `special fully nested mode lets the slave interrupt itself`() {
    let bench = Bench()
    bench.initialize(icw4: 0x11)
    bench.pulse(12)
    _ = bench.pair.acknowledge()
    bench.pulse(9)
    #expect(bench.requests)
    #expect(bench.pair.acknowledge() == 0x39)
  }

  // "Poll command"
  @Test func `a poll acknowledges and names the pin`() {
    let bench = Bench()
    bench.initialize()
    bench.write(0x0c, .master, 0)
    #expect(bench.read(.master, 0) == 0)
    bench.pulse(5)
    bench.write(0x0c, .master, 0)
    #expect(bench.read(.master, 0) == 0x85)
    #expect(!bench.requests)
    #expect(bench.read(.master, 0) == 0, "IRR again")
  }

  // "Initialization command words"
  @Test func `after initialisation a pin must rise anew`() {
    let bench = Bench()
    bench.initialize()
    bench.pair.set(4, asserted: true)
    bench.initialize()
    #expect(!bench.requests)
    bench.pair.set(4, asserted: false)
    bench.pair.set(4, asserted: true)
    #expect(bench.requests)
  }

  @Test func `masked requests wait`() {
    let bench = Bench()
    bench.initialize()
    bench.write(0xff, .slave, 1)
    bench.pulse(14)
    #expect(!bench.requests)
    bench.write(0x0a, .slave, 0)
    #expect(bench.read(.slave, 0) == 0x40)
    bench.write(0x00, .slave, 1)
    #expect(bench.requests)
  }

  @Test func `pins that are not there are ignored`() {
    let bench = Bench()
    bench.initialize()
    for pin: UInt32 in [2, 16, .max] { bench.pair.set(pin, asserted: true) }
    #expect(!bench.requests)
  }

  @Test func `it keeps the contract of components`() {
    let broken = ComponentContract.violations(
      of: { I8259Pair(output: InterruptLine(to: RecordingController(), pin: 0)) },
      plug: {
        $1.map($0, at: 0x20..<0x22, region: I8259Pair.Block.master.rawValue)
        $1.map($0, at: 0xa0..<0xa2, region: I8259Pair.Block.slave.rawValue)
        $1.map($0, at: 0x4d0..<0x4d2, region: I8259Pair.Block.edgeLevel.rawValue)
      },
      disturb: { pair in
        for (region, value, offset): (UInt8, UInt64, UInt64) in [
          (2, 0x20, 0), (2, 0x0e, 1), (0, 0x11, 0), (0, 0x30, 1), (0, 4, 1), (0, 1, 1),
          (1, 0x11, 0), (1, 0x38, 1),
        ] {
          try? pair.write(value, Access(region: region, width: .byte, offset: offset))
        }
        pair.set(4, asserted: true)
        pair.set(4, asserted: false)
      })
    #expect(broken == [])
  }
}
