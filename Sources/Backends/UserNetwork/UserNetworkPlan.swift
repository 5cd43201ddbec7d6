/// An Ethernet address, as six bytes in the low bits.
package struct MACAddress: Sendable, Hashable {
  package let rawValue: UInt64
  package init(rawValue: UInt64) { self.rawValue = rawValue & 0xffff_ffff_ffff }
}
