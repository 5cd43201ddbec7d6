import Bits

/// Files compressed with gzip (RFC 1952): one member; what follows it is ignored.
enum Gzip {
  static func isCompressed(_ file: [UInt8]) -> Bool { file.starts(with: [0x1F, 0x8B]) }

  /// The file that was compressed, refused if it is larger than `limit`.
  static func unpack(_ file: [UInt8], limit: Int) throws(BootError) -> [UInt8] {
    let bytes = FileBytes(file)
    let start = try headerSize(bytes)
    var inflater = Inflater(file[...].dropFirst(start), limit: limit)
    do throws(Inflater.Failure) {
      try inflater.run()
    } catch {
      throw refusal(error, limit: limit)
    }
    let trailer = UInt64(start + inflater.consumed)
    let checksum = try bytes.load(UInt32.self, at: trailer, of: "gzip trailer")
    let size = try bytes.load(UInt32.self, at: trailer + 4, of: "gzip trailer")
    guard size == UInt32(truncatingIfNeeded: inflater.output.count),
      checksum == CRC32.checksum(of: inflater.output)
    else {
      throw .damaged("The kernel is damaged: it unpacks, but gzip's checksum does not match.")
    }
    return inflater.output
  }

  private static func refusal(_ failure: Inflater.Failure, limit: Int) -> BootError {
    switch failure {
    case .truncated: .damaged("The kernel is cut short: its gzip data ends too early.")
    case .invalid: .damaged("The kernel is damaged: its gzip data is not valid.")
    case .tooLarge:
      .unsupported("The kernel unpacks to more than \(LinuxBoot.size(UInt64(limit))).")
    }
  }

  /// Far above the length of any file's name and comment.
  private static let headerLimit: UInt64 = 1 << 18

  /// The size of the member header (RFC 1952 §2.3): ten bytes, then what its flags announce.
  private static func headerSize(_ file: FileBytes) throws(BootError) -> Int {
    let part = "gzip header"
    let method = try file.load(UInt8.self, at: 2, of: part)
    let flags = try file.load(UInt8.self, at: 3, of: part)
    guard method == 8, flags & 0xE0 == 0 else {
      throw .damaged("The kernel is damaged: its gzip header is not valid.")
    }
    var size: UInt64 = 10
    if flags & 0x04 != 0 { size += 2 + UInt64(try file.load(UInt16.self, at: size, of: part)) }
    for text: UInt8 in [0x08, 0x10] where flags & text != 0 {
      while try file.load(UInt8.self, at: size, of: part) != 0, size < headerLimit { size += 1 }
      size += 1
    }
    if flags & 0x02 != 0 { size += 2 }
    guard size < headerLimit else {
      throw .damaged("The kernel is damaged: its gzip header does not end.")
    }
    return Int(try file.slice(at: 0, count: size, of: part).count)
  }
}
