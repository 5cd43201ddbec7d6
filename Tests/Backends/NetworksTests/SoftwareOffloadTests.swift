import Kit
import Networks
import Testing

@Suite struct `Software offload` {
  // RFC 1071 3, "Numerical Examples"
  @Test func `the sum of the standard's example is the standard's`() {
    var sum = InternetChecksum()
    sum.add([0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7], 0..<8)
    #expect(sum.field == ~0xddf2)
  }

  // RFC 1071 2 (A): order and grouping do not matter.
  @Test func `the sum is that of the slow way, for every length and alignment`() {
    var chance = Chance(seed: 1)
    for count in 0..<200 {
      let bytes = (0..<count + 3).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
      let start = count % 4
      let range = start..<min(bytes.count, start + count)
      var slow: UInt32 = 0
      for index in range {
        slow += (index - start) % 2 == 0 ? UInt32(bytes[index]) << 8 : UInt32(bytes[index])
      }
      while slow > 0xffff { slow = slow >> 16 + slow & 0xffff }
      var sum = InternetChecksum()
      sum.add(bytes, range)
      #expect(sum.field == ~UInt16(slow) || slow == 0)
    }
  }

  // VIRTIO 1.3 §5.1.6.2 "Packet Transmission"
  @Test(arguments: [false, true]) func `a sum left undone is finished`(isV6: Bool) {
    let frame = Sample.tcp(.init(isV6: isV6, payload: Sample.payload(777)))
    let finished = frame.finished(maximum: 1500)
    #expect(finished.count == 1)
    #expect(ReceivedTCP(finished[0].bytes).sumsAreRight)
    #expect(finished[0].unfinished.checksum == nil)
    #expect(finished[0].unfinished.isChecked)
  }

  @Test func `a frame without anything left undone stays as it is`() {
    let frame = Sample.numbered(3, count: 1514)
    let finished = frame.finished(maximum: 1500)
    #expect(finished.count == 1 && finished[0].bytes == frame.bytes)
  }

  @Test func `what the receiver is able to finish is left to it`() {
    let frame = Sample.tcp(.init(payload: Sample.payload(5000), segmentSize: 1000))
    let same = frame.finished(maximum: 1500, able: [.checksum, .segmentTCPv4])
    #expect(same.count == 1 && same[0].unfinished == frame.unfinished)
    #expect(frame.finished(maximum: 1500, able: [.checksum, .segmentTCPv6]).count == 5)
    #expect(frame.finished(maximum: 1500, able: .segmentTCPv4).count == 5)
  }

  @Test func `a frame longer than the wire takes is dropped, its tags not counted`() {
    #expect(Sample.numbered(0, count: 1515).finished(maximum: 1500).isEmpty)
    let tagged = Sample.tcp(.init(tags: 1, payload: Sample.payload(1460)))
    #expect(tagged.finished(maximum: 1500).count == 1)
    #expect(tagged.finished(maximum: 1499).isEmpty)
  }

