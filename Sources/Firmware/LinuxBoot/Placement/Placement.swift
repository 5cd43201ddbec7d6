/// Finds room for a plan's segments and keeps them apart and inside the guest's RAM.
///
/// What must lie at an address comes first (`put`), then what may go anywhere: small structures
/// to the bottom of the scratch area, large files to the top of RAM.
struct Placement {
  /// What has been placed.
  private(set) var segments: [BootPlan.Segment] = []

  /// The usable ranges, ascending, neighbours joined.
  private let ram: [Range<UInt64>]
  private let scratch: Range<UInt64>
  /// What is taken, by segments and by what a kernel needs behind them.
  private var taken: [(name: String, range: Range<UInt64>)] = []

  init(_ request: BootRequest) throws(BootError) {
    ram = try Self.usable(request.memoryMap)
    // Structures are reached through 32-bit pointers, for which zero means none.
    scratch = request.scratch.clamped(to: 0x1000..<1 << 32)
  }

  // MARK: - At a given address

  /// Puts a segment where the image wants it, with at least `room` bytes from there on for itself.
  mutating func put(
    _ name: String, _ bytes: ArraySlice<UInt8>, zeroFill: UInt64 = 0, at address: UInt64,
    room: UInt64 = 0
  ) throws(BootError) {
    let (count, overflow) = UInt64(bytes.count).addingReportingOverflow(zeroFill)
    try take(name, at: address, size: overflow ? .max : Swift.max(count, room))
    segments.append(.init(name: name, address: address, bytes: bytes, zeroFill: zeroFill))
  }

  private mutating func take(
    _ name: String, at address: UInt64, size count: UInt64
  ) throws(BootError) {
    guard let range = Range(at: address, size: count) else {
      throw .damaged(
        "The \(name) claims \(hex(count)) bytes at \(hex(address)), past the end of all addresses.")
    }
    guard !range.isEmpty else { return }
    guard ram.contains(where: { $0.covers(range) }) else { throw outside(name, range) }
    if let other = taken.first(where: { $0.range.overlaps(range) }) {
      throw .damaged(
        "The \(name) at \(hex(range)) overlaps the \(other.name) at \(hex(other.range)).")
    }
    taken.append((name, range))
  }

  // MARK: - Anywhere

  /// Puts a small structure at the lowest free address of the scratch area.
  mutating func putLow(
    _ name: String, _ bytes: [UInt8], alignment: UInt64 = 16
  ) throws(BootError) -> UInt64 {
    try putLow(name, count: bytes.count, alignment: alignment) { _ in bytes }
  }

  /// The same, for zeroes.
  mutating func putLow(_ name: String, zeroes count: UInt64) throws(BootError) -> UInt64 {
    let address = try lowest(name, count, alignment: 4096)
    try put(name, [], zeroFill: count, at: address)
    return address
  }

  /// The same, for a structure that must know where it lies.
  mutating func putLow(
    _ name: String, count: Int, alignment: UInt64, _ bytes: (UInt64) -> [UInt8]
  ) throws(BootError) -> UInt64 {
    let address = try lowest(name, UInt64(count), alignment: alignment)
    try put(name, bytes(address)[...], at: address)
    return address
  }

  /// Puts a file at the highest free page whose last byte is below `limit`.
  mutating func putHigh(
    _ name: String, _ bytes: [UInt8], below limit: UInt64
  ) throws(BootError) -> UInt64 {
    let count = UInt64(bytes.count)
    for range in ram.reversed() {
      var top = Swift.min(range.upperBound, limit)
      while top >= range.lowerBound, top - range.lowerBound >= count {
        let address = (top - count).aligned(down: 4096)
        guard address >= range.lowerBound else { break }
        guard let obstacle = obstacle(to: address..<address + count) else {
          try put(name, bytes[...], at: address)
          return address
        }
        top = obstacle.lowerBound
      }
    }
    let place = limit > ramSize ? "" : "below \(hex(limit)) "
    throw .doesNotFit(
      "The \(name) has \(size(count)), and so much is not free in one piece \(place)"
        + "in the guest's \(size(ramSize)) of RAM; give it more with --memory.")
  }

  // MARK: - How it looks for room

  private func lowest(
    _ name: String, _ count: UInt64, alignment: UInt64
  ) throws(BootError) -> UInt64 {
    for range in ram {
      let room = range.clamped(to: scratch)
      var next = room.lowerBound
      while let address = next.aligned(up: alignment),
        let wanted = Range(at: address, size: count), room.covers(wanted)
      {
        guard let obstacle = obstacle(to: wanted) else { return address }
        next = obstacle.upperBound
      }
    }
    throw .doesNotFit(
      "The \(name) needs \(size(count)) of RAM within \(hex(scratch)), and no such piece is free.")
  }

  private func obstacle(to range: Range<UInt64>) -> Range<UInt64>? {
    taken.first { $0.range.overlaps(range) }?.range
  }

  private var ramSize: UInt64 { ram.reduce(0) { $0 + ($1.upperBound - $1.lowerBound) } }

  /// Why a range is refused: more memory would help, or nothing would.
  private func outside(_ name: String, _ range: Range<UInt64>) -> BootError {
    let sentence =
      "The \(name) must lie at \(hex(range)), which is not all RAM in this guest of "
      + size(ramSize)
    guard range.lowerBound >= 0x10_0000, range.upperBound <= Self.hole,
      ram.allSatisfy({ $0.lowerBound < Self.hole }),
      let needed = range.upperBound.aligned(up: 1 << 20), ramSize < needed
    else { return .doesNotFit(sentence + ".") }
    return .doesNotFit(sentence + "; give it --memory \(needed >> 20)M or more.")
  }

  /// Where RAM below 4 GiB ends at the latest, whatever the size: above are devices.
  private static let hole: UInt64 = 3 << 30

  /// The usable ranges of a memory map.
  private static func usable(_ map: [MemoryRange]) throws(BootError) -> [Range<UInt64>] {
    var ranges: [Range<UInt64>] = []
    for entry in map where entry.kind == .usable && entry.size > 0 {
      guard let range = Range(at: entry.start, size: entry.size) else {
        throw .badRequest("The memory map's range at \(hex(entry.start)) wraps around.")
      }
      ranges.append(range)
    }
    var joined: [Range<UInt64>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = joined.last, last.upperBound >= range.lowerBound {
        joined[joined.count - 1] =
          last.lowerBound..<Swift.max(last.upperBound, range.upperBound)
      } else {
        joined.append(range)
      }
    }
    return joined
  }
}
