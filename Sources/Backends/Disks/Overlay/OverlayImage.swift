package import Memory
import Synchronization

/// What a guest writes over an image, kept in memory: the image beneath stays as it is, and what was written is
/// forgotten with the machine. Flushes succeed and keep nothing, as there is nothing that could be kept.
///
/// It takes memory for what was written, in chunks, and at most for the whole disk; over a `ZeroImage` it is a disk in
/// memory.
package final class OverlayImage: DiskImage {
  package let beneath: any DiskImage
  package let size: UInt64
  /// Bytes of chunks at most; a write that needs more finds no space.
  package let limit: UInt64
  private let state = Mutex(State())

  private struct State {
    /// By number; where there is none, what lies beneath shows.
    var pieces: [UInt64: Piece] = [:]
    var chunks: UInt64 = 0
  }

  static let chunkSize: UInt64 = 64 << 10

  package init(over beneath: any DiskImage, limit: UInt64 = .max) {
    self.beneath = beneath
    size = beneath.size
    self.limit = limit
  }

  package var isReadOnly: Bool { false }
  package var alignment: Int { beneath.alignment }
  package var clusterSize: Int { Int(Self.chunkSize) }

  /// Bytes of memory that chunks take now.
  package var storage: UInt64 { state.withLock { $0.chunks * Self.chunkSize } }
}

private enum Piece {
  case bytes(Chunk)
  /// Zeroes, which take no memory.
  case zeroes
}

/// A run of bytes that stand in front of the image beneath, once they are filled.
///
/// Whoever is the first to write into a part of one fills it under its lock; then all write without: parts that do not
/// overlap do not disturb each other, and those that do have no order.
private final class Chunk: Sendable {
  let memory: HostBuffer
  let isFilled: Atomic<Bool>
  let filling = Mutex(())

  init(count: UInt64, isFilled: Bool) {
    memory = HostBuffer(count: Int(count))
    self.isFilled = Atomic(isFilled)
  }

  func bytes(_ range: Range<UInt64>) -> UnsafeMutableRawBufferPointer {
    UnsafeMutableRawBufferPointer(
      rebasing: memory.bytes[Int(range.lowerBound)..<Int(range.upperBound)])
  }
}

// MARK: - Reading and writing

