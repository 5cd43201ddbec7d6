import Glibc

extension Descriptor {
  /// Tells the other end of a socket that no more will be sent; what it sends still comes.
  package func finishSending() { _ = shutdown(handle, Int32(SHUT_WR)) }
}
