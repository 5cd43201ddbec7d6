import Bits
import Memory
import Networks
import Synchronization
import Work

// VIRTIO 1.3 §5.1.6 "Device Operation": each frame has a header that says what of it is left to be finished.

extension VirtioNetwork {
  /// A legacy driver without mergeable buffers has no place for their number: §5.1.6.1.
  private static func headerLength(_ features: VirtioFeatures) -> Int {
    features.isDisjoint(with: [.version1, .mergeableBuffers]) ? 10 : 12
  }

  /// Frames that go from or to a port at once.
  static let batch = 16
  private static let ethernetHeader = 14

  private enum HeaderFlags {
    static let needsChecksum: UInt8 = 1
    static let dataValid: UInt8 = 2
  }

  private enum Segmentation {
    static let none: UInt8 = 0
    static let tcpv4: UInt8 = 1
    static let tcpv6: UInt8 = 4
    static let congestion: UInt8 = 0x80
  }

  // MARK: From the driver

  /// Sends what is queued. What the port does not take stays in the queue until it has room.
  func send(_ queue: VirtQueue) {
    let (features, linkIsUp) = state.withLock { ($0.features, $0.linkIsUp) }
    let port = ports[queue.index / 2]
    while true {
      var frames: [Frame] = []
      var tags: [RequestTag] = []
      while frames.count < Self.batch, let chain = queue.pop() {
        guard let frame = Self.frame(chain.readable, queue.dma, features), linkIsUp else {
          state.withLock { $0.dropped &+= 1 }
          queue.complete(chain, written: 0)
          continue
        }
        frames.append(frame)
        tags.append(queue.hold(chain))
      }
      guard !frames.isEmpty else { return }
      let sent = min(port.send(frames), frames.count)
      for tag in tags[..<sent] { queue.complete(tag, written: 0) }
      if sent < frames.count {
        for tag in tags[sent...].reversed() { queue.putBack(tag) }
        return  // `.maySend` follows
      }
    }
  }

  /// A frame as the driver laid it; `nil`: it is none.
  private static func frame(
    _ ranges: [GPARange], _ dma: DMA, _ features: VirtioFeatures
  ) -> Frame? {
    let count = ranges.byteCount
    let headerLength = headerLength(features)
    guard count >= UInt64(headerLength + ethernetHeader),
      count <= UInt64(headerLength + Frame.maximumLength),
      let all = try? dma.bytes(of: ranges, count: Int(count))
    else { return nil }
    let length = all.count - headerLength
    var frame = Frame(Array(all[headerLength...]))
    guard all[0] & HeaderFlags.needsChecksum != 0 else {
      return all[1] == Segmentation.none ? frame : nil
    }
    guard features.contains(.checksum), let start = all.integer(UInt16.self, littleEndianAt: 6),
      let offset = all.integer(UInt16.self, littleEndianAt: 8),
      Int(start) + Int(offset) + 2 <= length
    else { return nil }
    frame.unfinished.checksum = (Int(start), Int(offset))
    let type = all[1] & ~Segmentation.congestion
    guard type != Segmentation.none else { return frame }
    let isAgreed =
      type == Segmentation.tcpv4
      ? features.contains(.hostTSO4)
      : type == Segmentation.tcpv6 && features.contains(.hostTSO6)
    guard isAgreed, let size = all.integer(UInt16.self, littleEndianAt: 4), size > 0 else {
      return nil
    }
    frame.unfinished.segmentSize = Int(size)
    return frame
  }

  // MARK: To the driver

  /// Fills buffers with what has come in on the ports that this queue serves.
  func receive(_ queue: VirtQueue) {
    let state = self.state.withLock { $0 }
    let pair = queue.index / 2
    guard pair < state.pairs, state.linkIsUp else { return }
    for port in stride(from: pair, to: ports.count, by: state.pairs) {
      var frames = self.state.withLock { $0.arrived[port].take() }
      while true {
        if frames.isEmpty { frames = ports[port].receive(upTo: Self.batch) }
        if frames.isEmpty { break }  // `.mayReceive` follows
        for (index, frame) in frames.enumerated() where !deliver(frame, queue, state) {
          // No buffers: the driver will say when there are.
          self.state.withLock { $0.arrived[port] = Array(frames[index...]) }
          return
        }
        frames = []
      }
    }
  }

  /// Puts a frame into buffers, or drops it. `false`: there are not enough buffers now.
  private func deliver(_ frame: Frame, _ queue: VirtQueue, _ state: State) -> Bool {
    if isWanted(frame, state) { return put(frame, queue, state) }
    self.state.withLock { $0.dropped &+= 1 }
    return true
  }

