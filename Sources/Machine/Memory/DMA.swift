import Synchronization

/// Opens and shuts a device's way to memory: PCI's Bus Master Enable.
package final class Gate: Sendable {
  private let open: Atomic<Bool>

  package init(isOpen: Bool = false) { open = Atomic(isOpen) }

  package var isOpen: Bool {
    get { open.load(ordering: .acquiring) }
    set { open.store(newValue, ordering: .releasing) }
  }
}

/// What an IOMMU does to a device's addresses.
package protocol DMATranslation: AnyObject, Sendable {
  /// Resolves a range of device addresses to runs of guest memory.
  func translate(_ range: GPARange, writable: Bool) throws(MemoryFault) -> [GPARange]
}

/// A device's window onto guest memory: closed until bus mastering is on, translated behind an IOMMU.
package struct DMA: Sendable {
  @usableFromInline let memory: GuestMemory
  private let gate: Gate?
  @usableFromInline let translation: (any DMATranslation)?

  /// Without a gate the way is always open; without a translation, device addresses are the guest's own.
  package init(_ memory: GuestMemory, gate: Gate? = nil, translation: (any DMATranslation)? = nil) {
    self.memory = memory
    self.gate = gate
    self.translation = translation
  }

  /// Copies `count` bytes out of guest memory.
  package func bytes(at address: GPA, count: Int) throws(MemoryFault) -> [UInt8] {
    var result: [UInt8] = []
    for run in try resolve(address, UInt64(count), writable: false) {
      result += try memory.bytes(at: run.start, count: Int(run.count))
    }
    return result
  }

  /// Copies `bytes` into guest memory. Nothing is written unless the whole range is writable RAM.
  package func write(_ bytes: [UInt8], at address: GPA) throws(MemoryFault) {
    let runs = try resolve(address, UInt64(bytes.count), writable: true)
    for run in runs { try memory.check(run.start, count: run.count, toWrite: true) }
    var done = 0
    for run in runs {
      try memory.write(bytes.span.extracting(done..<done + Int(run.count)), at: run.start)
      done += Int(run.count)
    }
  }

  /// Resolves ranges for host I/O.
  package func buffers(_ ranges: [GPARange], writable: Bool) throws(MemoryFault) -> GuestBuffers {
    guard translation != nil else {
      try checkGate(for: ranges.first)
      return try memory.buffers(ranges, writable: writable)
    }
    var runs: [GPARange] = []
    for range in ranges {
      runs += try resolve(range.start, range.count, writable: writable)
    }
    return try memory.buffers(runs, writable: writable)
  }

  /// Refuses a range that the device could not reach now, all of it.
  package func check(_ range: GPARange, writable: Bool) throws(MemoryFault) {
    guard translation != nil else {
      try checkGate(for: range)
      return try memory.check(range.start, count: range.count, toWrite: writable)
    }
    for run in try resolve(range.start, range.count, writable: writable) {
      try memory.check(run.start, count: run.count, toWrite: writable)
    }
  }

  /// Reads one value, in little-endian byte order. Behind an IOMMU it must lie in one page.
  @inlinable
  package func load<T: BitwiseCopyable>(
    _ type: T.Type = T.self, at address: GPA
  ) throws(MemoryFault) -> T {
    try memory.load(type, at: single(address, MemoryLayout<T>.size, writable: false))
  }

  /// Writes one value; the counterpart of `load`.
  @inlinable
  package func store<T: BitwiseCopyable>(_ value: T, at address: GPA) throws(MemoryFault) {
    try memory.store(value, at: single(address, MemoryLayout<T>.size, writable: true))
  }

  /// Reads an index of a ring that the guest writes, before reading what it announces.
  package func loadAcquiring(at address: GPA) throws(MemoryFault) -> UInt16 {
    try memory.loadAcquiring(at: single(address, 2, writable: false))
  }

  /// Writes an index of a ring that the guest reads, after writing what it announces.
  package func storeReleasing(_ value: UInt16, at address: GPA) throws(MemoryFault) {
    try memory.storeReleasing(value, at: single(address, 2, writable: true))
  }

  /// Where a value lies that is not split.
  @usableFromInline
  func single(
    _ address: GPA, _ count: Int, writable: Bool
  ) throws(MemoryFault) -> GPA {
    guard translation != nil else {
      guard gate?.isOpen ?? true else { throw .notPermitted(address) }
      return address
    }
    let runs = try resolve(address, UInt64(count), writable: writable)
    guard runs.count == 1 else { throw .outOfRange(address) }
    return runs[0].start
  }

  private func checkGate(for range: GPARange?) throws(MemoryFault) {
    guard gate?.isOpen ?? true else { throw .notPermitted(range?.start ?? GPA(0)) }
  }

  private func resolve(
    _ address: GPA, _ count: UInt64, writable: Bool
  ) throws(MemoryFault) -> [GPARange] {
    guard gate?.isOpen ?? true else { throw .notPermitted(address) }
    guard let range = GPARange(start: address, count: count) else { throw .outOfRange(address) }
    return try translation?.translate(range, writable: writable) ?? [range]
  }
}
