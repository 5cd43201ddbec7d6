import Glibc

/// At each offset in a page, the number of the op of the instruction there, plus one, or zero: in lines of 64 bytes, of
/// which only those take room that hold an instruction.
struct CodeTable {
  private static let lineSize = 64
  private var lines = InlineArray<64, Line?>(repeating: nil)
  /// Which lines there are, a bit each.
  private var present: UInt64 = 0

  subscript(offset: Int) -> UInt32 {
    get {
      guard let line = lines[offset / Self.lineSize] else { return 0 }
      return line[offset % Self.lineSize]
    }
    set {
      let number = offset / Self.lineSize
      var line = lines[number] ?? Line()
      line.set(newValue, at: offset % Self.lineSize)
      lines[number] = line
      present |= 1 << UInt64(number)
    }
  }

  /// Tells of each number, and forgets it.
  mutating func removeAll(_ body: (UInt32) -> Void) {
    while present != 0 {
      let number = present.trailingZeroBitCount
      present &= present - 1
      guard let line = lines[number] else { continue }
      line.forEach(body)
      line.deallocate()
      lines[number] = nil
    }
  }

  /// Gives its lines back.
  mutating func deallocate() { removeAll { _ in } }
}

/// The numbers at 64 places, of which most are zero: a bit for each place, then the numbers at those whose bit is set.
private struct Line {
  private var memory: UnsafeMutableRawPointer
  /// By how many numbers it grows.
  private static let growth = 4

  init() {
    memory = Self.resized(nil, 0)
    places = 0
  }

  private var places: UInt64 {
    get { memory.load(as: UInt64.self) }
    nonmutating set { memory.storeBytes(of: newValue, as: UInt64.self) }
  }

  private var numbers: UnsafeMutablePointer<UInt32> {
    (memory + 8).assumingMemoryBound(to: UInt32.self)
  }

  private static func resized(
    _ memory: UnsafeMutableRawPointer?, _ count: Int
  ) -> UnsafeMutableRawPointer {
    guard let memory = realloc(memory, 8 + 4 * count) else {
      preconditionFailure("the host refused memory for decoded code")
    }
    return memory
  }

  subscript(place: Int) -> UInt32 {
    let bit: UInt64 = 1 << UInt64(place)
    guard places & bit != 0 else { return 0 }
    return numbers[(places & (bit - 1)).nonzeroBitCount]
  }

  mutating func set(_ number: UInt32, at place: Int) {
    let bit: UInt64 = 1 << UInt64(place)
    let index = (places & (bit - 1)).nonzeroBitCount
    if places & bit == 0 {
      let count = places.nonzeroBitCount
      if count % Self.growth == 0 { memory = Self.resized(memory, count + Self.growth) }
      (numbers + index + 1).update(from: numbers + index, count: count - index)
      places |= bit
    }
    numbers[index] = number
  }

  func forEach(_ body: (UInt32) -> Void) {
    for index in 0..<places.nonzeroBitCount { body(numbers[index]) }
  }

  func deallocate() { free(memory) }
}
