import CHostOS
import Glibc
package import HostOS
import Synchronization

/// The guest's RAM and ROM. Its processors change it at any time, so nothing is lent out: every call
/// copies, once.
///
/// All calls may come from any thread. A region never moves or ends while the object lives.
@safe public final class GuestMemory: @unchecked Sendable {
  // Sendable although it holds raw pointers: regions are fixed at creation, and what they point to is
  // shared with the guest's processors by design.

  /// What the page-wise tables count in.
  @inlinable public static var pageSize: UInt64 { 4096 }

  /// A run of guest physical addresses with host memory behind it.
  package struct Region: Sendable, Hashable {
    package enum Kind: Sendable, Hashable { case ram, rom }
    package let start: GPA
    package let count: UInt64
    package let kind: Kind

    /// `start` and `count` are multiples of the page size; `count` is not zero.
    package init(start: GPA, count: UInt64, kind: Kind = .ram) {
      self.start = start
      self.count = count
      self.kind = kind
    }
  }

  /// A region as the host has it. `page` is the index of its first page in the page-wise tables.
  @usableFromInline struct Mapping {
    @usableFromInline let start: UInt64
    @usableFromInline let count: UInt64
    @usableFromInline let base: UnsafeMutableRawPointer
    @usableFromInline let isWritable: Bool
    @usableFromInline let page: Int
    /// What is there is a file's.
    let isFile: Bool
  }

  package let regions: [Region]
  /// The files behind regions that are not the machine's own, by where they start.
  package let files: [GPA: FileMapping]
  /// Pages written since they were last collected.
  public let dirtyPages: DirtyPages
  /// Lines of memory of which an engine keeps decoded instructions.
  public let watchedLines: WatchedLines
  @usableFromInline let mappings: UnsafeMutableBufferPointer<Mapping>
  /// What holds the memory of those that are not files.
  private let reservations: [ReservedMemory]

  /// Reserves host memory for the regions, which are sorted, page-aligned and do not overlap.
  ///
  /// The host supplies pages when they are first touched; they read as zero.
  ///
  /// - Parameter files: what lies behind some of the regions instead, by their first addresses; each is as long as its
  ///   region.
  package init(
    _ regions: [Region], files: [GPA: FileMapping] = [:]
  ) throws(HostMemoryError) {
    precondition(
      regions.allSatisfy {
        $0.count > 0 && $0.start.rawValue.isMultiple(of: Self.pageSize)
          && $0.count.isMultiple(of: Self.pageSize)
          && $0.count - 1 <= UInt64.max - $0.start.rawValue
      }, "a region of guest memory is not made of whole pages")
    precondition(
      zip(regions, regions.dropFirst()).allSatisfy {
        $0.start < $1.start && $0.count <= $1.start.rawValue - $0.start.rawValue
      }, "regions of guest memory overlap or are not sorted")
    precondition(
      files.allSatisfy { start, file in
        regions.contains { $0.start == start && $0.count == file.count }
      }, "a file of another size than its region of guest memory")
    roost_install_fault_guard()
    let (mappings, reservations) = try Self.reserve(regions, files)
    self.mappings = mappings
    self.reservations = reservations
    self.regions = regions
    self.files = files
    let pages = regions.reduce(0) { $0 + Int($1.count / Self.pageSize) }
    dirtyPages = DirtyPages(pages: pages)
    watchedLines = WatchedLines(pages: pages)
  }

  deinit { mappings.deallocate() }

  /// Host memory for all regions, or for none.
  private static func reserve(
    _ regions: [Region], _ files: [GPA: FileMapping]
  ) throws(HostMemoryError) -> (UnsafeMutableBufferPointer<Mapping>, [ReservedMemory]) {
    var places: [UnsafeMutableRawPointer] = []
    var reservations: [ReservedMemory] = []
    while places.count < regions.count {
      if let file = files[regions[places.count].start] {
        places.append(file.base)
        continue
      }
      let group = together(regions[places.count...], files)
      guard let first = group.first, let last = group.last else { break }
      let start = first.start.rawValue
      let reserved = try ReservedMemory(
        start: start, count: last.start.rawValue - start + last.count)
      reservations.append(reserved)
      for region in group { places.append(reserved.base + Int(region.start.rawValue - start)) }
    }
    let mappings = UnsafeMutableBufferPointer<Mapping>.allocate(capacity: regions.count)
    var page = 0
    for (index, region) in regions.enumerated() {
      mappings.initializeElement(
        at: index,
        to: Mapping(
          start: region.start.rawValue, count: region.count, base: places[index],
          isWritable: region.kind == .ram, page: page, isFile: files[region.start] != nil))
      page += Int(region.count / pageSize)
    }
    return (mappings, reservations)
  }

