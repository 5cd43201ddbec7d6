/// How often, and how soon, a lost peer is looked for.
package struct Reconnection: Sendable {
  /// Nanoseconds before the first try.
  package var firstDelay: UInt64 = 100_000_000
  /// Each wait is twice the one before, but no longer than this.
  package var longestDelay: UInt64 = 5_000_000_000
  /// Tries in a row that may fail before the port gives up for good. None: it stays down once it is down.
  package var tries = 120

  package init() {}

  /// How long to wait before try number `index`, counted from zero; `nil`: it is given up.
  func delay(before index: Int) -> UInt64? {
    guard index < tries else { return nil }
    let doubled = firstDelay.multipliedReportingOverflow(by: 1 << UInt64(min(index, 32)))
    return doubled.overflow ? longestDelay : min(doubled.partialValue, longestDelay)
  }
}
