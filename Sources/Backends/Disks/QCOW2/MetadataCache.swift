/// A piece of an image's metadata in memory: part of a table, never across a cluster's border.
final class MetadataPiece {
  fileprivate(set) var offset: UInt64
  let memory: UnsafeMutableRawPointer
  fileprivate(set) var kind = Kind.mapping
  fileprivate(set) var isDirty = false
  /// A copy of it is on its way to the file; it must stay until it is there.
  fileprivate var isBeingWritten = false
  fileprivate var wasUsed = true

  /// What a piece is part of: this decides when it may be written.
  enum Kind { case refcounts, refcountTable, mapping }

  fileprivate init(offset: UInt64, size: Int) {
    self.offset = offset
    memory = .allocate(byteCount: size, alignment: 4096)
  }

  deinit { memory.deallocate() }
}

/// The metadata of one image that are held in memory: L1 and L2 tables, refcount table and blocks alike, so that no
/// header can claim more memory than this has.
///
/// Changes stay here until they are taken to be written. Whoever calls holds the image's lock.
final class MetadataCache {
  private let file: any ImageFile
  let pieceSize: Int
  private let capacity: Int
  private var pieces: [MetadataPiece] = []
  private var byOffset: [UInt64: MetadataPiece] = [:]
  /// The pieces last used, by a hash of their place: found without the dictionary.
  private var recent: [MetadataPiece?]
  private var hand = 0
  private(set) var dirtyCount = 0
  private var dirty: [MetadataPiece] = []

  init(_ file: any ImageFile, pieceSize: Int, bytes: Int) {
    self.file = file
    self.pieceSize = pieceSize
    capacity = max(16, bytes / pieceSize)
    recent = Array(repeating: nil, count: 64)
  }

  /// Whether changes should be written now rather than later.
  var isCrowded: Bool { dirtyCount > capacity / 4 }

  /// The piece that holds the byte at `offset`, read if it is not there.
  @inline(__always)
  func piece(at offset: UInt64) throws(DiskError) -> MetadataPiece {
    if let piece = cached(at: offset) { return piece }
    return try load(offset & ~UInt64(pieceSize - 1))
  }

  /// The piece that holds the byte at `offset`, if it is there.
  @inline(__always)
  func cached(at offset: UInt64) -> MetadataPiece? {
    let start = offset & ~UInt64(pieceSize - 1)
    let slot = Int(truncatingIfNeeded: (start / UInt64(pieceSize)) & 63)
    if let piece = recent[slot], piece.offset == start { return piece }
    guard let piece = byOffset[start] else { return nil }
    piece.wasUsed = true
    recent[slot] = piece
    return piece
  }

  func number<T: FixedWidthInteger & BitwiseCopyable>(
    _ type: T.Type, at offset: UInt64
  ) throws(DiskError) -> T {
    try piece(at: offset).memory.big(type, at: Int(offset & UInt64(pieceSize - 1)))
  }

  func store<T: FixedWidthInteger & BitwiseCopyable>(
    _ value: T, at offset: UInt64, _ kind: MetadataPiece.Kind
  ) throws(DiskError) {
    let piece = try piece(at: offset)
    piece.memory.storeBig(value, at: Int(offset & UInt64(pieceSize - 1)))
    markDirty(piece, kind)
  }

  func markDirty(_ piece: MetadataPiece, _ kind: MetadataPiece.Kind) {
    piece.kind = kind
    if !piece.isDirty {
      piece.isDirty = true
      dirtyCount += 1
      dirty.append(piece)
    }
  }

  /// Drops what is held of a range of the file, changes too: it has become something else.
  func forget(_ range: Range<UInt64>) {
    for start in stride(from: range.lowerBound, to: range.upperBound, by: pieceSize) {
      guard let piece = byOffset.removeValue(forKey: start) else { continue }
      if piece.isDirty { dirtyCount -= 1 }
      piece.isDirty = false
      piece.offset = .max
      pieces.removeAll { $0 === piece }
    }
    hand = 0
  }

  /// Drops all that is held, which must be clean.
  func forgetAll() {
    for piece in pieces { piece.offset = .max }
    pieces = []
    byOffset = [:]
    recent = Array(repeating: nil, count: recent.count)
    hand = 0
  }

  private func load(_ start: UInt64) throws(DiskError) -> MetadataPiece {
    let piece = MetadataPiece(offset: start, size: pieceSize)
    try file.read([UnsafeMutableRawBufferPointer(start: piece.memory, count: pieceSize)], at: start)
    if pieces.count < capacity {
      pieces.append(piece)
    } else if let victim = chooseVictim() {
      byOffset[pieces[victim].offset] = nil
      pieces[victim].offset = .max
      pieces[victim] = piece
    } else {
      pieces.append(piece)
    }
    byOffset[start] = piece
    recent[Int(truncatingIfNeeded: (start / UInt64(pieceSize)) & 63)] = piece
    return piece
  }

  /// A clean piece that was not used of late.
  private func chooseVictim() -> Int? {
    for _ in 0..<2 * pieces.count {
      hand = hand + 1 < pieces.count ? hand + 1 : 0
      let piece = pieces[hand]
      if piece.isDirty || piece.isBeingWritten { continue }
      if !piece.wasUsed { return hand }
      piece.wasUsed = false
    }
    return nil
  }

  // MARK: - Taking changes to the file

  /// Copies of changed pieces, to be written outside the lock.
  struct Changes {
    fileprivate(set) var refcounts: [Copy] = []
    fileprivate(set) var refcountTable: [Copy] = []
    fileprivate(set) var mapping: [Copy] = []

    var isEmpty: Bool { refcounts.isEmpty && refcountTable.isEmpty && mapping.isEmpty }
  }

  struct Copy {
    fileprivate let piece: MetadataPiece
    let offset: UInt64
    let bytes: [UInt8]
  }

  /// Takes the changes made so far. They count as clean from now on.
  func takeChanges(onlyRefcounts: Bool = false) -> Changes {
    var changes = Changes()
    guard dirtyCount > 0 else { return changes }
    let waiting = dirty
    dirty = []
    for piece in waiting where piece.isDirty {
      if onlyRefcounts && piece.kind != .refcounts {
        dirty.append(piece)
        continue
      }
      let bytes = Array(UnsafeRawBufferPointer(start: piece.memory, count: pieceSize))
      let copy = Copy(piece: piece, offset: piece.offset, bytes: bytes)
      switch piece.kind {
      case .refcounts: changes.refcounts.append(copy)
      case .refcountTable: changes.refcountTable.append(copy)
      case .mapping: changes.mapping.append(copy)
      }
      piece.isDirty = false
      piece.isBeingWritten = true
      dirtyCount -= 1
    }
    return changes
  }

  /// The changes are in the file, or they could not be written and count as changes again.
  func finish(_ changes: Changes, written: Bool) {
    for copy in changes.refcounts + changes.refcountTable + changes.mapping {
      copy.piece.isBeingWritten = false
      // A piece that was forgotten meanwhile is nowhere any more.
      if !written && copy.piece.offset == copy.offset { markDirty(copy.piece, copy.piece.kind) }
    }
  }
}
