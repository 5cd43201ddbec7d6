import SavedState
import Work

/// A moment, counted in periods of the 8254's clock since power-on.
///
/// The clock runs at 1,193,182 Hz, a twelfth of the PC's 14.31818 MHz crystal; it is derived from the
/// guest's nanoseconds by exact integer division, so it neither drifts nor jitters.
struct PITTick: Sendable, Hashable, Comparable {
  static let frequency: UInt64 = 1_193_182
  private static let nanosecondsPerSecond: UInt64 = 1_000_000_000

  let count: Int64

  private init(count: Int64) { self.count = count }

  /// The last tick that is not after a moment of guest time.
  init(at instant: VMInstant) {
    // The quotient fits: it is smaller than the number of nanoseconds, by a factor of 838.
    let product = instant.nanoseconds.multipliedFullWidth(by: Self.frequency)
    let ticks = Self.nanosecondsPerSecond.dividingFullWidth(product).quotient
    count = Int64(truncatingIfNeeded: ticks)
  }

  /// A tick from a saved state; refused if it lies further out than any guest lives (over a thousand years).
  init(saved count: Int64) throws(RestoreError) {
    guard count.magnitude <= 1 << 56
    else { throw .refused(part: "i8254", reason: "a moment is out of range") }
    self.count = count
  }

  /// The first moment of guest time that belongs to the tick.
  var instant: VMInstant {
    guard count > 0 else { return VMInstant(nanoseconds: 0) }
    let product = UInt64(count).multipliedFullWidth(by: Self.nanosecondsPerSecond)
    guard product.high < Self.frequency else { return VMInstant(nanoseconds: .max) }
    let (quotient, remainder) = Self.frequency.dividingFullWidth(product)
    return VMInstant(nanoseconds: quotient).advanced(by: remainder == 0 ? 0 : 1)
  }

  static func < (a: Self, b: Self) -> Bool { a.count < b.count }

  /// Ticks lie within 2^57 of zero, and are moved by 32 bits at most: neither can overflow.
  static func + (tick: Self, distance: Int64) -> Self { Self(count: tick.count &+ distance) }
  static func - (tick: Self, distance: Int64) -> Self { Self(count: tick.count &- distance) }
  static func - (a: Self, b: Self) -> Int64 { a.count &- b.count }

}
