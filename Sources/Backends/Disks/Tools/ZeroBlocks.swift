/// Looks for zeroes in memory of our own.
enum ZeroBlocks {
  /// Whether all bytes are zero.
  static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
    let words = bytes.count / 64
    for index in 0..<words {
      let place = index * 64
      let four =
        bytes.loadUnaligned(fromByteOffset: place, as: SIMD4<UInt64>.self)
        | bytes.loadUnaligned(fromByteOffset: place + 32, as: SIMD4<UInt64>.self)
      if four != .zero { return false }
    }
    return bytes[(words * 64)...].allSatisfy { $0 == 0 }
  }

  /// Cuts memory into runs of blocks that are all zero or all not, in order.
  ///
  /// - Parameter visit: gets each run, and whether it is zero.
  static func forEachRun<E: Error>(
    of block: Int, in bytes: UnsafeRawBufferPointer,
    _ visit: (Range<Int>, Bool) throws(E) -> Void
  ) throws(E) {
    var start = 0
    var isZero = false
    var position = 0
    while position < bytes.count {
      let end = min(position + block, bytes.count)
      let isNextZero = Self.isZero(UnsafeRawBufferPointer(rebasing: bytes[position..<end]))
      if position > start, isNextZero != isZero {
        try visit(start..<position, isZero)
        start = position
      }
      isZero = isNextZero
      position = end
    }
    if position > start { try visit(start..<position, isZero) }
  }
}
