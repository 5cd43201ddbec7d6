/// A place in a TCP stream, modulo 2³² (RFC 9293 3.4).
struct SequenceNumber: Equatable {
  var raw: UInt32

  init(_ raw: UInt32) { self.raw = raw }

  static func + (a: Self, count: Int) -> Self {
    Self(a.raw &+ UInt32(truncatingIfNeeded: count))
  }

  /// How far `a` is behind `b`; negative if it is before.
  static func - (a: Self, b: Self) -> Int { Int(Int32(bitPattern: a.raw &- b.raw)) }

  static func < (a: Self, b: Self) -> Bool { a - b < 0 }
  static func <= (a: Self, b: Self) -> Bool { a - b <= 0 }
  static func > (a: Self, b: Self) -> Bool { a - b > 0 }
  static func >= (a: Self, b: Self) -> Bool { a - b >= 0 }

  static func max(_ a: Self, _ b: Self) -> Self { a > b ? a : b }
}