  /// The first regions, as far as the gaps between them are no longer than a large page: they are reserved as one, so
  /// that the host can have large pages there. Nobody touches the gaps.
  private static func together(
    _ regions: ArraySlice<Region>, _ files: [GPA: FileMapping]
  ) -> ArraySlice<Region> {
    let joined = zip(regions, regions.dropFirst()).prefix { former, next in
      files[next.start] == nil
        && next.start.rawValue - (former.start.rawValue + former.count) <= ReservedMemory.largePage
    }
    return regions.prefix(joined.count + 1)
  }
}

/// The host refused memory for the guest.
package struct HostMemoryError: Error, Sendable, CustomStringConvertible {
  package let bytes: UInt64
  package let code: Int32

  package var description: String {
    "the host refused \(bytes) bytes of memory for the guest: " + String(cString: strerror(code))
  }
}

// MARK: - Single values

extension GuestMemory {
  /// Reads one value, in the guest's byte order (little-endian). Atomic when aligned and at most 8 bytes.
  ///
  /// A value lies in one region: regions that touch do not join for it, only for runs of bytes.
  @inlinable
  public func load<T: BitwiseCopyable>(
    _ type: T.Type = T.self, at address: GPA
  ) throws(MemoryFault) -> T {
    let host = try hostAddress(of: address, count: UInt64(MemoryLayout<T>.size), toWrite: false)
    return host.loadUnaligned(as: T.self)
  }

  /// Writes one value; the counterpart of `load`.
  @inlinable
  public func store<T: BitwiseCopyable>(_ value: T, at address: GPA) throws(MemoryFault) {
    let host = try hostAddress(of: address, count: UInt64(MemoryLayout<T>.size), toWrite: true)
    host.storeBytes(of: value, as: T.self)
    noteWrite(at: address, count: UInt64(MemoryLayout<T>.size))
  }

  /// Reads an index of a ring that the guest writes, before reading what it announces.
  ///
  /// - Throws: `.outOfRange` also when the address is odd.
  package func loadAcquiring(at address: GPA) throws(MemoryFault) -> UInt16 {
    try sharedWord(at: address, toWrite: false).pointee.load(ordering: .acquiring)
  }

  /// Writes an index of a ring that the guest reads, after writing what it announces.
  package func storeReleasing(_ value: UInt16, at address: GPA) throws(MemoryFault) {
    try sharedWord(at: address, toWrite: true).pointee.store(value, ordering: .releasing)
    noteWrite(at: address, count: 2)
  }

  private func sharedWord(
    at address: GPA, toWrite: Bool
  ) throws(MemoryFault) -> UnsafeMutablePointer<Atomic<UInt16>> {
    guard address.rawValue.isMultiple(of: 2) else { throw .outOfRange(address) }
    return try hostAddress(of: address, count: 2, toWrite: toWrite)
      .assumingMemoryBound(to: Atomic<UInt16>.self)
  }
}

// MARK: - Runs of bytes

extension GuestMemory {
  /// Fills `bytes` from guest memory. The range may cross regions that touch.
  package func read(into bytes: inout MutableSpan<UInt8>, at address: GPA) throws(MemoryFault) {
    let count = bytes.count
    try bytes.withUnsafeMutableBufferPointer { (buffer) throws(MemoryFault) in
      try forEachRun(at: address, count: UInt64(count), toWrite: false) {
        (host, offset, length, gpa) throws(MemoryFault) in
        guard roost_copy(buffer.baseAddress! + offset, host, length) == 0 else {
          throw .hostFailed(gpa)
        }
      }
    }
  }

