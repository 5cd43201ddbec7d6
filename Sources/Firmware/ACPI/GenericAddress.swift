/// The place and shape of a platform register.
///
/// - SeeAlso: ACPI 6.4 §5.2.3.2 "Generic Address Structure".
struct GenericAddress: Sendable {
  enum Space: UInt8 { case memory = 0, io = 1 }
  enum AccessSize: UInt8 { case undefined, byte, word, dword, qword }

  var space: Space
  var bitWidth: UInt8
  var accessSize: AccessSize
  var address: UInt64

  /// The address that says "there is no such register".
  static let absent = GenericAddress(
    space: .memory, bitWidth: 0, accessSize: .undefined, address: 0)

  /// A block of up to 31 I/O ports, reached in units of `accessSize`.
  static func ports(_ port: UInt16, length: UInt8, _ accessSize: AccessSize) -> Self {
    GenericAddress(
      space: .io, bitWidth: length * 8, accessSize: accessSize, address: UInt64(port))
  }

  var fields: [Field] {
    [
      .byte(space.rawValue),
      .byte(bitWidth),
      .byte(0),  // Register Bit Offset
      .byte(accessSize.rawValue),
      .qword(address),
    ]
  }
}
