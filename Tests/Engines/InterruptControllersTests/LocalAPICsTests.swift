import ArchitectureX86
import Board
import InterruptControllers
import Kit
import Testing

/// Who gets a message: SDM Vol. 3A §11.6.2 "Determining IPI Destination", §11.11, §11.12.10.
@Suite struct LocalAPICsTests {
  let bench = APICBench(processors: 4)

  /// Who has an interrupt waiting; takes it.
  private func takers() -> [Int] {
    (0..<4).filter { index in
      guard bench[index].acknowledgeInterrupt() != nil else { return false }
      if bench[index].isX2APIC {
        _ = bench[index].writeMSR(0, 0x80b)
      } else {
        bench[index].write(0, Offset.endOfInterrupt)
      }
      return true
    }
  }

  @Test func `shorthands name self, all, and all but self`() {
    bench.sendIPI(from: 1, to: 0, 0x4_0041)
    #expect(takers() == [1])
    bench.sendIPI(from: 1, to: 0, 0x8_0041)
    #expect(takers() == [0, 1, 2, 3])
    bench.sendIPI(from: 1, to: 0, 0xc_0041)
    #expect(takers() == [0, 2, 3])
  }

  @Test func `physical destinations name one, none, or with all ones everybody`() {
    bench.sendIPI(from: 0, to: 2, 0x41)
    #expect(takers() == [2])
    bench.sendIPI(from: 0, to: 9, 0x41)
    #expect(takers() == [])
    bench.sendIPI(from: 0, to: 0xff, 0x41)
    #expect(takers() == [0, 1, 2, 3])
  }

  @Test func `the flat model matches bits`() {
    for index in 0..<4 { bench[index].write(1 << UInt32(24 + index), Offset.logicalDestination) }
    bench.sendIPI(from: 0, to: 0b1010, 0x841)
    #expect(takers() == [1, 3])
    bench.sendIPI(from: 0, to: 0xff, 0x841)
    #expect(takers() == [0, 1, 2, 3])
  }

  @Test func `the cluster model matches cluster and bits`() {
    for index in 0..<4 {
      bench[index].write(0x0fff_ffff, Offset.destinationFormat)
      let cluster = UInt32(index / 2 + 1)
      bench[index].write((cluster << 4 | 1 << UInt32(index % 2)) << 24, Offset.logicalDestination)
    }
    bench.sendIPI(from: 0, to: 0x23, 0x841)
    #expect(takers() == [2, 3])
    bench.sendIPI(from: 0, to: 0x12, 0x841)
    #expect(takers() == [1])
    bench.sendIPI(from: 0, to: 0xff, 0x841)
    #expect(takers() == [0, 1, 2, 3])
  }

  @Test func `lowest priority goes to the idlest, and equals take turns`() {
    for index in 0..<4 { bench[index].write(1 << UInt32(24 + index), Offset.logicalDestination) }
    bench[0].taskPriority = 8
    bench[2].taskPriority = 8
    var order: [Int] = []
    for _ in 0..<4 {
      bench.sendIPI(from: 0, to: 0xf, 0x9a1)
      order += takers()
    }
    #expect(order.count == 4)
    #expect(Set(order) == [1, 3])
    #expect(order[0] != order[1] && order[1] != order[2])
  }

  @Test func `in x2APIC mode IDs have 32 bits and ICR is one register`() {
    for index in 0..<4 { #expect(bench.enterX2APIC(index)) }
    #expect(bench[3].readMSR(0x802) == 3)
    #expect(bench[3].readMSR(0x80d) == 1 << 3)
    #expect(bench[0].writeMSR(3 << 32 | 0x41, 0x830))
    #expect(bench[0].readMSR(0x830) == 3 << 32 | 0x41)
    #expect(takers() == [3])
    #expect(bench[0].writeMSR(0xffff_ffff << 32 | 0x41, 0x830))
    #expect(takers() == [0, 1, 2, 3])
    #expect(bench[0].writeMSR(0b0110 << 32 | 0x841, 0x830))
    #expect(takers() == [1, 2])
    #expect(bench[0].writeMSR(0x1_0006 << 32 | 0x841, 0x830))
    #expect(takers() == [])
    #expect(bench[2].writeMSR(0x41, 0x83f))
    #expect(takers() == [2])
  }

  @Test func `in x2APIC mode reserved bits and absent registers are refused`() {
    #expect(bench[0].readMSR(0x802) == nil)
    #expect(!bench[0].writeMSR(0, 0x808))
    #expect(bench.enterX2APIC(0))
    for absent: UInt32 in [0x800, 0x809, 0x80e, 0x831, 0x82f, 0x840, 0x8ff] {
      #expect(bench[0].readMSR(absent) == nil)
      #expect(!bench[0].writeMSR(0, absent))
    }
    for readOnly: UInt32 in [0x802, 0x803, 0x80a, 0x80d, 0x810, 0x827, 0x839] {
      #expect(bench[0].readMSR(readOnly) != nil)
      #expect(!bench[0].writeMSR(0, readOnly))
    }
    for writeOnly: UInt32 in [0x80b, 0x83f] { #expect(bench[0].readMSR(writeOnly) == nil) }
    let reserved: [(UInt32, UInt64)] = [
      (0x808, 0x100), (0x80b, 1), (0x80f, 1 << 10), (0x828, 1), (0x830, 1 << 13), (0x832, 1 << 19),
      (0x838, 1 << 32), (0x83e, 4), (0x83f, 0x100),
    ]
    for (index, value) in reserved { #expect(!bench[0].writeMSR(value, index)) }
  }

  @Test func `messages from devices find their APIC`() {
    bench.apics.signal(MSI(address: 0xfee0_2000, data: 0x61), from: 0)
    #expect(takers() == [2])
    for index in 0..<4 { bench[index].write(1 << UInt32(24 + index), Offset.logicalDestination) }
    bench.apics.signal(MSI(address: 0xfee0_9004, data: 0x61), from: 0)
    #expect(takers() == [0, 3])
    bench.apics.signal(MSI(address: 0xfee0_900c, data: 0x161), from: 0)
    #expect(takers().count == 1)
    bench.apics.signal(MSI(address: 0xfee0_2000, data: 0x8061), from: 0)
    #expect(takers() == [])
    bench.apics.signal(MSI(address: 0xfed0_2000, data: 0x61), from: 0)
    bench.apics.signal(MSI(address: .max, data: .max), from: 0)
    #expect(takers() == [])
    bench.apics.signal(MSI(address: 0xfee0_2000, data: 0x400), from: 0)
    #expect(bench[2].takeNMI())
  }
}
