import Testing
import Work

@Suite struct OscillatorTests {
  @Test func `ticks and moments are each other's inverse`() throws {
    for frequency: UInt64 in [
      1, 3, 1_193_182, 3_579_545, 100_000_000, 1_000_000_000, 2_400_000_001,
    ] {
      let oscillator = Oscillator(frequency: frequency)
      for ticks: UInt64 in [0, 1, 2, 999, 12345] {
        let moment = try #require(oscillator.moment(of: ticks))
        #expect(oscillator.ticks(at: moment) >= ticks)
        if moment.nanoseconds > 0 {
          let before = VMInstant(nanoseconds: moment.nanoseconds - 1)
          #expect(oscillator.ticks(at: before) < ticks)
        }
      }
    }
  }

  @Test func `ticks are exact where the product does not fit 64 bits`() {
    let oscillator = Oscillator(frequency: 2_400_000_001)
    let century = VMInstant(nanoseconds: 3_155_760_000_000_000_000)
    #expect(oscillator.ticks(at: century) == 7_573_824_003_155_760_000)
    #expect(oscillator.moment(of: 7_573_824_003_155_760_000) == century)
  }

  @Test func `a tick beyond the end of guest time has no moment`() {
    #expect(Oscillator(frequency: 1000).moment(of: .max) == nil)
  }
}
