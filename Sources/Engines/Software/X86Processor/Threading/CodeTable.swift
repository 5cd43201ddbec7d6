/// At each offset in a page, the number of the op of the instruction there, plus one, or zero: in lines of 64 bytes, of
/// which only those take room that hold an instruction.
struct CodeTable {
  private typealias Line = UnsafeMutablePointer<UInt32>
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
      if lines[number] == nil {
        let line = Line.allocate(capacity: Self.lineSize)
        line.initialize(repeating: 0, count: Self.lineSize)
        lines[number] = line
        present |= 1 << UInt64(number)
      }
      lines[number]![offset % Self.lineSize] = newValue
    }
  }

  /// Tells of each number, and forgets it.
  mutating func removeAll(_ body: (UInt32) -> Void) {
    while present != 0 {
      let number = present.trailingZeroBitCount
      present &= present - 1
      guard let line = lines[number] else { continue }
      for place in 0..<Self.lineSize where line[place] != 0 { body(line[place]) }
      line.deallocate()
      lines[number] = nil
    }
  }

  /// Gives its lines back.
  mutating func deallocate() { removeAll { _ in } }
}
