/// An Ethernet address, as six bytes in the low bits; the first byte on the wire is the highest.
package struct MACAddress: Sendable, Hashable {
  package let rawValue: UInt64

  package init(rawValue: UInt64) { self.rawValue = rawValue & 0xffff_ffff_ffff }

  /// All stations on the wire.
  package static let broadcast = MACAddress(rawValue: 0xffff_ffff_ffff)

  /// Whether it names a group of stations: the first byte's lowest bit.
  package var isGroup: Bool { rawValue &>> 40 & 1 != 0 }

  /// The six bytes, as on the wire.
  package var bytes: [UInt8] {
    stride(from: UInt64(40), through: 0, by: -8).map { UInt8(truncatingIfNeeded: rawValue &>> $0) }
  }
}

extension MACAddress: CustomStringConvertible {
  package var description: String {
    bytes.map { byte in
      let digits = String(byte, radix: 16)
      return digits.count == 1 ? "0" + digits : digits
    }.joined(separator: ":")
  }
}