  /// Copies `bytes` to guest memory. Nothing is written unless the whole range is writable RAM.
  package func write(_ bytes: Span<UInt8>, at address: GPA) throws(MemoryFault) {
    try bytes.withUnsafeBufferPointer { (buffer) throws(MemoryFault) in
      try write(UnsafeRawBufferPointer(buffer), at: address, toROM: false)
    }
  }

  /// `count` bytes, copied out. Nothing is allocated unless there is memory in the whole range.
  package func bytes(at address: GPA, count: Int) throws(MemoryFault) -> [UInt8] {
    try check(address, count: UInt64(count), toWrite: false)
    var result = [UInt8](repeating: 0, count: count)
    var span = result.mutableSpan
    try read(into: &span, at: address)
    return result
  }

  /// Copies `bytes` to guest memory.
  package func write(_ bytes: [UInt8], at address: GPA) throws(MemoryFault) {
    try write(bytes.span, at: address)
  }

  /// Fills ROM (or RAM) with its content: for whoever builds or restores the machine, never for a device. What is a
  /// file's stays as it is.
  package func install(_ bytes: [UInt8], at address: GPA) throws(MemoryFault) {
    try forEachRun(at: address, count: UInt64(bytes.count), toWrite: false) {
      (_, _, _, gpa) throws(MemoryFault) in
      if mapping(holding: gpa.rawValue)?.isFile == true { throw .readOnly(gpa) }
    }
    try bytes.span.withUnsafeBufferPointer { (buffer) throws(MemoryFault) in
      try write(UnsafeRawBufferPointer(buffer), at: address, toROM: true)
    }
  }

  private func write(
    _ buffer: UnsafeRawBufferPointer, at address: GPA, toROM: Bool
  ) throws(MemoryFault) {
    let count = UInt64(buffer.count)
    guard let source = buffer.baseAddress else { return }
    try check(address, count: count, toWrite: !toROM)
    try forEachRun(at: address, count: count, toWrite: !toROM) {
      (host, offset, length, gpa) throws(MemoryFault) in
      let status = roost_copy(host, source + offset, length)
      noteWrite(at: gpa, count: UInt64(length))  // also of what was copied before a failure
      guard status == 0 else { throw .hostFailed(gpa) }
    }
  }

  /// Sets `count` bytes to one value.
  package func fill(_ value: UInt8, at address: GPA, count: UInt64) throws(MemoryFault) {
    try check(address, count: count, toWrite: true)
    try forEachRun(at: address, count: count, toWrite: true) {
      (host, _, length, gpa) throws(MemoryFault) in
      let status = roost_fill(host, value, length)
      noteWrite(at: gpa, count: UInt64(length))
      guard status == 0 else { throw .hostFailed(gpa) }
    }
  }

  /// Refuses a range that `forEachRun` would refuse at its first run or a later one.
  func check(_ address: GPA, count: UInt64, toWrite: Bool) throws(MemoryFault) {
    try forEachRun(at: address, count: count, toWrite: toWrite) {
      (_, _, _, _) throws(MemoryFault) in
    }
  }

  /// Visits the host runs behind a range, in order.
  private func forEachRun(
    at address: GPA, count: UInt64, toWrite: Bool,
    _ body: (UnsafeMutableRawPointer, Int, Int, GPA) throws(MemoryFault) -> Void
  ) throws(MemoryFault) {
    var done: UInt64 = 0
    while done < count {
      let (current, overflow) = address.rawValue.addingReportingOverflow(done)
      guard !overflow, let mapping = mapping(holding: current) else {
        throw .outOfRange(address)
      }
      guard !toWrite || mapping.isWritable else { throw .readOnly(GPA(current)) }
      let offset = current - mapping.start
      let length = min(count - done, mapping.count - offset)
      try body(mapping.base + Int(offset), Int(done), Int(length), GPA(current))
      done += length
    }
  }
}

// MARK: - Scatter lists

