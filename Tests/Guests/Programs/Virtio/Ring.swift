import Arch

/// The driver's side of a virtqueue, split or packed (VIRTIO 1.3 §2.7, §2.8).
///
/// Each request is waited for before the next; a driver that means harm may do as it likes with what lies in memory.
final class Ring {
  let index: Int
  /// A page: the three areas, room for a table, and words between that no device may touch.
  private let page: UInt64
  private(set) var size: UInt16 = 0
  private(set) var isPacked = false
  private var usesEvents = false

  // How far both sides have got. Split: running counts. Packed: places, with their wrap counters.
  private(set) var nextAvailable: UInt16 = 0
  private(set) var availableWrap = true
  private var nextUsed: UInt16 = 0
  private var usedWrap = true
  private var nextDescriptor: UInt16 = 0
  /// Descriptors that the last request took.
  private var taken: UInt16 = 0

  init(index: Int) {
    self.index = index
    page = Pool.pages()
  }

  static var mostEntries: UInt16 { 8 }

  var descriptors: UInt64 { page }
  var driverArea: UInt64 { page + 0x200 }
  var deviceArea: UInt64 { page + 0x400 }
  var tables: UInt64 { page + 0x600 }

  /// As it is before the first request.
  func start(size: UInt16, _ dialect: Dialect) {
    self.size = size
    isPacked = dialect.contains(.packed)
    usesEvents = dialect.contains(.events)
    (nextAvailable, availableWrap, nextUsed, usedWrap) = (0, true, 0, true)
    (nextDescriptor, taken) = (0, 0)
    clear(descriptors, 16 * UInt64(size))
    clear(driverArea, 6 + 2 * UInt64(size))
    clear(deviceArea, 6 + 8 * UInt64(size))
    for place in UInt64(1)...4 { store64(page + 0x200 * place - 8, Self.untouched) }
    if !dialect.contains(.interrupts) { store16(driverArea + (isPacked ? 2 : 0), 1) }
  }

  private func clear(_ start: UInt64, _ count: UInt64) {
    var offset: UInt64 = 0
    while offset < count {
      store64(start + offset, 0)
      offset += 8
    }
  }

  private static var untouched: UInt64 { 0x6e6f_7420_796f_7572 }

  /// Whether nothing was written behind any of its parts.
  var isContained: Bool {
    for place in UInt64(1)...4 where load64(page + 0x200 * place - 8) != Self.untouched {
      return false
    }
    return true
  }

  // MARK: Offering

  /// Joins the parts of a chain, as they would lie in this ring if it were added now.
  func join(_ chain: inout Chain) {
    chain.head = isPacked ? nextAvailable : nextDescriptor
    for index in 0..<chain.count {
      let isLast = index == chain.count - 1
      if chain.isInTable {
        chain.parts[index].next = isPacked || isLast ? 0 : UInt16(index + 1)
        if !isPacked, !isLast { chain.parts[index].flags |= Descriptor.hasNext }
      } else {
        chain.parts[index].next = isPacked ? chain.head : slot(index + 1)
        if !isLast { chain.parts[index].flags |= Descriptor.hasNext }
      }
    }
    guard chain.isInTable else { return }
    chain.table = Descriptor(
      address: tables, length: UInt32(16 * chain.count), flags: Descriptor.isTable,
      next: isPacked ? chain.head : 0)
  }

  /// The descriptor so many behind the next one, of a split ring.
  private func slot(_ index: Int) -> UInt16 { (nextDescriptor + UInt16(index)) % size }

  /// Makes a chain available, as it stands; the device is not told.
  func add(_ chain: Chain) {
    if chain.isInTable {
      for index in 0..<chain.count {
        put(chain.parts[index], at: tables + 16 * UInt64(index), chain.parts[index].flags)
      }
    }
    taken = chain.isInTable ? 1 : UInt16(chain.count)
    isPacked ? addPacked(chain) : addSplit(chain)
  }

  private func part(_ chain: Chain, _ index: UInt16) -> Descriptor {
    chain.isInTable ? chain.table : chain.parts[Int(index)]
  }

  private func put(_ part: Descriptor, at place: UInt64, _ flags: UInt16) {
    store64(place, part.address)
    store32(place + 8, part.length)
    store16(place + 12, isPacked ? part.next : flags)
    store16(place + 14, isPacked ? flags : part.next)
  }

  private func addSplit(_ chain: Chain) {
    for index in 0..<taken {
      let part = part(chain, index)
      put(part, at: descriptors + 16 * UInt64(slot(Int(index))), part.flags)
    }
    nextDescriptor = slot(Int(taken))
    store16(driverArea + 4 + 2 * UInt64(nextAvailable % size), chain.head)
    nextAvailable &+= 1
    store16(driverArea + 2, nextAvailable)
    memory_fence()
  }

  private func addPacked(_ chain: Chain) {
    let first = descriptors + 16 * UInt64(nextAvailable)
    var firstFlags: UInt16 = 0
    for index in 0..<taken {
      let part = part(chain, index)
      let flags = part.flags | (availableWrap ? Descriptor.available : Descriptor.used)
      let place = descriptors + 16 * UInt64(nextAvailable)
      if index == 0 {
        firstFlags = flags
        // Not yet available.
        put(part, at: place, load16(place + 14))
      } else {
        put(part, at: place, flags)
      }
      nextAvailable += 1
      if nextAvailable == size {
        nextAvailable = 0
        availableWrap = !availableWrap
      }
    }
    store16(first + 14, firstFlags)
    memory_fence()
  }

  // MARK: Taking back

  /// Asks for an interrupt with the next request that comes back (§2.7.7, §2.8.10).
  func askForInterrupt() {
    if isPacked {
      store16(driverArea, nextUsed | (usedWrap ? 1 << 15 : 0))
      store16(driverArea + 2, usesEvents ? 2 : 0)
    } else if usesEvents {
      store16(driverArea + 4 + 2 * UInt64(size), nextUsed)
    }
    memory_fence()
  }

  /// What the device wrote into the request that came back; `nil`: none has.
  func take() -> UInt32? {
    isPacked ? takePacked() : takeSplit()
  }

  private func takeSplit() -> UInt32? {
    guard load16(deviceArea + 2) != nextUsed else { return nil }
    let entry = deviceArea + 4 + 8 * UInt64(nextUsed % size)
    nextUsed &+= 1
    return load32(entry + 4)
  }

  private func takePacked() -> UInt32? {
    let place = descriptors + 16 * UInt64(nextUsed)
    let flags = load16(place + 14)
    guard (flags & Descriptor.available != 0) == usedWrap,
      (flags & Descriptor.used != 0) == usedWrap
    else { return nil }
    // Not every device says by the flag for writing that it has written: QEMU's leaves it out.
    let written = load32(place + 8)
    nextUsed += taken
    if nextUsed >= size {
      nextUsed -= size
      usedWrap = !usedWrap
    }
    return written
  }
}
