import HostOS
import Synchronization

/// Whom to ask for names.
package protocol ResolverSource: AnyObject, Sendable {
  /// At most three, the first to be asked first. Looked up for every question, so that it must be quick.
  var resolvers: [Endpoint] { get }
}

/// Resolvers that somebody named.
package final class FixedResolvers: ResolverSource {
  package let resolvers: [Endpoint]
  package init(_ resolvers: [Endpoint]) {
    self.resolvers = Array(resolvers.prefix(HostResolvers.most))
  }
}

/// The resolvers of the host, as its `resolv.conf` has them at this moment: a laptop changes its network while the
/// guest runs. One on the host's loopback is asked like any other; the guest cannot reach it, but we can.
///
/// - SeeAlso: resolv.conf(5).
package final class HostResolvers: ResolverSource {
  private let path: String
  private let state = Mutex<(stamp: HostFile.Stamp?, resolvers: [Endpoint])>((nil, []))

  package init(path: String = "/etc/resolv.conf") { self.path = path }

  /// As many as the host's own resolver asks.
  static let most = 3
  private static let largestFile = 1 << 16
  private static let port: UInt16 = 53

  package var resolvers: [Endpoint] {
    let stamp = HostFile.stamp(of: path)
    return state.withLock { state in
      if let stamp, stamp == state.stamp { return state.resolvers }
      let text = try? HostFile.contents(of: path, limit: Self.largestFile)
      state = (stamp, Self.parse(text ?? []))
      return state.resolvers
    }
  }

  /// Without a single `nameserver`, it is the one on this host.
  static func parse(_ bytes: [UInt8]) -> [Endpoint] {
    var found: [Endpoint] = []
    for line in String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline) {
      let words = line.split(whereSeparator: \.isWhitespace)
      guard words.count >= 2, words[0] == "nameserver", found.count < most,
        let address = IPAddress(String(words[1])), !address.isUnspecified
      else { continue }
      found.append(Endpoint(address, port))
    }
    return found.isEmpty ? [Endpoint(.loopbackV4, port)] : found
  }
}
