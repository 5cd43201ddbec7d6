package import Memory

/// Where a queue's ring is in guest memory, and how many entries it has.
///
/// - SeeAlso: VIRTIO 1.3 §2.7 "Split Virtqueues", §2.8.10 "Driver and Device Event Suppression", for what the three
///   areas hold in each format.
package struct QueueLayout: Sendable, Hashable {
  package var size: UInt16
  /// Split: the descriptor table. Packed: the descriptor ring.
  package var descriptorArea: GPA
  /// Split: the available ring. Packed: the driver's event suppression.
  package var driverArea: GPA
  /// Split: the used ring. Packed: the device's event suppression.
  package var deviceArea: GPA

  package init(size: UInt16, descriptorArea: GPA, driverArea: GPA, deviceArea: GPA) {
    self.size = size
    self.descriptorArea = descriptorArea
    self.driverArea = driverArea
    self.deviceArea = deviceArea
  }
}

/// What was agreed on for all queues of a device, and what the device sets itself.
struct RingRules: Sendable {
  var isPacked = false
  var allowsIndirect = false
  var usesEventIndex = false
  var isInOrder = false
  /// Descriptors in an indirect table.
  var maximumTable = 0
  /// Bytes in a chain.
  var maximumBytes: UInt64 = 1 << 32

  init(_ features: VirtioFeatures, maximumTable: Int, maximumBytes: UInt64) {
    isPacked = features.contains(.ringPacked)
    allowsIndirect = features.contains(.indirectDescriptors)
    usesEventIndex = features.contains(.eventIndex)
    isInOrder = features.contains(.inOrder)
    self.maximumTable = maximumTable
    self.maximumBytes = maximumBytes
  }
}

/// The three areas as ranges, which are known to be aligned and in memory.
struct RingAreas: Sendable {
  let descriptors: GPARange
  let driver: GPARange
  let device: GPARange

  /// Checks the layout: VIRTIO 1.3 §2.7 and §2.8.10.1, the tables of alignments and sizes.
  init(_ layout: QueueLayout, isPacked: Bool, dma: DMA) throws(QueueFault) {
    let size = UInt64(layout.size)
    guard size > 0, size <= 1 << 15, isPacked || layout.size.nonzeroBitCount == 1 else {
      throw .badLayout
    }
    descriptors = try Self.area(layout.descriptorArea, 16 * size, alignment: 16, dma, isPacked)
    driver = try Self.area(
      layout.driverArea, isPacked ? 4 : 6 + 2 * size, alignment: isPacked ? 4 : 2, dma, false)
    device = try Self.area(
      layout.deviceArea, isPacked ? 4 : 6 + 8 * size, alignment: 4, dma, true)
  }

  private static func area(
    _ start: GPA, _ count: UInt64, alignment: UInt64, _ dma: DMA, _ isWritable: Bool
  ) throws(QueueFault) -> GPARange {
    guard start.rawValue % alignment == 0 else { throw .badLayout }
    guard let range = GPARange(start: start, count: count) else { throw .ringOutOfReach }
    do throws(MemoryFault) {
      try dma.check(range, writable: isWritable)
    } catch {
      throw .ringOutOfReach
    }
    return range
  }

  func overlaps(_ range: GPARange) -> Bool {
    range.overlaps(descriptors) || range.overlaps(driver) || range.overlaps(device)
  }
}

extension GPARange {
  /// Whether the two ranges, neither of them empty, have a byte in common.
  fileprivate func overlaps(_ other: GPARange) -> Bool {
    start.rawValue <= other.start.rawValue + (other.count - 1)
      && other.start.rawValue <= start.rawValue + (count - 1)
  }
}
