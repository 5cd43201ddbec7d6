/// A source of ticks at one frequency, driven by guest time: what every counter a guest can read counts.
///
/// Ticks are exact: it has made `⌊nanoseconds × frequency ÷ 10⁹⌋` of them since power-on.
package struct Oscillator: Sendable {
  /// Ticks in a second of guest time.
  package let frequency: UInt64

  private static let nanosecondsPerSecond: UInt64 = 1_000_000_000

  package init(frequency: UInt64) {
    precondition(frequency > 0, "an oscillator must tick")
    self.frequency = frequency
  }

  /// Ticks made at a moment, modulo 2⁶⁴.
  package func ticks(at moment: VMInstant) -> UInt64 {
    guard frequency != Self.nanosecondsPerSecond else { return moment.nanoseconds }
    let (seconds, rest) = moment.nanoseconds.quotientAndRemainder(
      dividingBy: Self.nanosecondsPerSecond)
    let part = rest.multipliedFullWidth(by: frequency)
    return seconds &* frequency
      &+ Self.nanosecondsPerSecond.dividingFullWidth(part).quotient
  }

  /// The first moment at which `ticks` have been made; `nil` if guest time ends before.
  package func moment(of ticks: UInt64) -> VMInstant? {
    guard frequency != Self.nanosecondsPerSecond else { return VMInstant(nanoseconds: ticks) }
    let product = ticks.multipliedFullWidth(by: Self.nanosecondsPerSecond)
    guard product.high < frequency else { return nil }
    let (quotient, remainder) = frequency.dividingFullWidth(product)
    guard remainder != 0 else { return VMInstant(nanoseconds: quotient) }
    let (up, overflow) = quotient.addingReportingOverflow(1)
    return overflow ? nil : VMInstant(nanoseconds: up)
  }
}
