/// A socket of the Internet protocols that never blocks. Closed when its last user lets go.
package final class InternetSocket: Sendable {
  package enum Kind: Sendable {
    /// TCP.
    case stream
    /// UDP.
    case datagram
    /// ICMP echo requests and their replies, where the host lets ordinary users have them.
    case echo
  }

  let descriptor: Descriptor
  package var handle: Int32 { descriptor.handle }

  init(_ descriptor: Descriptor) { self.descriptor = descriptor }
}