extension GuestMemory {
  /// Resolves ranges for host I/O; all of them or none. Whoever writes says so by `noteWritten`.
  package func buffers(_ ranges: [GPARange], writable: Bool) throws(MemoryFault) -> GuestBuffers {
    var parts: [UnsafeMutableRawBufferPointer] = []
    parts.reserveCapacity(ranges.count)
    for range in ranges {
      try forEachRun(at: range.start, count: range.count, toWrite: writable) {
        (host, _, length, _) throws(MemoryFault) in
        parts.append(UnsafeMutableRawBufferPointer(start: host, count: length))
      }
    }
    return GuestBuffers(parts: parts, ranges: ranges, memory: self)
  }
}

// MARK: - Files

extension GuestMemory {
  /// Where the guest finds a file; `nil`: nowhere.
  package func range(of file: FileMapping) -> GPARange? {
    guard let (start, file) = files.first(where: { $0.value === file }) else { return nil }
    return GPARange(start: start, count: file.count)
  }

  /// Looks for files that became too short, for a caller who could not reach memory and does not know which. Answers
  /// whether some memory can be reached now that could not before.
  package func mendFiles() -> Bool {
    files.values.reduce(false) { $1.mend() || $0 }
  }
}

// MARK: - For engines

extension GuestMemory {
  /// Where a page of guest memory lies in the host: for engines, which carry the guest's own accesses.
  public struct HostPage {
    /// Its first byte in the host.
    public let base: UnsafeMutableRawPointer
    /// Whether it is RAM.
    public let isWritable: Bool
    /// Index into `dirtyPages` and `watchedLines`.
    public let index: Int

    @usableFromInline
    init(base: UnsafeMutableRawPointer, isWritable: Bool, index: Int) {
      self.base = base
      self.isWritable = isWritable
      self.index = index
    }
  }

  /// The page that holds `address`; `nil` where there is no memory.
  @inlinable
  public func hostPage(holding address: GPA) -> HostPage? {
    guard let mapping = mapping(holding: address.rawValue) else { return nil }
    let offset = (address.rawValue &- mapping.start) & ~(Self.pageSize &- 1)
    return HostPage(
      base: mapping.base + Int(truncatingIfNeeded: offset), isWritable: mapping.isWritable,
      index: mapping.page &+ Int(truncatingIfNeeded: offset / Self.pageSize))
  }

  /// The guest physical address of a page, by its index.
  package func address(ofPage index: Int) -> GPA {
    for mapping in mappings
    where index >= mapping.page && index < mapping.page + Int(mapping.count / Self.pageSize) {
      return GPA(mapping.start + UInt64(index - mapping.page) * Self.pageSize)
    }
    preconditionFailure("a page index of another memory")
  }

  @inlinable
  func mapping(holding address: UInt64) -> Mapping? {
    for index in 0..<mappings.count {
      let mapping = mappings[index]
      if address &- mapping.start < mapping.count { return mapping }
    }
    return nil
  }

  @inlinable
  func hostAddress(
    of address: GPA, count: UInt64, toWrite: Bool
  ) throws(MemoryFault) -> UnsafeMutableRawPointer {
    guard let mapping = mapping(holding: address.rawValue) else { throw .outOfRange(address) }
    let offset = address.rawValue &- mapping.start
    guard count <= mapping.count &- offset else { throw .outOfRange(address) }
    guard !toWrite || mapping.isWritable else { throw .readOnly(address) }
    return mapping.base + Int(truncatingIfNeeded: offset)
  }

  /// Records that bytes changed: for dirty tracking, and for engines that hold code decoded from them.
  @usableFromInline
  func noteWrite(at address: GPA, count: UInt64) {
    guard count > 0 else { return }
    var current = address.rawValue
    let last = current &+ (count &- 1)
    while true {
      let end = min(last, current | (Self.pageSize &- 1))
      if let page = hostPage(holding: GPA(current)) {
        dirtyPages.mark(page.index)
        watchedLines.noteWrite(
          page: page.index, from: Int(current & (Self.pageSize - 1)),
          through: Int(end & (Self.pageSize - 1)))
      }
      if end == last { return }
      current = end &+ 1
    }
  }
}
