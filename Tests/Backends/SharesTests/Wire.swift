/// Bytes of a message, for tests: numbers low byte first.
struct Bytes {
  var all: [UInt8] = []

  static func + (left: Bytes, right: Bytes) -> Bytes { Bytes(all: left.all + right.all) }
}

func n8(_ value: UInt64) -> Bytes {
  Bytes(all: (0..<8).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) })
}
func n4(_ value: UInt32) -> Bytes { Bytes(all: Array(n8(UInt64(value)).all.prefix(4))) }
func n2(_ value: UInt16) -> Bytes { Bytes(all: Array(n8(UInt64(value)).all.prefix(2))) }
func n1(_ value: UInt8) -> Bytes { Bytes(all: [value]) }
func raw(_ bytes: [UInt8]) -> Bytes { Bytes(all: bytes) }
/// 9P's string.
func s(_ text: String) -> Bytes { n2(UInt16(text.utf8.count)) + raw(Array(text.utf8)) }
/// FUSE's string.
func z(_ text: String) -> Bytes { raw(Array(text.utf8) + [0]) }

extension Array where Element == UInt8 {
  func number(_ offset: Int, _ size: Int) -> UInt64 {
    (0..<size).reduce(0) { $0 | UInt64(self[startIndex + offset + $1]) << UInt64($1 * 8) }
  }
}
