/// An input read as a script: numbers and pieces, one behind the other. Behind the end there are zeroes.
struct Script {
  private let input: [UInt8]
  private var position = 0

  init(_ input: [UInt8]) { self.input = input }

  var isAtEnd: Bool { position >= input.count }

  mutating func byte() -> UInt8 {
    guard position < input.count else { return 0 }
    defer { position += 1 }
    return input[position]
  }

  /// First byte lowest.
  mutating func number<T: FixedWidthInteger>(_: T.Type = T.self) -> T {
    var value: T = 0
    for index in 0..<T.bitWidth / 8 {
      value |= T(truncatingIfNeeded: byte()) << T(truncatingIfNeeded: 8 * index)
    }
    return value
  }

  mutating func pick(_ limit: Int) -> Int { Int(byte()) % max(1, limit) }
  mutating func flag() -> Bool { byte() & 1 != 0 }

  /// Fewer at the end.
  mutating func bytes(_ count: Int) -> [UInt8] {
    let end = min(input.count, position + max(0, count))
    defer { position = end }
    return Array(input[min(position, end)..<end])
  }

  /// A piece that says how long it is.
  mutating func piece() -> [UInt8] { bytes(Int(byte())) }
  mutating func rest() -> [UInt8] { bytes(input.count) }

  /// A number as registers and lengths like them; one byte says which, so that a change of it has an effect.
  mutating func value() -> UInt64 {
    switch byte() & 7 {
    case 0: UInt64(byte())
    case 1: UInt64(number(UInt16.self))
    case 2: UInt64(number(UInt32.self))
    case 3: number()
    case 4: 1 << UInt64(byte() & 63)
    case 5: UInt64.max - UInt64(byte())
    case 6: UInt64(byte()) << 12
    default: 0
    }
  }
}
