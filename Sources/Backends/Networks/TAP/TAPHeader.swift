import HostOS

extension TAPDevice.Header {
  /// What the host must know of a frame to finish it; `nil`: of what it says of itself nothing can be made.
  init?(_ frame: Frame) {
    self.init()
    guard frame.hasLegalLength else { return nil }
    if frame.unfinished.isChecked { flags |= Self.isChecked }
    if let (start, offset) = frame.unfinished.checksum {
      guard start >= Frame.headerLength, start <= frame.count, offset >= 0,
        offset <= frame.count - start - 2, let start = UInt16(exactly: start),
        let offset = UInt16(exactly: offset)
      else { return nil }
      flags = Self.needsChecksum
      checksumStart = start
      checksumOffset = offset
    }
    guard let size = frame.unfinished.segmentSize else { return }
    guard let headers = TCPHeaders(frame.bytes), flags & Self.needsChecksum != 0,
      size > 0, let size = UInt16(exactly: size)
    else { return nil }
    segmentation = headers.isV6 ? Self.tcpV6 : Self.tcpV4
    // Congestion window reduced (RFC 3168 6.1.2): only the first segment may say so.
    if frame[headers.transport + 13] & 0x80 != 0 { segmentation |= Self.congestion }
    headerLength = UInt16(truncatingIfNeeded: headers.payload)
    segmentSize = size
  }
}

extension Frame.Unfinished {
  /// What the host left undone.
  init(_ header: TAPDevice.Header) {
    self.init()
    isChecked = header.flags & (TAPDevice.Header.isChecked | TAPDevice.Header.needsChecksum) != 0
    if header.flags & TAPDevice.Header.needsChecksum != 0 {
      checksum = (Int(header.checksumStart), Int(header.checksumOffset))
    }
    if header.segmentation != 0 { segmentSize = Int(header.segmentSize) }
  }
}
