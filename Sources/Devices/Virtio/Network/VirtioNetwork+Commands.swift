import Bits
import Memory
import Networks
import Synchronization

// VIRTIO 1.3 §5.1.6.5 "Control Virtqueue": class, command, data, and a byte to write the answer to.

extension VirtioNetwork {
  private enum CommandClass {
    static let receiveMode: UInt8 = 0
    static let address: UInt8 = 1
    static let vlan: UInt8 = 2
    static let announce: UInt8 = 3
    static let multiQueue: UInt8 = 4
    static let guestOffloads: UInt8 = 5
  }

  /// Bytes of a command: two full tables of addresses and more.
  private static let longestCommand = 1 << 16

  func obey(_ queue: VirtQueue) {
    while let chain = queue.pop() {
      guard chain.readable.byteCount >= 2, let answer = chain.writable.first else {
        queue.refuse(chain, "a network command without command or answer")
        return
      }
      let count = Int(min(chain.readable.byteCount, UInt64(Self.longestCommand)))
      let bytes = (try? queue.dma.bytes(of: chain.readable, count: count)) ?? []
      let isDone = bytes.count >= 2 && obey(bytes[0], bytes[1], Array(bytes[2...]))
      try? queue.dma.store(isDone ? 0 : 1 as UInt8, at: answer.start)
      queue.complete(chain, written: 1)
    }
  }

  /// Carries a command out. `false`: it is none, or was not agreed on.
  private func obey(_ kind: UInt8, _ command: UInt8, _ data: [UInt8]) -> Bool {
    let features = state.withLock { $0.features }
    switch kind {
    case CommandClass.receiveMode where features.contains(.controlReceive):
      return setReceiveMode(command, data, features)
    case CommandClass.address:
      return command == 0 ? setTables(data, features) : command == 1 && setAddress(data, features)
    case CommandClass.vlan where features.contains(.controlVLAN):
      return command <= 1 && setVLAN(data, isOn: command == 0)
    case CommandClass.announce where features.contains(.announce) && command == 0:
      state.withLock { $0.mustAnnounce = false }
      return true
    case CommandClass.multiQueue where features.contains(.networkMultiQueue) && command == 0:
      return setPairs(data)
    case CommandClass.guestOffloads where features.contains(.controlGuestOffloads) && command == 0:
      return setOffloads(data, features)
    default: return false
    }
  }

  /// §5.1.6.5.1 "Packet Receive Filtering".
  private func setReceiveMode(_ command: UInt8, _ data: [UInt8], _ features: VirtioFeatures) -> Bool
  {
    guard data.count >= 1, data[0] <= 1, command <= 5,
      command <= 1 || features.contains(.controlReceiveExtra)
    else { return false }
    let isOn = data[0] == 1
    state.withLock { state in
      switch command {
      case 0: state.filter.isPromiscuous = isOn
      case 1: state.filter.allMulticast = isOn
      case 2: state.filter.allUnicast = isOn
      case 3: state.filter.noMulticast = isOn
      case 4: state.filter.noUnicast = isOn
      default: state.filter.noBroadcast = isOn
      }
    }
    return true
  }

  /// §5.1.6.5.2 "Setting MAC Address Filtering": a table of unicast addresses, and one of multicast.
  private func setTables(_ data: [UInt8], _ features: VirtioFeatures) -> Bool {
    guard features.contains(.controlReceive), let (unicast, rest) = Self.table(data[...]),
      let (multicast, _) = Self.table(rest)
    else { return false }
    state.withLock { state in
      state.filter.unicastOverflow = unicast == nil
      state.filter.multicastOverflow = multicast == nil
      state.filter.unicast = unicast ?? []
      state.filter.multicast = multicast ?? []
    }
    return true
  }

  /// A table and what is behind it. The table is `nil` if it has more entries than we keep.
  private static func table(
    _ data: ArraySlice<UInt8>
  ) -> (entries: [[UInt8]]?, rest: ArraySlice<UInt8>)? {
    guard let count = Array(data.prefix(4)).integer(UInt32.self, littleEndianAt: 0) else {
      return nil
    }
    let bytes = data.dropFirst(4)
    guard UInt64(count) * 6 <= UInt64(bytes.count) else { return nil }
    let length = Int(count) * 6
    let rest = bytes.dropFirst(length)
    guard count <= FrameFilter.tableSize else { return (nil, rest) }
    let start = bytes.startIndex
    return ((0..<Int(count)).map { Array(bytes[start + $0 * 6..<start + $0 * 6 + 6]) }, rest)
  }

  private func setAddress(_ data: [UInt8], _ features: VirtioFeatures) -> Bool {
    guard features.contains(.controlAddress), data.count >= 6, data[0] & 1 == 0 else {
      return false
    }
    state.withLock { $0.address = Array(data[..<6]) }
    return true
  }

  /// §5.1.6.5.3 "VLAN Filtering".
  private func setVLAN(_ data: [UInt8], isOn: Bool) -> Bool {
    guard let vlan = data.integer(UInt16.self, littleEndianAt: 0), vlan < 4096 else { return false }
    state.withLock { state in
      let bit: UInt64 = 1 << UInt64(vlan % 64)
      if isOn {
        state.filter.vlans?[Int(vlan / 64)] |= bit
      } else {
        state.filter.vlans?[Int(vlan / 64)] &= ~bit
      }
    }
    return true
  }

  /// §5.1.6.5.6 "Automatic receive steering in multiqueue mode".
  private func setPairs(_ data: [UInt8]) -> Bool {
    guard let pairs = data.integer(UInt16.self, littleEndianAt: 0), pairs >= 1, pairs <= ports.count
    else { return false }
    state.withLock { $0.pairs = Int(pairs) }
    receiveOnAll()
    return true
  }

  /// §5.1.6.5.8 "Offloads State Configuration": a subset of what was agreed on.
  private func setOffloads(_ data: [UInt8], _ features: VirtioFeatures) -> Bool {
    guard let bits = data.integer(UInt64.self, littleEndianAt: 0) else { return false }
    let wanted = VirtioFeatures(rawValue: bits)
    let offered: VirtioFeatures = [.guestChecksum, .guestTSO4, .guestTSO6]
    guard wanted.isSubset(of: features.intersection(offered)), accepts(wanted) else { return false }
    let offloads = State.offloads(wanted)
    state.withLock { $0.guestOffloads = offloads }
    for port in ports { port.accept(offloads) }
    return true
  }
}
