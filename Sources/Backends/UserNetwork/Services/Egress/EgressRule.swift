/// One entry of the list of what a guest may reach: `*.debian.org`, `debian.org:80,443`, `192.0.2.0/24:8000-8100`,
/// `[2001:db8::/32]:443`, `*`.
package struct EgressRule: Sendable, Hashable {
  package enum Target: Sendable, Hashable {
    case anything
    case name(DomainName)
    /// Every name below this one, but not itself.
    case below(DomainName)
    case network(IPAddress, length: Int)
  }
  package var target: Target
  /// `nil`: all.
  package var ports: [ClosedRange<UInt16>]?

  package init(_ target: Target, ports: [ClosedRange<UInt16>]? = nil) {
    self.target = target
    self.ports = ports
  }

  /// Why a text is no rule.
  package struct Mistake: Error, Sendable, Hashable, CustomStringConvertible {
    package let text: String
    package let reason: String
    package var description: String { "cannot use the egress rule \"\(text)\": \(reason)" }
  }

  package init(_ text: String) throws(Mistake) {
    func mistake(_ reason: String) -> Mistake { Mistake(text: text, reason: reason) }
    let host: Substring
    var ports: Substring?
    if text.hasPrefix("[") {
      guard let end = text.firstIndex(of: "]") else { throw mistake("the bracket is not closed") }
      host = text[text.index(after: text.startIndex)..<end]
      let rest = text[text.index(after: end)...]
      guard rest.isEmpty || rest.hasPrefix(":") else {
        throw mistake("what follows the bracket is not \":\" and ports")
      }
      ports = rest.isEmpty ? nil : rest.dropFirst()
    } else if text.count(where: { $0 == ":" }) > 1 {
      host = text[...]  // version 6, without brackets and so without ports
    } else {
      let parts = text.split(separator: ":", omittingEmptySubsequences: false)
      host = parts[0]
      ports = parts.count == 2 ? parts[1] : nil
    }
    guard let target = Self.target(host) else {
      throw mistake("\"\(host)\" is no name, pattern, address or network")
    }
    self.target = target
    guard let ports else { return }
    var ranges: [ClosedRange<UInt16>] = []
    for part in ports.split(separator: ",", omittingEmptySubsequences: false) {
      guard let range = Self.range(part) else {
        throw mistake("\"\(part)\" is no port or range of ports")
      }
      ranges.append(range)
    }
    self.ports = ranges
  }

  private static func target(_ host: Substring) -> Target? {
    if host == "*" { return .anything }
    if host.hasPrefix("*.") { return DomainName(String(host.dropFirst(2))).flatMap(below) }
    let parts = host.split(separator: "/", omittingEmptySubsequences: false)
    if let address = parts.first.flatMap({ IPAddress(String($0)) }) {
      let bits = address.isV6 ? 128 : 32
      guard parts.count <= 2, let length = parts.count == 2 ? Int(parts[1]) : bits,
        (0...bits).contains(length)
      else { return nil }
      return .network(address, length: length)
    }
    return DomainName(String(host)).flatMap { isPlausible($0) ? .name($0) : nil }
  }

  private static func below(_ name: DomainName) -> Target? {
    isPlausible(name) ? .below(name) : nil
  }

  /// Whether the name has only what names of hosts have (RFC 1123 2.1), and underscores, and is no mistyped address.
  private static func isPlausible(_ name: DomainName) -> Bool {
    let text = name.description
    return text.allSatisfy {
      $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" || $0 == ".")
    } && !(text.split(separator: ".").last?.allSatisfy(\.isNumber) ?? true)
  }

  private static func range(_ text: Substring) -> ClosedRange<UInt16>? {
    let parts = text.split(separator: "-", omittingEmptySubsequences: false)
    let numbers = parts.compactMap { $0.allSatisfy(\.isNumber) ? UInt16($0) : nil }
    guard (1...2).contains(parts.count), numbers.count == parts.count, let first = numbers.first,
      let last = numbers.last, first <= last
    else { return nil }
    return first...last
  }
}

extension EgressRule {
  func matches(_ name: DomainName) -> Bool {
    switch target {
    case .anything: true
    case .name(let own): name == own
    case .below(let top): name.labels.count > top.labels.count && name.isInside(top)
    case .network: false
    }
  }

  func matches(_ address: IPAddress) -> Bool {
    switch target {
    case .anything: true
    case .network(let prefix, let length): address.isInside(prefix, length)
    case .name, .below: false
    }
  }

  /// Echo has no ports.
  func matches(_ port: UInt16, _ transport: Transport) -> Bool {
    guard transport != .echo, let ports else { return true }
    return ports.contains { $0.contains(port) }
  }
}

extension IPAddress {
  /// Whether the first `length` bits are those of `prefix`, which is of the same version.
  func isInside(_ prefix: IPAddress, _ length: Int) -> Bool {
    guard isV6 == prefix.isV6 else { return false }
    func agree(_ a: UInt64, _ b: UInt64, _ count: Int, of width: Int) -> Bool {
      count <= 0 || (a ^ b) &>> UInt64(max(0, width - count)) == 0
    }
    guard isV6 else { return agree(low, prefix.low, length, of: 32) }
    return agree(high, prefix.high, min(length, 64), of: 64)
      && agree(low, prefix.low, length - 64, of: 64)
  }

  /// Whether the address belongs to somebody's own network and to nobody on the Internet: RFC 6890 §2.2.
  var isPrivate: Bool {
    if isUnspecified || isLoopback || isLinkLocal || isMulticast { return true }
    if let embedded = embeddedV4 { return embedded.isPrivate }
    if isV6 { return high &>> 57 == 0x7e }  // fc00::/7
    return [
      (IPAddress(0, 0, 0, 0), 8), (IPAddress(10, 0, 0, 0), 8), (IPAddress(100, 64, 0, 0), 10),
      (IPAddress(172, 16, 0, 0), 12), (IPAddress(192, 168, 0, 0), 16),
      (IPAddress(240, 0, 0, 0), 4),
    ].contains { isInside($0.0, $0.1) }
  }
}
