/// The bytes of one instruction as they were fetched: fewer than it has if the rest could not be.
package struct InstructionBytes: Sendable {
  /// SDM Vol. 2A §2.3.11.
  static let longest = 15

  private var bytes = InlineArray<15, UInt8>(repeating: 0)
  var count = 0

  /// `count` is below `longest`.
  mutating func append(_ byte: UInt8) {
    bytes[count] = byte
    count += 1
  }

  func withBytes<R, E>(_ body: (UnsafeRawBufferPointer) throws(E) -> R) throws(E) -> R {
    try bytes.span.withUnsafeBytes { (all) throws(E) in
      try body(UnsafeRawBufferPointer(rebasing: all[..<count]))
    }
  }
}

extension InstructionBytes: Hashable {
  package static func == (a: Self, b: Self) -> Bool {
    a.count == b.count && (0..<a.count).allSatisfy { a.bytes[$0] == b.bytes[$0] }
  }

  package func hash(into hasher: inout Hasher) { for byte in all { hasher.combine(byte) } }
}

extension InstructionBytes: CustomStringConvertible {
  /// In order of address.
  package var all: [UInt8] { (0..<count).map { bytes[$0] } }

  /// Two hexadecimal digits a byte, as in `0f 01 f8`.
  package var description: String {
    all.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
  }
}
