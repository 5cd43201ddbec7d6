/// How long to wait for an acknowledgment (RFC 6298), in nanoseconds.
struct RetransmissionTimeout {
  /// Section 2.4 advises a second; guests' own stacks wait a fifth of that.
  private static let minimum: UInt64 = 200_000_000
  private static let initial: UInt64 = 1_000_000_000
  private static let maximum: UInt64 = 60_000_000_000

  /// SRTT, RTTVAR.
  private(set) var smoothed: UInt64 = 0
  private var variation: UInt64 = 0
  private var base = Self.initial
  /// Times in a row that nothing was heard.
  private(set) var backOffs = 0

  /// RTO.
  var value: UInt64 { min(Self.maximum, base &<< UInt64(min(backOffs, 8))) }

  /// Section 2.2 and 2.3.
  mutating func measured(_ roundTrip: UInt64) {
    let sample = min(roundTrip, Self.maximum)
    if smoothed == 0 {
      smoothed = max(sample, 1)
      variation = sample / 2
    } else {
      let distance = smoothed > sample ? smoothed - sample : sample - smoothed
      variation = (3 * variation + distance) / 4
      smoothed = max((7 * smoothed + sample) / 8, 1)
    }
    base = max(Self.minimum, smoothed + max(4 * variation, 1_000_000))
  }

  /// Section 5.5.
  mutating func backOff() { backOffs += 1 }

  mutating func progressed() { backOffs = 0 }
}
