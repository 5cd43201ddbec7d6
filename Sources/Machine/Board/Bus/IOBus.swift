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
  private let state = Mutex(State())
  private let version = Atomic<UInt64>(1)
  private let refused = Atomic<UInt64>(0)

  private struct State {
    var mappings: [Mapping] = []
    var watcher: (any BusWatcher)?
  }

  package init(wideAccess: WideAccess) { self.wideAccess = wideAccess }

  /// Tells `watcher` of all that is mapped, and of changes from now on.
  package func watch(by watcher: any BusWatcher) {
    state.withLock { state in
      state.watcher = watcher
      for mapping in state.mappings { watcher.mapped(mapping) }
    }
  }

  /// Lets `device` answer in `range`. Answers `false`, and changes nothing, if something else answers in
  /// part of it: a guest may move a BAR onto a device that is there already.
  @discardableResult
  package func map(_ device: any IODevice, at range: Range<UInt64>, region: UInt8 = 0) -> Bool {
    guard !range.isEmpty else { return true }
    return state.withLock { state in
      let mappings = state.mappings
      let index = mappings.firstIndex { $0.range.lowerBound >= range.lowerBound } ?? mappings.count
      if index < mappings.count, mappings[index].range.overlaps(range) { return false }
      if index > 0, mappings[index - 1].range.overlaps(range) { return false }
      let mapping = Mapping(range: range, device: device, region: region)
      state.mappings.insert(mapping, at: index)
      version.add(1, ordering: .releasing)
      state.watcher?.mapped(mapping)
      return true
    }
  }

  /// Takes away every mapping that lies inside `range`.
  package func unmap(_ range: Range<UInt64>) {
    unmap {
      range.lowerBound <= $0.range.lowerBound && $0.range.upperBound <= range.upperBound
    }
  }

  /// Takes away every mapping, when the machine has ended: PCI's devices know the bus that knows them, and none of
  /// them would ever go.
  package func unmapAll() { unmap { _ in true } }

  private func unmap(_ isMeant: (Mapping) -> Bool) {
    state.withLock { state in
      let gone = state.mappings.filter(isMeant)
      state.mappings.removeAll(where: isMeant)
      version.add(1, ordering: .releasing)
      for mapping in gone { state.watcher?.unmapped(mapping) }
    }
  }

  /// The map as it stands, sorted by address.
  package var map: [Mapping] { state.withLock { $0.mappings } }

  /// How many accesses no device answered.
  package var unanswered: UInt64 { refused.load(ordering: .relaxed) }

  var currentVersion: UInt64 { version.load(ordering: .acquiring) }
  func countRefusal() { refused.add(1, ordering: .relaxed) }
}
