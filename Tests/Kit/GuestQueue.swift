import Memory
import Synchronization

/// The driver's side of a virtqueue, split or packed as was agreed.
///
/// - SeeAlso: VIRTIO 1.3 §2.7.13 and §2.8.21 "Supplying Buffers to The Device".
package final class GuestQueue {
  package struct Buffer: Sendable, Equatable {
    package var address: UInt64
    package var count: UInt32
    package var isWritable: Bool

    package init(_ address: UInt64, _ count: Int, writable: Bool = false) {
      self.address = address
      self.count = UInt32(truncatingIfNeeded: count)
      isWritable = writable
    }
  }

  /// A chain that the device gave back.
  package struct Used: Sendable, Equatable {
    /// What `add` answered.
    package let token: UInt16
    package let written: UInt32
  }

  package let index: Int
  package let size: UInt16
  package let descriptorArea: UInt64
  package let driverArea: UInt64
  package let deviceArea: UInt64
  private let driver: GuestDriver
  private let isPacked: Bool
  private let usesEventIndex: Bool

  /// Free descriptors; in a packed ring also free buffer IDs.
  private var freeDescriptors: [UInt16]
  /// The ring descriptors of each chain in flight, by token.
  private var chains: [UInt16: [UInt16]] = [:]
  private var tables: [UInt64] = []
  // Split: running indices. Packed: places in the ring, with their wrap counters.
  private var nextAvailable: UInt16 = 0
  private var availableWrap = true
  private var nextUsed: UInt16 = 0
  private var usedWrap = true
  private var unannounced: UInt16 = 0
  private var roomInRing: UInt16

  init(_ driver: GuestDriver, index: Int, size: UInt16) {
    self.driver = driver
    self.index = index
    self.size = size
    isPacked = driver.has(GuestDriver.packed)
    usesEventIndex = driver.has(GuestDriver.eventIndex)
    descriptorArea = driver.allocate(16 * Int(size))
    driverArea = driver.allocate(isPacked ? 4 : 6 + 2 * Int(size))
    deviceArea = driver.allocate(isPacked ? 4 : 6 + 8 * Int(size))
    freeDescriptors = Array((0..<size).reversed())
    roomInRing = size
  }

  package var inFlight: Int { chains.count }

  // MARK: - Offering

  /// Whether a chain of that many descriptors can be added now.
  package func hasRoom(for count: Int) -> Bool {
    count <= freeDescriptors.count && count <= Int(roomInRing)
  }

  /// Makes a chain available; answers by what name it comes back, or `nil` if there is no room. The device is not told.
  package func add(_ buffers: [Buffer], indirect: Bool = false) -> UInt16? {
    let entries = indirect ? [table(of: buffers)] : buffers
    guard hasRoom(for: entries.count), !entries.isEmpty else { return nil }
    return isPacked ? addPacked(entries, indirect) : addSplit(entries, indirect)
  }

  private func table(of buffers: [Buffer]) -> Buffer {
    let address = tables.popLast() ?? driver.allocate(16 * 64)
    precondition(buffers.count <= 64, "a table for tests has 64 entries")
    for (index, buffer) in buffers.enumerated() {
      let isLast = index == buffers.count - 1
      let flags: UInt16 = (isLast || isPacked ? 0 : 1) | (buffer.isWritable ? 2 : 0)
      write(
        buffer, at: address + 16 * UInt64(index), isPacked ? 0 : flags,
        isPacked ? flags : UInt16(index + 1))
    }
    return Buffer(address, 16 * buffers.count)
  }

  private func write(_ buffer: Buffer, at place: UInt64, _ low: UInt16, _ high: UInt16) {
    store(buffer.address, at: place)
    store(buffer.count, at: place + 8)
    store(low, at: place + 12)
    store(high, at: place + 14)
  }

  private func addSplit(_ entries: [Buffer], _ indirect: Bool) -> UInt16 {
    let taken = entries.map { _ in freeDescriptors.removeLast() }
    for (place, entry) in entries.enumerated() {
      var flags: UInt16 = indirect ? 4 : entry.isWritable ? 2 : 0
      var next: UInt16 = 0
      if place + 1 < entries.count {
        flags |= 1
        next = taken[place + 1]
      }
      write(entry, at: descriptorArea + 16 * UInt64(taken[place]), flags, next)
    }
    roomInRing -= UInt16(entries.count)
    chains[taken[0]] = taken
    if indirect { noteTable(entries[0].address, taken[0]) }
    store(taken[0], at: driverArea + 4 + 2 * UInt64(nextAvailable % size))
    nextAvailable &+= 1
    unannounced &+= 1
    publish(nextAvailable, at: driverArea + 2)
    return taken[0]
  }

  private func addPacked(_ entries: [Buffer], _ indirect: Bool) -> UInt16 {
    let token = freeDescriptors.removeLast()
    let first = (place: nextAvailable, wrap: availableWrap)
    var firstFlags: UInt16 = 0
    for (number, entry) in entries.enumerated() {
      var flags: UInt16 = indirect ? 4 : entry.isWritable ? 2 : 0
      if number + 1 < entries.count { flags |= 1 }
      flags |= availableWrap ? 1 << 7 : 1 << 15
      let place = descriptorArea + 16 * UInt64(nextAvailable)
      if number == 0 { firstFlags = flags }
      store(entry.address, at: place)
      store(entry.count, at: place + 8)
      store(token, at: place + 12)
      if number > 0 { store(flags, at: place + 14) }
      nextAvailable += 1
      if nextAvailable == size {
        nextAvailable = 0
        availableWrap.toggle()
      }
    }
    roomInRing -= UInt16(entries.count)
    unannounced &+= UInt16(entries.count)
    chains[token] = entries.map { _ in token }
    if indirect { noteTable(entries[0].address, token) }
    publish(firstFlags, at: descriptorArea + 16 * UInt64(first.place) + 14)
    return token
  }

  private var tableOf: [UInt16: UInt64] = [:]
  private func noteTable(_ address: UInt64, _ token: UInt16) { tableOf[token] = address }

  /// Tells the device of what was added, if it wants to hear of it. Answers whether it was told.
  @discardableResult
  package func kick() -> Bool {
    guard unannounced > 0, wantsNotification() else {
      unannounced = 0
      return false
    }
    unannounced = 0
    driver.transport.notify(queue: index)
    return true
  }

  private func wantsNotification() -> Bool {
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if isPacked {
      switch load(UInt16.self, at: deviceArea + 2) & 3 {
      case 0: return true
      case 2:
        let event = load(UInt16.self, at: deviceArea)
        var offset = event & 0x7fff
        if (event >> 15 == 1) != availableWrap { offset = offset &- size }
        return nextAvailable &- offset &- 1 < unannounced
      default: return false
      }
    }
    guard usesEventIndex else { return load(UInt16.self, at: deviceArea) & 1 == 0 }
    let event = load(UInt16.self, at: deviceArea + 4 + 8 * UInt64(size))
    return nextAvailable &- event &- 1 < unannounced
  }

  // MARK: - Taking back

  /// The next chain that the device has given back.
  package func take() -> Used? { isPacked ? takePacked() : takeSplit() }

  /// All that the device has given back, in its order.
  package func takeAll() -> [Used] {
    var all: [Used] = []
    while let used = take() { all.append(used) }
    return all
  }

  private func takeSplit() -> Used? {
    guard acquire(at: deviceArea + 2) != nextUsed else { return nil }
    let place = deviceArea + 4 + 8 * UInt64(nextUsed % size)
    let used = Used(
      token: UInt16(truncatingIfNeeded: load(UInt32.self, at: place)),
      written: load(UInt32.self, at: place + 4))
    nextUsed &+= 1
    forget(used.token)
    return used
  }

  private func takePacked() -> Used? {
    let place = descriptorArea + 16 * UInt64(nextUsed)
    let flags = acquire(at: place + 14)
    guard (flags >> 7 & 1 == 1) == usedWrap, (flags >> 15 == 1) == usedWrap else { return nil }
    let used = Used(
      token: load(UInt16.self, at: place + 12),
      written: flags & 2 != 0 ? load(UInt32.self, at: place + 8) : 0)
    let count = UInt16(chains[used.token]?.count ?? 1)
    forget(used.token)
    nextUsed += count
    if nextUsed >= size {
      nextUsed -= size
      usedWrap.toggle()
    }
    return used
  }

  private func forget(_ token: UInt16) {
    guard let taken = chains.removeValue(forKey: token) else { return }
    roomInRing += UInt16(taken.count)
    freeDescriptors += isPacked ? [token] : taken
    if let table = tableOf.removeValue(forKey: token) { tables.append(table) }
  }

  /// Asks for an interrupt with the next chain given back, or for none. Answers whether there is one already.
  @discardableResult
  package func wantInterrupts(_ wanted: Bool) -> Bool {
    if isPacked {
      if usesEventIndex, wanted {
        store(nextUsed | (usedWrap ? 1 << 15 : 0), at: driverArea)
        store(2 as UInt16, at: driverArea + 2)
      } else {
        store(wanted ? 0 : 1 as UInt16, at: driverArea + 2)
      }
    } else if usesEventIndex {
      // None for as long as possible: an event half a lap behind.
      store(wanted ? nextUsed : nextUsed &- 0x8000, at: driverArea + 4 + 2 * UInt64(size))
    } else {
      store(wanted ? 0 : 1 as UInt16, at: driverArea)
    }
    atomicMemoryFence(ordering: .sequentiallyConsistent)
    if isPacked {
      let flags = acquire(at: descriptorArea + 16 * UInt64(nextUsed) + 14)
      return (flags >> 7 & 1 == 1) == usedWrap && (flags >> 15 == 1) == usedWrap
    }
    return acquire(at: deviceArea + 2) != nextUsed
  }

  // MARK: - Memory

  private func load<T: BitwiseCopyable & FixedWidthInteger>(_ type: T.Type, at address: UInt64) -> T
  {
    (try? driver.memory.load(type, at: GPA(address))) ?? 0
  }

  private func store<T: BitwiseCopyable>(_ value: T, at address: UInt64) {
    try? driver.memory.store(value, at: GPA(address))
  }

  private func acquire(at address: UInt64) -> UInt16 {
    (try? driver.memory.loadAcquiring(at: GPA(address))) ?? 0
  }

  private func publish(_ value: UInt16, at address: UInt64) {
    try? driver.memory.storeReleasing(value, at: GPA(address))
  }
}
