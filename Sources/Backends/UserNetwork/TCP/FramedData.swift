/// Data of a stream as it lies in the frames that it left in: pieces of one size, each behind headers of one length, in one
/// array.
struct FramedData {
  private let storage: [UInt8]
  private let headLength: Int
  private let pieceSize: Int
  /// Which bytes of the data in `storage` these are, counted without headers.
  private var range: Range<Int>
  /// How many there are in `storage`.
  private let total: Int

  /// All the data of the frames in `storage`; the last piece may be shorter.
  init(_ storage: [UInt8], behind headLength: Int, piecesOf pieceSize: Int) {
    self.storage = storage
    self.headLength = headLength
    self.pieceSize = pieceSize
    let step = headLength + pieceSize
    total = storage.count - (storage.count + step - 1) / step * headLength
    range = 0..<total
  }

  static let none = FramedData([], behind: 0, piecesOf: 1)

  var count: Int { range.count }
  var isEmpty: Bool { range.isEmpty }

  /// Host memory that is let go with this part: whatever else of the array has been let go before.
  var cost: Int { range.upperBound == total ? storage.count : 0 }

  mutating func removeFirst(_ number: Int) {
    range = range.lowerBound + min(number, range.count)..<range.upperBound
  }

  /// Cuts off all but the first bytes, and answers what was cut off.
  mutating func cut(to number: Int) -> FramedData {
    let middle = range.lowerBound + min(number, range.count)
    var rest = self
    rest.range = middle..<range.upperBound
    range = range.lowerBound..<middle
    return rest
  }

  /// Appends the bytes, without what stands between them.
  func append(to bytes: inout [UInt8]) {
    var place = range.lowerBound
    while place < range.upperBound {
      let (piece, offset) = place.quotientAndRemainder(dividingBy: pieceSize)
      let count = min(pieceSize - offset, range.upperBound - place)
      let start = piece * (headLength + pieceSize) + headLength + offset
      bytes += storage[start..<start + count]
      place += count
    }
  }
}
