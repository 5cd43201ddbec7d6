import Board
import InterruptControllers
import Kit
import Testing

/// IPIs, messages and level-triggered interrupts come in from several threads at once.
@Suite struct ConcurrencyTests {
  /// Ends an interrupt by sending it again, as an I/O APIC does whose pin is still asserted.
  private final class Resender: EndOfInterruptListener {
    let apics: LocalAPICs
    init(_ apics: LocalAPICs) { self.apics = apics }
    func endOfInterrupt(vector: UInt8) {
      apics.signal(MSI(address: 0xfee0_1000, data: 0x4000 | 0x8000 | UInt32(vector)), from: 0)
    }
  }

  @Test(.timeLimit(.minutes(10)))
  func `no interrupt is lost, whoever sends it`() async {
    let bench = APICBench(processors: 4)
    let rounds = 500
    // Three processors each send their own vector to processor 0, the next when the last has arrived;
    // processor 1 is kept busy by an interrupt that sends itself again.
    let resender = Resender(bench.apics)
    defer { withExtendedLifetime(resender) {} }
    bench.apics.connect(endOfInterrupt: resender)
    bench.apics.signal(MSI(address: 0xfee0_1000, data: 0xc051), from: 0)
    let acknowledged = await withTaskGroup(of: Int.self) { group in
      for sender in 1...3 {
        group.addTask {
          for _ in 0..<rounds {
            bench.sendIPI(from: sender, to: 0, UInt32(0x40 + sender * 0x10))
            if sender == 1, bench[1].acknowledgeInterrupt() != nil {
              bench[1].write(0, Offset.endOfInterrupt)
            }
            let word = Offset.requested + UInt32((0x40 + sender * 0x10) / 32 * 16)
            while bench[0].read(word) >> UInt32(sender % 2 * 16) & 1 != 0 { await Task.yield() }
          }
          return 0
        }
      }
      group.addTask {
        var count = 0
        while count < 3 * rounds {
          guard bench[0].pending.contains(.interrupt), bench[0].acknowledgeInterrupt() != nil else {
            await Task.yield()
            continue
          }
          bench[0].write(0, Offset.endOfInterrupt)
          count += 1
        }
        return count
      }
      return await group.reduce(0, +)
    }
    #expect(acknowledged == 3 * rounds)
    #expect(bench[0].pending == [])
    #expect(bench[1].pending == .interrupt)
  }
}
