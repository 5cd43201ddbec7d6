/// An address of the Internet Protocol, of either version.
///
/// A version 4 address is the low 32 bits. A version 6 address that holds one of version 4 inside stays of
/// version 6: whoever decides what may be reached looks at `embeddedV4`.
package struct IPAddress: Sendable, Hashable {
  package let isV6: Bool
  /// The first eight bytes of a version 6 address.
  package let high: UInt64
  /// The last eight bytes of a version 6 address, or the four of version 4.
  package let low: UInt64

  package init(v4: UInt32) {
    isV6 = false
    high = 0
    low = UInt64(v4)
  }

  package init(v6 high: UInt64, _ low: UInt64) {
    isV6 = true
    self.high = high
    self.low = low
  }

  /// As written with dots: `IPAddress(10, 0, 2, 2)`.
  package init(_ a: UInt8, _ b: UInt8, _ c: UInt8, _ d: UInt8) {
    self.init(v4: UInt32(a) &<< 24 | UInt32(b) &<< 16 | UInt32(c) &<< 8 | UInt32(d))
  }

  /// The four or sixteen bytes as on the wire; `nil` if there is another number of them.
  package init?(bytes: some Collection<UInt8>) {
    switch bytes.count {
    case 4: self.init(v4: bytes.reduce(0) { $0 &<< 8 | UInt32($1) })
    case 16:
      self.init(
        v6: bytes.prefix(8).reduce(0) { $0 &<< 8 | UInt64($1) },
        bytes.dropFirst(8).reduce(0) { $0 &<< 8 | UInt64($1) })
    default: return nil
    }
  }

  /// The version 4 address as its 32 bits; meaningless for version 6.
  package var v4: UInt32 { UInt32(truncatingIfNeeded: low) }

  /// The four or sixteen bytes, as on the wire.
  package var bytes: [UInt8] {
    func split(_ value: UInt64, _ count: Int) -> [UInt8] {
      (0..<count).map { UInt8(truncatingIfNeeded: value &>> UInt64((count - 1 - $0) * 8)) }
    }
    return isV6 ? split(high, 8) + split(low, 8) : split(low, 4)
  }
}

// MARK: - Kinds of addresses

extension IPAddress {
  package static let anyV4 = IPAddress(v4: 0)
  package static let anyV6 = IPAddress(v6: 0, 0)
  package static let broadcast = IPAddress(v4: 0xffff_ffff)
  package static let loopbackV4 = IPAddress(127, 0, 0, 1)
  package static let loopbackV6 = IPAddress(v6: 0, 1)

  /// RFC 1122 3.2.1.3, RFC 4291 2.5.2: "this host", as a source only.
  package var isUnspecified: Bool { isV6 ? high == 0 && low == 0 : v4 == 0 }

  /// RFC 1112 4, RFC 4291 2.7.
  package var isMulticast: Bool { isV6 ? high &>> 56 == 0xff : v4 &>> 28 == 0xe }

  /// RFC 1122 3.2.1.3 (g), RFC 4291 2.5.3.
  package var isLoopback: Bool { isV6 ? high == 0 && low == 1 : v4 &>> 24 == 127 }

  /// RFC 3927 2.1, RFC 4291 2.5.6: valid on one link only.
  package var isLinkLocal: Bool { isV6 ? high &>> 54 == 0x3fa : v4 &>> 16 == 0xa9fe }

  /// The version 4 address inside a mapped (`::ffff:a.b.c.d`), compatible (`::a.b.c.d`), translated
  /// (`64:ff9b::a.b.c.d`) or 6to4 (`2002:abcd::`) address: RFC 4291 2.5.5, RFC 6052 2.1, RFC 3056 2.
  package var embeddedV4: IPAddress? {
    guard isV6 else { return nil }
    if high &>> 48 == 0x2002 {
      return IPAddress(v4: UInt32(truncatingIfNeeded: high &>> 16))
    }
    let isMapped = high == 0 && (low &>> 32 == 0xffff || (low &>> 32 == 0 && low > 1))
    let isTranslated = high == 0x0064_ff9b_0000_0000 && low &>> 32 == 0
    return isMapped || isTranslated ? IPAddress(v4: UInt32(truncatingIfNeeded: low)) : nil
  }
}

// MARK: - As text

extension IPAddress: CustomStringConvertible {
  /// Dotted, or in the form of RFC 5952: lower case, the longest run of zero groups left out.
  package var description: String {
    guard isV6 else { return bytes.map(String.init).joined(separator: ".") }
    let groups = (0..<8).map { index -> UInt64 in
      (index < 4 ? high : low) &>> UInt64((3 - index % 4) * 16) & 0xffff
    }
    var best = 0..<0
    var start = 0
    for index in 0...8 where index == 8 || groups[index] != 0 {
      if index - start > max(best.count, 1) { best = start..<index }
      start = index + 1
    }
    let text = { (range: Range<Int>) in
      groups[range].map { String($0, radix: 16) }.joined(separator: ":")
    }
    return best.isEmpty ? text(0..<8) : text(0..<best.lowerBound) + "::" + text(best.upperBound..<8)
  }

  /// Reads either form; `nil` for anything else.
  package init?(_ text: String) {
    if text.contains(":") {
      self.init(v6Text: text)
    } else {
      let parts = text.split(separator: ".", omittingEmptySubsequences: false)
      let bytes = parts.compactMap { $0.count <= 3 && $0.allSatisfy(\.isNumber) ? UInt8($0) : nil }
      guard parts.count == 4, bytes.count == 4 else { return nil }
      self.init(bytes: bytes)
    }
  }

  private init?(v6Text text: String) {
    var words: [UInt16] = []
    var gap: Int?
    var rest = Substring(text)
    if rest.hasPrefix("::") {
      gap = 0
      rest = rest.dropFirst(2)
    }
    while !rest.isEmpty {
      guard words.count < 8 else { return nil }
      let group = rest.prefix { $0 != ":" }
      if group.contains(".") {
        guard group.count == rest.count, let inner = IPAddress(String(group)) else { return nil }
        words += [UInt16(inner.v4 &>> 16), UInt16(truncatingIfNeeded: inner.v4)]
        break
      }
      guard (1...4).contains(group.count), group.allSatisfy(\.isHexDigit),
        let word = UInt16(group, radix: 16)
      else { return nil }
      words.append(word)
      rest = rest.dropFirst(group.count)
      guard !rest.isEmpty else { break }
      rest = rest.dropFirst()
      if rest.first == ":" {
        guard gap == nil else { return nil }
        gap = words.count
        rest = rest.dropFirst()
      } else if rest.isEmpty {
        return nil
      }
    }
    if let gap {
      guard words.count < 8 else { return nil }
      words.insert(contentsOf: repeatElement(0, count: 8 - words.count), at: gap)
    }
    guard words.count == 8 else { return nil }
    self.init(
      v6: words[..<4].reduce(0) { $0 &<< 16 | UInt64($1) },
      words[4...].reduce(0) { $0 &<< 16 | UInt64($1) })
  }
}
