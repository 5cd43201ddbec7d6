import Synchronization

/// An address space of devices: I/O ports, or memory-mapped registers. Concrete on purpose.
package final class IOBus: Sendable {
  /// A run of addresses and who answers there.
  package struct Mapping: Sendable {
    package let range: Range<UInt64>
    package let device: any IODevice
    package let region: UInt8
  }

  /// What becomes of an access that is wider than the device takes.
  package enum WideAccess: Sendable { case split, refuse }

  package let wideAccess: WideAccess
  private let mappings = Mutex<[Mapping]>([])
  private let version = Atomic<UInt64>(1)
  private let refused = Atomic<UInt64>(0)

  package init(wideAccess: WideAccess) { self.wideAccess = wideAccess }

  /// Lets `device` answer in `range`. Answers `false`, and changes nothing, if something else answers in
  /// part of it: a guest may move a BAR onto a device that is there already.
  @discardableResult
  package func map(_ device: any IODevice, at range: Range<UInt64>, region: UInt8 = 0) -> Bool {
    guard !range.isEmpty else { return true }
    return mappings.withLock { mappings in
      let index = mappings.firstIndex { $0.range.lowerBound >= range.lowerBound } ?? mappings.count
      if index < mappings.count, mappings[index].range.overlaps(range) { return false }
      if index > 0, mappings[index - 1].range.overlaps(range) { return false }
      mappings.insert(Mapping(range: range, device: device, region: region), at: index)
      version.add(1, ordering: .releasing)
      return true
    }
  }

  /// Takes away every mapping that lies inside `range`.
  package func unmap(_ range: Range<UInt64>) {
    mappings.withLock { mappings in
      mappings.removeAll {
        range.lowerBound <= $0.range.lowerBound && $0.range.upperBound <= range.upperBound
      }
      version.add(1, ordering: .releasing)
    }
  }

  /// Takes away every mapping, when the machine has ended: PCI's devices know the bus that knows them, and none of
  /// them would ever go.
  package func unmapAll() {
    mappings.withLock { $0 = [] }
    version.add(1, ordering: .releasing)
  }

  /// The map as it stands, sorted by address.
  package var map: [Mapping] { mappings.withLock { $0 } }

  /// How many accesses no device answered.
  package var unanswered: UInt64 { refused.load(ordering: .relaxed) }

  var currentVersion: UInt64 { version.load(ordering: .acquiring) }
  func countRefusal() { refused.add(1, ordering: .relaxed) }
}
