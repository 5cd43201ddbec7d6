import Arch

/// The first serial port, which is all a guest has to speak with.
enum Console {
  private static var port: UInt16 { 0x3f8 }

  /// 115200 baud, 8 data bits, no parity, one stop bit, FIFOs on.
  static func open() {
    out8(port + 1, 0)
    out8(port + 3, 0x80)
    out8(port + 0, 1)
    out8(port + 1, 0)
    out8(port + 3, 0x03)
    out8(port + 2, 0x07)
    out8(port + 4, 0x03)
  }

  static func write(_ byte: UInt8) {
    while in8(port + 5) & 0x20 == 0 { spin_pause() }
    out8(port, byte)
  }
}

/// Something a line is made of.
enum Text: ExpressibleByStringLiteral {
  case words(StaticString)
  case number(UInt64, base: UInt64)
  /// Characters in memory, up to a zero byte.
  case characters(at: UInt64, limit: UInt64 = 256)

  init(stringLiteral value: StaticString) { self = .words(value) }

  static func hex(_ value: some BinaryInteger) -> Text {
    .number(UInt64(truncatingIfNeeded: value), base: 16)
  }
  static func decimal(_ value: some BinaryInteger) -> Text {
    .number(UInt64(truncatingIfNeeded: value), base: 10)
  }

  func print() {
    switch self {
    case .words(let words):
      words.withUTF8Buffer { for byte in $0 { Console.write(byte) } }
    case .number(let value, let base):
      if base == 16 { Text.words("0x").print() }
      Text.digits(of: value, base: base)
    case .characters(let address, let limit):
      for offset in 0..<limit {
        let byte = load8(address + offset)
        if byte == 0 { return }
        Console.write(byte)
      }
    }
  }

  private static func digits(of value: UInt64, base: UInt64) {
    if value >= base { digits(of: value / base, base: base) }
    let digit = UInt8(truncatingIfNeeded: value % base)
    Console.write(digit < 10 ? 48 + digit : 87 + digit)
  }
}

func line(_ parts: Text...) {
  for part in parts { part.print() }
  Console.write(10)
}
