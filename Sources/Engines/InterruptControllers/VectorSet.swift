/// A set of interrupt vectors: one of the 256-bit registers ISR, TMR and IRR.
///
/// - SeeAlso: Intel SDM Vol. 3A §11.8.4 "Interrupt Acceptance for Fixed Interrupts".
struct VectorSet: Sendable, Equatable {
  /// As the guest reads them: 32 vectors a word, the lowest first.
  private(set) var words: [8 of UInt32] = .init(repeating: 0)

  init() {}

  subscript(word index: Int) -> UInt32 {
    get { words[index] }
    set { words[index] = newValue }
  }

  func contains(_ vector: UInt8) -> Bool { words[Int(vector >> 5)] & bit(vector) != 0 }

  mutating func insert(_ vector: UInt8) { words[Int(vector >> 5)] |= bit(vector) }

  mutating func remove(_ vector: UInt8) { words[Int(vector >> 5)] &= ~bit(vector) }

  /// The vector of the highest priority.
  var highest: UInt8? {
    for index in words.indices.reversed() where words[index] != 0 {
      return UInt8(index * 32 + 31 - words[index].leadingZeroBitCount)
    }
    return nil
  }

  /// All of them, the lowest first.
  var vectors: [UInt8] { (0...UInt8.max).filter { contains($0) } }

  private func bit(_ vector: UInt8) -> UInt32 { 1 &<< UInt32(vector & 31) }

  static func == (a: Self, b: Self) -> Bool {
    a.words.indices.allSatisfy { a.words[$0] == b.words[$0] }
  }
}
