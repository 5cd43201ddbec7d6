/// Network byte order. Whoever calls has compared the places with the array's length.
extension Array where Element == UInt8 {
  @inline(__always)
  func word16(_ at: Int) -> UInt16 { UInt16(self[at]) &<< 8 | UInt16(self[at &+ 1]) }

  @inline(__always)
  func word32(_ at: Int) -> UInt32 {
    UInt32(word16(at)) &<< 16 | UInt32(word16(at &+ 2))
  }

  @inline(__always)
  func word64(_ at: Int) -> UInt64 {
    UInt64(word32(at)) &<< 32 | UInt64(word32(at &+ 4))
  }

  @inline(__always)
  mutating func put(_ value: UInt16, _ at: Int) {
    self[at] = UInt8(truncatingIfNeeded: value &>> 8)
    self[at &+ 1] = UInt8(truncatingIfNeeded: value)
  }

  @inline(__always)
  mutating func put(_ value: UInt32, _ at: Int) {
    put(UInt16(truncatingIfNeeded: value &>> 16), at)
    put(UInt16(truncatingIfNeeded: value), at &+ 2)
  }

  @inline(__always)
  mutating func put(_ value: UInt64, _ at: Int) {
    put(UInt32(truncatingIfNeeded: value &>> 32), at)
    put(UInt32(truncatingIfNeeded: value), at &+ 4)
  }

  /// An Ethernet address.
  mutating func put(_ address: MACAddress, _ at: Int) {
    put(UInt16(truncatingIfNeeded: address.rawValue &>> 32), at)
    put(UInt32(truncatingIfNeeded: address.rawValue), at &+ 2)
  }

  /// An address of four or sixteen bytes.
  mutating func put(_ address: IPAddress, _ at: Int) {
    if address.isV6 {
      put(address.high, at)
      put(address.low, at &+ 8)
    } else {
      put(address.v4, at)
    }
  }

  func hardwareAddress(_ at: Int) -> MACAddress {
    MACAddress(rawValue: UInt64(word16(at)) &<< 32 | UInt64(word32(at &+ 2)))
  }

  func addressV4(_ at: Int) -> IPAddress { IPAddress(v4: word32(at)) }
  func addressV6(_ at: Int) -> IPAddress { IPAddress(v6: word64(at), word64(at &+ 8)) }
}

extension MutableSpan where Element == UInt8 {
  @inline(__always)
  mutating func put(_ value: UInt16, _ at: Int) {
    self[at] = UInt8(truncatingIfNeeded: value &>> 8)
    self[at &+ 1] = UInt8(truncatingIfNeeded: value)
  }

  @inline(__always)
  mutating func put(_ value: UInt32, _ at: Int) {
    put(UInt16(truncatingIfNeeded: value &>> 16), at)
    put(UInt16(truncatingIfNeeded: value), at &+ 2)
  }
}