  // RFC 9293 3.7, RFC 3168 6.1.2
  @Test(arguments: [false, true], [0, 1, 2])
  func `a long segment is cut into right ones`(isV6: Bool, tags: Int) {
    let payload = Sample.payload(60001)
    let frame = Sample.tcp(
      .init(
        isV6: isV6, tags: tags, optionBytes: 12, flags: 0x80 | 0x10 | 0x08 | 0x01, payload: payload,
        segmentSize: 1400))
    let finished = frame.finished(maximum: 1500)
    #expect(finished.count == (60001 + 1399) / 1400)
    var next: UInt32 = 0xffff_ff00
    var together: [UInt8] = []
    for (index, part) in finished.enumerated() {
      let segment = ReceivedTCP(part.bytes)
      let isLast = index == finished.count - 1
      #expect(segment.sumsAreRight && segment.lengthsAreRight)
      #expect(segment.sequence == next)
      #expect(segment.flags == 0x10 | (index == 0 ? 0x80 : 0) | (isLast ? 0x09 : 0))
      if !isV6 { #expect(segment.identification == 0xfffe &+ UInt16(index)) }
      #expect(part.bytes.count <= 14 + tags * 4 + 1500)
      #expect(part.unfinished.segmentSize == nil && part.unfinished.checksum == nil)
      next &+= UInt32(segment.payload.count)
      together += segment.payload
    }
    #expect(together == payload)
  }

  @Test func `a segment size that the wire cannot take is reduced`() {
    let frame = Sample.tcp(.init(payload: Sample.payload(9000), segmentSize: 8960))
    let finished = frame.finished(maximum: 1500)
    #expect(finished.count == 7)
    #expect(finished.allSatisfy { $0.bytes.count <= 1514 })
  }

  @Test func `a segment without data that is to be cut goes as one`() {
    let finished = Sample.tcp(.init(segmentSize: 1460)).finished(maximum: 1500)
    #expect(finished.count == 1 && ReceivedTCP(finished[0].bytes).sumsAreRight)
  }

  @Test func `nonsense is refused`() {
    func spoilt(_ change: (inout Frame) -> Void) -> Bool {
      var frame = Sample.tcp(.init(payload: Sample.payload(3000), segmentSize: 1000))
      change(&frame)
      return frame.finished(maximum: 1500).isEmpty
    }
    #expect(!spoilt { _ in })
    #expect(spoilt { $0.unfinished.segmentSize = 0 })
    #expect(spoilt { $0.unfinished.segmentSize = 7 })
    #expect(spoilt { $0.unfinished.segmentSize = .min })
    #expect(spoilt { $0.bytes[13] = 6 })  // ARP
    #expect(spoilt { $0.bytes[14] = 0x44 })  // header length
    #expect(spoilt { $0.bytes[14] = 0x65 })  // version
    #expect(spoilt { $0.bytes[20] = 0x20 })  // more fragments
    #expect(spoilt { $0.bytes[21] = 1 })  // fragment offset
    #expect(spoilt { $0.bytes[23] = 17 })  // UDP
    #expect(spoilt { $0.bytes[46] = 0x40 })  // data offset
    #expect(spoilt { $0.bytes.removeLast($0.bytes.count - 50) })
    #expect(spoilt { $0.bytes = [] })
    #expect(spoilt { $0.bytes += [UInt8](repeating: 0, count: 70000) })
    #expect(
      spoilt {
        $0.unfinished.segmentSize = nil
        $0.bytes.removeLast(2000)
        $0.unfinished.checksum = ($0.bytes.count, 0)
      })
    #expect(
      spoilt {
        $0.unfinished.segmentSize = nil
        $0.bytes.removeLast(2000)
        $0.unfinished.checksum = (.max, .max)
      })
  }

  @Test func `no frame makes it trap, or make more than it may`() {
    var chance = Chance(seed: 7)
    for _ in 0..<5000 {
      var frame = Sample.tcp(
        .init(
          isV6: chance.number(below: 2) == 0, tags: Int(chance.number(below: 3)),
          payload: Sample.payload(Int(chance.number(below: 4000))),
          segmentSize: Int(chance.number(below: 2000))))
      for _ in 0..<chance.number(below: 6) {
        let index = Int(chance.number(below: UInt64(min(frame.bytes.count, 90))))
        frame.bytes[index] = UInt8(truncatingIfNeeded: chance.value())
      }
      if chance.number(below: 4) == 0 {
        frame.bytes.removeLast(Int(chance.number(below: UInt64(frame.bytes.count + 1))))
      }
      if chance.number(below: 3) == 0 {
        frame.unfinished.checksum = (
          Int(truncatingIfNeeded: chance.value()), Int(truncatingIfNeeded: chance.value())
        )
      }
      if chance.number(below: 3) == 0 {
        frame.unfinished.segmentSize = Int(truncatingIfNeeded: chance.value())
      }
      let able: Offloads = chance.number(below: 2) == 0 ? [] : .all
      for part in frame.finished(maximum: 1500, able: able) {
        #expect(part.hasLegalLength)
        if able.isEmpty { #expect(part.bytes.count <= 14 + 8 + 1500) }
      }
    }
  }
}
