import SavedState
import Work

/// A moment, counted in pulses of the 8254's clock since power-on.
struct PITTick: Sendable, Hashable, Comparable {
  /// A twelfth of the PC's 14.31818 MHz crystal.
  static let oscillator = Oscillator(frequency: 1_193_182)

  let count: Int64

  private init(count: Int64) { self.count = count }

  /// The last tick that is not after a moment of guest time.
  init(at instant: VMInstant) {
    // It fits: even the last moment there is comes before tick 2^55.
    count = Int64(truncatingIfNeeded: Self.oscillator.ticks(at: instant))
  }

  /// A tick from a saved state; refused if it lies further out than any guest lives: two thousand
  /// years.
  init(saved count: Int64) throws(RestoreError) {
    guard count.magnitude <= 1 << 56
    else { throw .refused(part: "i8254", reason: "a moment is out of range") }
    self.count = count
  }

  /// The first moment of guest time that belongs to the tick, or the last there is.
  var instant: VMInstant {
    Self.oscillator.moment(of: UInt64(max(0, count))) ?? VMInstant(nanoseconds: .max)
  }

  static func < (a: Self, b: Self) -> Bool { a.count < b.count }

  /// Ticks lie within 2^57 of zero, and are moved by 32 bits at most: neither can overflow.
  static func + (tick: Self, distance: Int64) -> Self { Self(count: tick.count &+ distance) }
  static func - (tick: Self, distance: Int64) -> Self { Self(count: tick.count &- distance) }
  static func - (a: Self, b: Self) -> Int64 { a.count &- b.count }
}
