import Glibc
import Memory

/// Compares the content of two images of any format.
package struct ImageComparison: Sendable {
  /// Whether images of different sizes differ even if what one has more is zero.
  package var isStrict = false

  package init() {}

  package enum Outcome: Sendable, Equatable {
    case identical
    /// The first byte that differs; a byte beyond an image's end counts as zero.
    case differs(at: UInt64)
    case sizesDiffer
    /// It was ended before its end, and no difference had been found.
    case ended
  }

  /// Compares all bytes, or up to the first that differs.
  ///
  /// - Parameter goesOn: hears of progress after each piece; `false` ends the comparison.
  package func run(
    _ first: any DiskImage, _ second: any DiskImage, goesOn: (ImageCopy.Progress) -> Bool
  ) throws(ImageError) -> Outcome {
    if isStrict, first.size != second.size { return .sizesDiffer }
    let total = max(first.size, second.size)
    do throws(DiskError) {
      let sides = (Side(first), Side(second))
      var offset: UInt64 = 0
      while offset < total {
        let zeroes = try (sides.0.zeroes(from: offset), sides.1.zeroes(from: offset))
        var end = min(zeroes.0, zeroes.1)
        if end == offset {
          end = min(offset + UInt64(pieceSize), total)
          let count = Int(end - offset)
          try sides.0.read(count, at: offset)
          try sides.1.read(count, at: offset)
          if let difference = sides.0.difference(from: sides.1, in: count) {
            return .differs(at: offset + UInt64(difference))
          }
        }
        offset = min(end, total)
        guard goesOn(.init(done: offset, total: total)) else { return .ended }
      }
      return .identical
    } catch {
      throw .disk(error)
    }
  }
}

/// One of the images, with the bytes looked at now. Beyond its end it is zeroes for ever.
private struct Side {
  private let image: any DiskImage
  private let buffer = HostBuffer(count: pieceSize)

  init(_ image: any DiskImage) { self.image = image }

  /// Where zeroes end that begin at an offset and are known without looking; the offset itself if there are none.
  func zeroes(from offset: UInt64) throws(DiskError) -> UInt64 {
    guard offset < image.size else { return .max }
    let extent = try image.extent(at: offset)
    return extent.kind == .zero ? extent.range.upperBound : offset
  }

  func read(_ count: Int, at offset: UInt64) throws(DiskError) {
    let stored = offset < image.size ? Int(min(image.size - offset, UInt64(count))) : 0
    let bytes = buffer.buffers
    if stored > 0 { try image.read(into: bytes.slice(0..<stored), at: offset) }
    if stored < count { try bytes.slice(stored..<count).zero() }
  }

  func difference(from other: Side, in count: Int) -> Int? {
    let (mine, theirs) = (buffer.bytes, other.buffer.bytes)
    if memcmp(mine.baseAddress!, theirs.baseAddress!, count) == 0 { return nil }
    return (0..<count).first { mine[$0] != theirs[$0] }
  }
}