extension OverlayImage {
  package func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    _ = try read(into: buffers, at: offset, atOnce: false)
  }

  package func readAtOnce(
    into buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) -> Bool {
    try read(into: buffers, at: offset, atOnce: true)
  }

  private func read(
    into buffers: GuestBuffers, at offset: UInt64, atOnce: Bool
  ) throws(DiskError) -> Bool {
    var rest = try range(at: offset, count: buffers.count)
    while !rest.isEmpty {
      let (run, source) = nextRun(of: rest)
      let part = buffers.slice(
        Int(run.lowerBound - offset)..<Int(run.lowerBound - offset) + Int(run.length))
      switch source {
      case .bytes(let chunk):
        let inside = offsets(of: run, in: run.lowerBound / Self.chunkSize)
        try part.copy(UnsafeRawBufferPointer(chunk.bytes(inside)), to: 0)
      case .zeroes: try part.zero()
      case nil where atOnce:
        guard try beneath.readAtOnce(into: part, at: run.lowerBound) else { return false }
      case nil: try beneath.read(into: part, at: run.lowerBound)
      }
      rest = run.upperBound..<rest.upperBound
    }
    return true
  }

  /// The first part of a range that comes from one place: a piece of ours, or, as far as there is none, the image
  /// beneath.
  private func nextRun(of range: Range<UInt64>) -> (Range<UInt64>, Piece?) {
    state.withLock { state in
      func piece(_ index: UInt64) -> Piece? {
        switch state.pieces[index] {
        case .bytes(let chunk) where !chunk.isFilled.load(ordering: .acquiring): nil
        case let piece: piece
        }
      }
      var index = range.lowerBound / Self.chunkSize
      let first = piece(index)
      let last = (range.upperBound - 1) / Self.chunkSize
      if first == nil { while index < last, piece(index + 1) == nil { index += 1 } }
      let end = index == last ? range.upperBound : (index + 1) * Self.chunkSize
      return (range.lowerBound..<end, first)
    }
  }

  package func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    _ = try write(buffers, at: offset, atOnce: false)
  }

  package func writeDurably(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try write(buffers, at: offset)
  }

  package func writeAtOnce(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) -> Bool {
    try write(buffers, at: offset, atOnce: true)
  }

  private func write(
    _ buffers: GuestBuffers, at offset: UInt64, atOnce: Bool
  ) throws(DiskError) -> Bool {
    try change(range(at: offset, count: buffers.count), atOnce: atOnce) {
      (part, target) throws(DiskError) in
      try buffers.copy(from: Int(part.lowerBound - offset), to: target)
    }
  }

  /// Has `body` write each part of a range into its chunk; `false`: what lies beneath could not be read at once.
  private func change(
    _ range: Range<UInt64>, atOnce: Bool,
    _ body: (Range<UInt64>, UnsafeMutableRawBufferPointer) throws(DiskError) -> Void
  ) throws(DiskError) -> Bool {
    var rest = range
    while !rest.isEmpty {
      let index = rest.lowerBound / Self.chunkSize
      let extent = extent(of: index)
      let part = rest.lowerBound..<min(rest.upperBound, extent.upperBound)
      let chunk = try chunk(index)
      let target = chunk.bytes(offsets(of: part, in: index))
      if chunk.isFilled.load(ordering: .acquiring) {
        try body(part, target)
      } else {
        let isDone = try chunk.filling.withLock { (_) throws(DiskError) in
          if !chunk.isFilled.load(ordering: .acquiring), part != extent,
            try !readBeneath(into: chunk.memory.buffers, at: extent.lowerBound, atOnce: atOnce)
          {
            return false
          }
          // A chunk is seen by others once it is whole.
          try body(part, target)
          chunk.isFilled.store(true, ordering: .releasing)
          return true
        }
        guard isDone else { return false }
      }
      rest = part.upperBound..<rest.upperBound
    }
    return true
  }

  private func readBeneath(
    into buffers: GuestBuffers, at offset: UInt64, atOnce: Bool
  ) throws(DiskError) -> Bool {
    if atOnce { return try beneath.readAtOnce(into: buffers, at: offset) }
    try beneath.read(into: buffers, at: offset)
    return true
  }

  private func chunk(_ index: UInt64) throws(DiskError) -> Chunk {
    try state.withLock { (state) throws(DiskError) in
      let piece = state.pieces[index]
      if case .bytes(let chunk) = piece { return chunk }
      guard (state.chunks + 1) * Self.chunkSize <= limit else { throw .noSpace }
      let chunk = Chunk(count: extent(of: index).length, isFilled: piece != nil)
      state.pieces[index] = .bytes(chunk)
      state.chunks += 1
      return chunk
    }
  }

  private func extent(of index: UInt64) -> Range<UInt64> {
    index * Self.chunkSize..<min((index + 1) * Self.chunkSize, size)
  }

  private func offsets(of range: Range<UInt64>, in index: UInt64) -> Range<UInt64> {
    range.lowerBound - index * Self.chunkSize..<range.upperBound - index * Self.chunkSize
  }
}

// MARK: - Everything else

extension OverlayImage {
  package func flush() {}

  /// Whole chunks read as zeroes, and their memory is given back; the rest stays as it is.
  package func discard(_ range: Range<UInt64>) throws(DiskError) {
    try check(range)
    forget(range.rounded(inwardTo: Self.chunkSize))
  }

  package func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    try check(range)
    let whole = range.rounded(inwardTo: Self.chunkSize)
    let edges =
      whole.isEmpty
      ? [range]
      : [range.lowerBound..<whole.lowerBound, whole.upperBound..<range.upperBound]
    for edge in edges {
      _ = try change(edge, atOnce: false) { (_, target) in
        target.initializeMemory(as: UInt8.self, repeating: 0)
      }
    }
    forget(whole)
  }

  /// Makes whole chunks zeroes.
  private func forget(_ range: Range<UInt64>) {
    var index = range.lowerBound / Self.chunkSize
    while index < range.upperBound / Self.chunkSize {
      // Memory is given back outside the lock, and the lock between any two.
      let old = state.withLock { state -> Piece? in
        let old = state.pieces.updateValue(.zeroes, forKey: index)
        if case .bytes = old { state.chunks -= 1 }
        return old
      }
      _ = consume old
      index += 1
    }
  }

  package func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    guard offset < size else { throw .outOfRange }
    // Looked at piece by piece, so that the table is not held for long.
    let (run, source) = nextRun(of: offset..<min(size, offset + 1024 * Self.chunkSize))
    switch source {
    case .bytes: return DiskExtent(run, .data)
    case .zeroes: return DiskExtent(run, .zero)
    case nil:
      let below = try beneath.extent(at: offset)
      let kind: DiskExtent.Kind = below.kind == .zero ? .zero : .absent
      return DiskExtent(below.range.clamped(to: run), kind)
    }
  }
}
