import Memory

/// What the ring gives the device: one chain, copied out and checked.
struct FetchedChain {
  /// What the driver knows the chain by: its first descriptor, or, in a packed ring, its buffer ID.
  var id: UInt16
  /// Descriptors of the ring itself; an indirect table counts as one.
  var ringDescriptors: UInt16
  var readable: [GPARange]
  var writable: [GPARange]
}

/// A descriptor as both formats have it in memory; the last two fields change places between them.
struct RawDescriptor: BitwiseCopyable {
  let address: UInt64
  let length: UInt32
  let low: UInt16
  let high: UInt16

  static let size: UInt64 = 16
}

/// VIRTIO 1.3 §2.7.5 "The Virtqueue Descriptor Table", §2.8.13 "The Virtqueue Descriptor Format".
struct DescriptorFlags: OptionSet {
  let rawValue: UInt16
  static let next = Self(rawValue: 1 << 0)
  static let write = Self(rawValue: 1 << 1)
  static let indirect = Self(rawValue: 1 << 2)
  /// Packed rings only.
  static let available = Self(rawValue: 1 << 7)
  static let used = Self(rawValue: 1 << 15)
}

/// Gathers the buffers of one chain and refuses what no driver may offer.
///
/// Buffers may lie over each other: a guest's programs can bring that about (a read into the same page twice), and it
/// harms nobody but them. Over the ring itself none may be written.
struct ChainBuilder {
  private(set) var readable: [GPARange] = []
  private(set) var writable: [GPARange] = []
  private var bytes: UInt64 = 0
  private let rules: RingRules
  private let areas: RingAreas
  private let dma: DMA

  init(_ rules: RingRules, _ areas: RingAreas, _ dma: DMA) {
    self.rules = rules
    self.areas = areas
    self.dma = dma
  }

  mutating func add(_ address: UInt64, _ length: UInt32, isWritable: Bool) throws(QueueFault) {
    guard length > 0, let range = GPARange(start: GPA(address), count: UInt64(length)) else {
      throw .badBuffer
    }
    bytes += range.count  // each addend is below 2³², and the sum is checked every time
    guard bytes <= rules.maximumBytes else { throw .tooManyBytes }
    do throws(MemoryFault) {
      try dma.check(range, writable: isWritable)
    } catch {
      throw .badBuffer
    }
    if isWritable {
      guard !areas.overlaps(range) else { throw .bufferOverRing }
      writable.append(range)
    } else {
      guard writable.isEmpty else { throw .readableAfterWritable }
      readable.append(range)
    }
  }

  /// Adds what a table of descriptors holds. VIRTIO 1.3 §2.7.5.3 and §2.8.7 "Indirect Descriptors".
  mutating func addTable(_ address: UInt64, _ length: UInt32) throws(QueueFault) {
    let count = Int(length) / Int(RawDescriptor.size)
    guard rules.allowsIndirect, count > 0, UInt64(length) % RawDescriptor.size == 0,
      count <= rules.maximumTable,
      let range = GPARange(start: GPA(address), count: UInt64(length))
    else { throw .badIndirectTable }
    var index = 0
    for _ in 0..<count {
      let entry = try dma.descriptor(
        at: GPA(range.start.rawValue + UInt64(index) * RawDescriptor.size))
      // In a split ring's table the entries are linked; a packed ring's are all used, in order.
      let flags = DescriptorFlags(rawValue: rules.isPacked ? entry.high : entry.low)
      guard !flags.contains(.indirect) else { throw .badIndirectTable }
      try add(entry.address, entry.length, isWritable: flags.contains(.write))
      if rules.isPacked {
        index += 1
        if index == count { return }
      } else {
        guard flags.contains(.next) else { return }
        index = Int(entry.high)
        guard index < count else { throw .badIndex }
      }
    }
    throw .chainTooLong
  }
}

extension DMA {
  /// Copies a descriptor, once.
  func descriptor(at address: GPA) throws(QueueFault) -> RawDescriptor {
    do throws(MemoryFault) {
      return try load(RawDescriptor.self, at: address)
    } catch {
      throw .ringOutOfReach
    }
  }

  /// A word of a ring, which the other side may change at any time.
  func word(at address: UInt64) throws(QueueFault) -> UInt16 {
    do throws(MemoryFault) {
      return try loadAcquiring(at: GPA(address))
    } catch {
      throw .ringOutOfReach
    }
  }

  /// Writes a word of a ring, after all that was written before.
  func setWord(_ value: UInt16, at address: UInt64) throws(QueueFault) {
    do throws(MemoryFault) {
      try storeReleasing(value, at: GPA(address))
    } catch {
      throw .ringOutOfReach
    }
  }

  func setLong(_ value: UInt64, at address: UInt64) throws(QueueFault) {
    do throws(MemoryFault) {
      try store(value, at: GPA(address))
    } catch {
      throw .ringOutOfReach
    }
  }
}
