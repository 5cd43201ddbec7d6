/// An Internet address and port as the host's sockets take them.
package struct SocketAddress: Sendable, Hashable {
  package var isV6: Bool
  /// The first eight bytes of a version 6 address.
  package var high: UInt64
  /// Its last eight bytes, or the four of a version 4 address.
  package var low: UInt64
  package var port: UInt16

  package init(isV6: Bool, high: UInt64, low: UInt64, port: UInt16) {
    self.isV6 = isV6
    self.high = high
    self.low = low
    self.port = port
  }
}

/// Why a socket failed, as far as its user acts on the difference.
package enum SocketFailure: Sendable, Hashable {
  case refused
  /// The other end broke the connection off.
  case reset
  case unreachable
  case timedOut
  case notPermitted
  /// A datagram is longer than the path takes.
  case tooLong
  case other(Int32)
}

/// What came of moving bytes through a socket that does not block.
package enum Transfer: Sendable, Hashable {
  /// So many bytes went. None received from a stream: its end.
  case moved(Int)
  /// Nothing can go now; readiness will be told.
  case blocked
  case failed(SocketFailure)
}

/// Bytes of a stream, and where in their array they are.
package struct StreamPiece: Sendable {
  /// As many go to a socket in one call.
  package static let limit = 64

  package var bytes: [UInt8]
  package var range: Range<Int>

  package init(bytes: [UInt8], range: Range<Int>) {
    self.bytes = bytes
    self.range = range
  }
}
