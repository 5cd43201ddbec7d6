import HostOS
import Memory

// Storage given back, ranges made zero, and where there is any.

extension RawImage {
  package func discard(_ range: Range<UInt64>) throws(DiskError) {
    try checkWritable()
    try check(range)
    let whole = range.rounded(inwardTo: spaceAlignment)
    guard !whole.isEmpty else { return }
    do throws(HostError) {
      try file.discard(whole)
    } catch {
      // A discard is advice, and a host that cannot take it has not failed.
      if !error.isUnsupported { throw DiskError(error) }
    }
    if cache == .writethrough { try flush() }
  }

  package func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    try checkWritable()
    try check(range)
    let whole = range.rounded(inwardTo: spaceAlignment)
    if whole.isEmpty {
      try writeZeroBytes(range)
    } else {
      try writeZeroBytes(range.lowerBound..<whole.lowerBound)
      if try !zero(whole, mayUnmap: mayUnmap) { try writeZeroBytes(whole) }
      try writeZeroBytes(whole.upperBound..<range.upperBound)
    }
    if cache == .writethrough { try flush() }
  }

  /// What the host's calls take: any bytes of a file, whole sectors of a device.
  private var spaceAlignment: UInt64 {
    switch file.kind {
    case .regular: 1
    case .blockDevice(let logical, _): UInt64(logical)
    }
  }

  /// Has the host make a range zero; `false`: it knows no way.
  private func zero(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) -> Bool {
    do throws(HostError) {
      if mayUnmap {
        do throws(HostError) {
          try file.punch(range)
          return true
        } catch {
          if !error.isUnsupported { throw error }
        }
      }
      try file.zero(range)
      return true
    } catch {
      if error.isUnsupported { return false }
      throw DiskError(error)
    }
  }

  private func writeZeroBytes(_ range: Range<UInt64>) throws(DiskError) {
    if range.isEmpty { return }
    let zeroes = HostBuffer(count: Int(min(range.length, 1 << 20)))
    var start = range.lowerBound
    while start < range.upperBound {
      let count = min(range.upperBound - start, UInt64(zeroes.bytes.count))
      try write(zeroes.buffers.slice(0..<Int(count)), at: start)
      start += count
    }
  }

  package func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    guard offset < size else { throw .outOfRange }
    let all = DiskExtent(offset..<size, .data, hostOffset: offset)
    guard file.kind == .regular else { return all }
    do throws(HostError) {
      guard let data = try file.nextData(from: offset), data < size else {
        return DiskExtent(offset..<size, .zero)
      }
      if data > offset { return DiskExtent(offset..<data, .zero) }
      let hole = try file.nextHole(from: offset) ?? size
      // A file that changes between the two calls may have its hole where the data were.
      guard hole > offset else { return all }
      return DiskExtent(offset..<min(hole, size), .data, hostOffset: offset)
    } catch {
      return all  // a file system that knows of no holes
    }
  }
}

// MARK: - Files for images

extension RawImage {
  /// Makes a file that reads as zeroes; `reserved`: with storage set aside for all of it.
  package static func create(
    _ path: String, size: UInt64, reserved: Bool = false
  ) throws(ImageError) {
    let file: StorageFile
    do throws(HostError) {
      file = try .open(path, [.writable, .new])
    } catch {
      throw ImageError(error)
    }
    do throws(HostError) {
      try file.resize(to: size)
      if reserved, size > 0 { try file.reserve(0..<size) }
      try file.flush()
    } catch {
      StorageFile.remove(path)
      throw ImageError(error)
    }
  }

  /// Makes an image that nobody uses longer, or shorter where that is `allowingLoss`.
  package static func resize(
    _ path: String, to size: UInt64, allowingLoss: Bool = false
  ) throws(ImageError) {
    let image = try open(path, writable: true)
    guard image.file.kind == .regular else {
      throw .refused("\"\(path)\" is a device, whose size is its own.")
    }
    do throws(HostError) {
      let shrinks = try size < image.file.size()
      if !shrinks || allowingLoss {
        try image.file.resize(to: size)
        return try image.file.flush()
      }
    } catch {
      throw ImageError(error)
    }
    throw .refused(
      "\"\(path)\" is longer than \(size) bytes, and what lies beyond would be lost.")
  }
}
