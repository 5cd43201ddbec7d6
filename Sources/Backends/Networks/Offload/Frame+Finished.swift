/// Finishes in software what one side of a cable left undone and the other cannot do.
extension Frame {
  /// The frames as they may go onto a wire: every sum in place, none with more than `maximum` bytes behind its
  /// Ethernet header. None, if the frame is too long or what it says of itself makes no sense.
  ///
  /// `able`: what the receiver finishes itself.
  package func finished(maximum: Int, able: Offloads = []) -> [Frame] {
    guard hasLegalLength else { return [] }
    if let size = unfinished.segmentSize {
      guard let headers = TCPHeaders(bytes) else { return [] }
      let needed: Offloads = [.checksum, headers.isV6 ? .segmentTCPv6 : .segmentTCPv4]
      if able.isSuperset(of: needed) { return hasLegalChecksum ? [self] : [] }
      return segments(headers, size: size, maximum: maximum)
    }
    guard bytes.count - Self.taggedHeaderLength(bytes) <= maximum else { return [] }
    guard unfinished.checksum != nil else { return [self] }
    guard hasLegalChecksum else { return [] }
    return able.contains(.checksum) ? [self] : [summed()]
  }

  /// Whether the sum that is left to be taken lies inside the frame, behind the Ethernet header.
  private var hasLegalChecksum: Bool {
    guard let (start, offset) = unfinished.checksum else { return true }
    return start >= Self.headerLength && offset >= 0 && start <= bytes.count
      && offset <= bytes.count - start - 2
  }

  /// How long the Ethernet header is, with its tags.
  private static func taggedHeaderLength(_ bytes: [UInt8]) -> Int {
    var length = headerLength
    while length < headerLength + 8, bytes.count >= length + 4,
      [0x8100, 0x88a8].contains(bytes.word(at: length - 2))
    {
      length += 4
    }
    return length
  }

  /// Takes the sum from `start` to the end, over the sum of the pseudo header that stands in the field.
  private func summed() -> Frame {
    guard let (start, offset) = unfinished.checksum else { return self }
    var sum = InternetChecksum()
    sum.add(bytes, start..<bytes.count)
    var result = self
    // Zero would mean "no checksum" to UDP (RFC 768); both zeroes are the same number.
    result.bytes.setWord(sum.field == 0 ? 0xffff : sum.field, at: start + offset)
    result.unfinished.checksum = nil
    result.unfinished.isChecked = true
    return result
  }
}

// MARK: - Cutting TCP segments

extension Frame {
  /// The least data that a segment is cut to: what remains of the smallest segment size that a host may announce
  /// when all options are used. It bounds how many frames one becomes.
  private static let smallestSegment = 8

  private func segments(_ headers: TCPHeaders, size: Int, maximum: Int) -> [Frame] {
    // No IP packet is longer, whatever the wire takes.
    let size = min(size, min(maximum, 65535) - (headers.payload - headers.network))
    guard size >= Self.smallestSegment else { return [] }
    let count = bytes.count - headers.payload
    var result: [Frame] = []
    result.reserveCapacity(count / size + 1)
    var done = 0
    repeat {
      let part = min(size, count - done)
      result.append(
        segment(headers, done..<done + part, number: result.count, isLast: done + part == count))
      done += part
    } while done < count
    return result
  }

  /// One segment: the headers, with lengths, numbers, flags and sums of their own, and a part of the data.
  private func segment(
    _ headers: TCPHeaders, _ part: Range<Int>, number: Int, isLast: Bool
  ) -> Frame {
    var new: [UInt8] = []
    new.reserveCapacity(headers.payload + part.count)
    new += bytes[..<headers.payload]
    new += bytes[headers.payload + part.lowerBound..<headers.payload + part.upperBound]

    let length = new.count - headers.network
    if headers.isV6 {
      new.setWord(UInt16(truncatingIfNeeded: length - 40), at: headers.network + 4)
    } else {
      let identification = bytes.word(at: headers.network + 4)
      new.setWord(UInt16(truncatingIfNeeded: length), at: headers.network + 2)
      new.setWord(
        identification &+ UInt16(truncatingIfNeeded: number), at: headers.network + 4)
      new.setWord(0, at: headers.network + 10)
      var sum = InternetChecksum()
      sum.add(new, headers.network..<headers.network + Int(new[headers.network] & 0xf) * 4)
      new.setWord(sum.field, at: headers.network + 10)
    }

    let sequence =
      UInt32(bytes.word(at: headers.transport + 4)) &<< 16
      | UInt32(bytes.word(at: headers.transport + 6))
    let own = sequence &+ UInt32(truncatingIfNeeded: part.lowerBound)
    new.setWord(UInt16(truncatingIfNeeded: own &>> 16), at: headers.transport + 4)
    new.setWord(UInt16(truncatingIfNeeded: own), at: headers.transport + 6)
    let end: UInt8 = 0x01 | 0x08  // FIN, PSH: said once, with the last byte
    let reduced: UInt8 = 0x80  // CWR: said once, with the first (RFC 3168 6.1.2)
    if !isLast { new[headers.transport + 13] &= ~end }
    if number > 0 { new[headers.transport + 13] &= ~reduced }

    new.setWord(0, at: headers.transport + 16)
    var sum = InternetChecksum()
    let addresses = headers.isV6 ? 8..<40 : 12..<20
    sum.add(
      new, headers.network + addresses.lowerBound..<headers.network + addresses.upperBound)
    sum.add(UInt16(6))
    sum.add(UInt32(truncatingIfNeeded: new.count - headers.transport))
    sum.add(new, headers.transport..<new.count)
    new.setWord(sum.field, at: headers.transport + 16)

    var unfinished = Unfinished()
    unfinished.isChecked = true
    return Frame(new, unfinished: unfinished)
  }
}
