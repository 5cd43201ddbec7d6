import Memory

/// Guest memory as anybody would write it down: an array for each region, and one byte after another.
struct MemoryModel {
  let regions: [GuestMemory.Region]
  private(set) var contents: [[UInt8]]
  private(set) var dirtyPages: Set<Int> = []

  init(_ regions: [GuestMemory.Region]) {
    self.regions = regions
    contents = regions.map { [UInt8](repeating: 0, count: Int($0.count)) }
  }

  struct Place {
    let region: Int
    let offset: Int
  }

  func place(of address: UInt64) -> Place? {
    let region = regions.firstIndex {
      address >= $0.start.rawValue && address - $0.start.rawValue < $0.count
    }
    return region.map { Place(region: $0, offset: Int(address - regions[$0].start.rawValue)) }
  }

  /// Where each byte of a run lies. The first byte that may not be reached says why.
  private func places(
    at address: GPA, count: UInt64, toWrite: Bool
  ) throws(MemoryFault) -> [Place] {
    var places: [Place] = []
    for index in 0..<count {
      let (current, overflow) = address.rawValue.addingReportingOverflow(index)
      guard !overflow, let place = place(of: current) else { throw .outOfRange(address) }
      guard !toWrite || regions[place.region].kind == .ram else { throw .readOnly(GPA(current)) }
      places.append(place)
    }
    return places
  }

  func read(at address: GPA, count: UInt64) throws(MemoryFault) -> [UInt8] {
    try places(at: address, count: count, toWrite: false).map { contents[$0.region][$0.offset] }
  }

  mutating func write(
    _ bytes: [UInt8], at address: GPA, toROM: Bool = false
  ) throws(MemoryFault) {
    let places = try places(at: address, count: UInt64(bytes.count), toWrite: !toROM)
    for (place, byte) in zip(places, bytes) { write(byte, place) }
  }

  mutating func fill(_ value: UInt8, at address: GPA, count: UInt64) throws(MemoryFault) {
    for place in try places(at: address, count: count, toWrite: true) { write(value, place) }
  }

  /// Single values lie in one region, and say "out of range" before "read-only".
  func checkValue(at address: GPA, count: Int, toWrite: Bool) throws(MemoryFault) {
    guard let place = place(of: address.rawValue),
      UInt64(place.offset + count) <= regions[place.region].count
    else { throw .outOfRange(address) }
    guard !toWrite || regions[place.region].kind == .ram else { throw .readOnly(address) }
  }

  private mutating func write(_ byte: UInt8, _ place: Place) {
    contents[place.region][place.offset] = byte
    let pagesBefore = regions[..<place.region].reduce(0) { $0 + $1.count / GuestMemory.pageSize }
    dirtyPages.insert(Int(pagesBefore) + place.offset / Int(GuestMemory.pageSize))
  }

  mutating func takeDirtyPages() -> [Int] {
    defer { dirtyPages = [] }
    return dirtyPages.sorted()
  }
}
