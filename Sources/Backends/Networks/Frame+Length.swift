extension Frame {
  /// Destination, source and type: IEEE 802.3-2022 §3.2 "Elements of the MAC frame".
  package static let headerLength = 14

  /// Whether the frame has a header and is not longer than any may be.
  package var hasLegalLength: Bool {
    count >= Self.headerLength && count <= Self.maximumLength
  }
}

extension Offloads {
  /// All there are.
  package static let all: Offloads = [.checksum, .segmentTCPv4, .segmentTCPv6]
}
