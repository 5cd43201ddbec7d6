import HostOS
import Memory

// What is done to an image and the one beneath it as a whole. No request may be under way.
extension QCOW2Image {
  /// Writes what is stored here into the image beneath, and, with `emptying`, then drops it here.
  ///
  /// - Parameters:
  ///   - target: the backing file, opened to be written.
  ///   - progress: told how many bytes are done.
  package func commit(
    into target: any DiskImage, emptying: Bool = true, progress: (UInt64) -> Void = { _ in }
  ) throws(ImageError) {
    guard !target.isReadOnly, !emptying || !isReadOnly else { throw .disk(.readOnly) }
    if target.size < size {
      guard let target = target as? any ResizableImage else {
        throw .refused("The backing file is smaller than the image and cannot be made larger.")
      }
      try target.resize(to: size, mayShrink: false)
    }
    try passingOn { () throws(DiskError) in
      var position: UInt64 = 0
      while position < size {
        let extent = try extent(at: position)
        switch extent.kind {
        case .absent: break
        case .zero: try target.writeZeroes(extent.range, mayUnmap: true)
        case .data: try copy(extent.range, to: target)
        }
        position = extent.range.upperBound
        progress(position)
      }
      try target.flush()
      guard emptying else { return }
      try clear(0..<geometry.clusters(for: size), .drop)
      try flush()
    }
  }

  private func copy(_ range: Range<UInt64>, to target: any DiskImage) throws(DiskError) {
    let buffer = HostBuffer(count: 1 << 20)
    for start in stride(from: range.lowerBound, to: range.upperBound, by: buffer.bytes.count) {
      let count = Int(min(UInt64(buffer.bytes.count), range.upperBound - start))
      let part = buffer.buffers.slice(0..<count)
      try read(into: part, at: start)
      try target.write(part, at: start)
    }
  }

  /// Gives the image another backing file, or none. It is to be opened anew afterwards.
  ///
  /// - Parameter new: the new backing file, opened; nil for none. What differs between it and the old one is copied
  ///   into the image first, so that the disk stays the same.
  package func rebase(
    to name: String?, format: String?, showing new: (any DiskImage)?,
    progress: (UInt64) -> Void = { _ in }
  ) throws(ImageError) {
    guard !isReadOnly else { throw .disk(.readOnly) }
    guard !lacksBacking else {
      throw .refused("The old backing file was not opened: only its name can be changed.")
    }
    try passingOn { () throws(DiskError) in
      var position: UInt64 = 0
      while position < size {
        let extent = try extent(at: position)
        if extent.kind == .absent { try keep(extent.range, over: new) }
        position = extent.range.upperBound
        progress(position)
      }
      try flush()
    }
    try renameBacking(to: name, format: format)
  }

  /// Only changes what the header says of the backing file: the disk's content changes with it, unless the new file
  /// holds the same. The image is to be opened anew afterwards.
  package func renameBacking(to name: String?, format: String?) throws(ImageError) {
    guard !isReadOnly else { throw .disk(.readOnly) }
    try passingOn { () throws(DiskError) in try flush() }
    structureLock.lock()
    defer { structureLock.unlock() }
    lock.lock()
    defer { lock.unlock() }
    var changed = header
    changed.backingName = name
    changed.backingFormat = name == nil ? nil : format
    guard let bytes = changed.encoded() else {
      throw .refused("The backing file's name is too long for the image's header.")
    }
    let first = HostBuffer(count: geometry.clusterSize)
    first.bytes.copyBytes(from: bytes)
    try passingOn { () throws(DiskError) in
      try file.write(first, at: 0)
      try file.flush()
    }
    header = changed
    failure = failure ?? .damaged("The image has another backing file now: open it anew.")
  }

  /// Copies what the old backing file shows in `range`, where the new one shows something else.
  private func keep(_ range: Range<UInt64>, over new: (any DiskImage)?) throws(DiskError) {
    guard let backing else { return try hide(range, new) }
    let step = max(geometry.clusterSize, 256 << 10)
    let old = HostBuffer(count: step)
    let other = HostBuffer(count: step)
    var position = range.lowerBound
    while position < range.upperBound {
      if position >= backing.size { return try hide(position..<range.upperBound, new) }
      let end = min(range.upperBound, (position / UInt64(step) + 1) * UInt64(step))
      let count = Int(end - position)
      try fill(old.buffers.slice(0..<count), at: position)
      try Self.read(new, other.buffers.slice(0..<count), at: position)
      let cluster = geometry.clusterSize
      var start = 0
      while start < count {
        let next = min(count, (start / cluster + 1) * cluster)
        if !old.bytes[start..<next].elementsEqual(other.bytes[start..<next]) {
          try write(old.buffers.slice(start..<next), at: position + UInt64(start))
        }
        start = next
      }
      position = end
    }
  }

  /// The old chain ends before `range`: zeroes, which the new backing file must not show through.
  private func hide(_ range: Range<UInt64>, _ new: (any DiskImage)?) throws(DiskError) {
    let end = min(range.upperBound, new?.size ?? 0)
    guard range.lowerBound < end else { return }
    try cover(range.lowerBound..<end)
  }

  /// Stores zeroes although nothing shows through now.
  private func cover(_ range: Range<UInt64>) throws(DiskError) {
    let zeroes = HostBuffer(count: max(geometry.clusterSize, 64 << 10))
    var position = range.lowerBound
    while position < range.upperBound {
      let count = min(UInt64(zeroes.bytes.count), range.upperBound - position)
      try write(zeroes.buffers.slice(0..<Int(count)), at: position)
      position += count
    }
  }

  private static func read(
    _ image: (any DiskImage)?, _ buffers: GuestBuffers, at offset: UInt64
  ) throws(DiskError) {
    let there = Int(min(UInt64(buffers.count), max(image?.size ?? 0, offset) - offset))
    if there > 0, let image { try image.read(into: buffers.slice(0..<there), at: offset) }
    if there < buffers.count { buffers.slice(there..<buffers.count).clear() }
  }
}