  private func isWanted(_ frame: Frame, _ state: State) -> Bool {
    let unfinished = frame.unfinished
    guard frame.count >= Self.ethernetHeader, frame.count <= Frame.maximumLength else {
      return false
    }
    // What the driver cannot finish it does not get; ports keep to it, but for what was on its way.
    if unfinished.checksum != nil, !state.guestOffloads.contains(.checksum) { return false }
    if unfinished.segmentSize != nil {
      let needed: Offloads = frame.isIPv6 ? .segmentTCPv6 : .segmentTCPv4
      guard state.guestOffloads.contains(needed) else { return false }
    }
    return state.filter.passes(frame, to: state.address)
  }

  /// Puts a frame into as many buffers as it takes. `false`: there are not enough now.
  private func put(_ frame: Frame, _ queue: VirtQueue, _ state: State) -> Bool {
    let mergeable = state.features.contains(.mergeableBuffers)
    let headerLength = Self.headerLength(state.features)
    let total = headerLength + frame.count
    var taken: [(tag: RequestTag, room: Int)] = []
    var room = 0
    while room < total {
      guard let chain = queue.pop() else {
        for (tag, _) in taken.reversed() { queue.putBack(tag) }
        return false
      }
      let bytes = Int(min(chain.writable.byteCount, UInt64(total)))
      guard chain.readable.isEmpty, !taken.isEmpty || bytes >= headerLength else {
        queue.refuse(chain, "a buffer for frames that holds no header, or is to be read")
        for (tag, _) in taken { queue.complete(tag, written: 0) }
        return false
      }
      let tag = queue.hold(chain)
      if !mergeable, bytes < total {
        // §5.1.6.4.1: then the frame is the one to go.
        self.state.withLock { $0.dropped &+= 1 }
        queue.putBack(tag)
        return true
      }
      taken.append((tag, bytes))
      room += bytes
    }
    var bytes: [UInt8] = []
    bytes.reserveCapacity(total)
    bytes += header(of: frame, buffers: taken.count, state).prefix(headerLength)
    bytes += frame.slice
    var place = 0
    var written: [(tag: RequestTag, written: Int)] = []
    for (tag, room) in taken {
      let count = min(room, bytes.count - place)
      if let buffers = queue.buffers(of: tag) {
        let part = taken.count == 1 ? bytes : Array(bytes[place..<place + count])
        _ = try? queue.dma.write(part, to: buffers.writable)
      }
      written.append((tag, count))
      place += count
    }
    queue.complete(written)
    return true
  }

  private func header(of frame: Frame, buffers: Int, _ state: State) -> [UInt8] {
    let unfinished = frame.unfinished
    var flags: UInt8 = 0
    if unfinished.checksum != nil {
      flags = HeaderFlags.needsChecksum
    } else if unfinished.isChecked, state.features.contains(.guestChecksum) {
      flags = HeaderFlags.dataValid
    }
    var bytes = [flags]
    if let size = unfinished.segmentSize {
      bytes.append(frame.isIPv6 ? Segmentation.tcpv6 : Segmentation.tcpv4)
      bytes.append(littleEndian: UInt16(clamping: frame.headerLength))
      bytes.append(littleEndian: UInt16(clamping: size))
    } else {
      bytes += [Segmentation.none, 0, 0, 0, 0]
    }
    bytes.append(littleEndian: UInt16(clamping: unfinished.checksum?.start ?? 0))
    bytes.append(littleEndian: UInt16(clamping: unfinished.checksum?.offset ?? 0))
    bytes.append(littleEndian: UInt16(clamping: buffers))
    return bytes
  }
}

extension [Frame] {
  /// Leaves nothing behind.
  fileprivate mutating func take() -> [Frame] {
    defer { self = [] }
    return self
  }
}

extension Frame {
  /// Where the network header begins, behind a VLAN tag if there is one.
  private var networkHeader: Int {
    count > 18 && self[12] == 0x81 && self[13] == 0 ? 18 : 14
  }

  fileprivate var isIPv6: Bool {
    let start = networkHeader
    return count >= start && self[start - 2] == 0x86 && self[start - 1] == 0xdd
  }

  /// The bytes up to the end of the TCP header, which each segment repeats: a hint. RFC 9293 §3.1, Data Offset.
  fileprivate var headerLength: Int {
    guard let start = unfinished.checksum?.start, start + 12 < count else { return 0 }
    return start + Int(self[start + 12] >> 4) * 4
  }
}
