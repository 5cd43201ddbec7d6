import Bits
import Glibc
import HostOS
import Memory
package import SavedState

// A machine in a file. Integers are little-endian.
//
//   magic "ROOSTVM1"
//   length of the tree, 8 bytes; the tree, which carries its own checksum
//   runs of RAM, each: address, 8 bytes; count, 4; CRC-32C of these and the bytes, 4; the bytes.
//     Pages of zeroes are left out.
//   the end, in the form of a run: all ones; 0; CRC-32C over the checksums of all runs.

/// A saved machine, opened for reading: the tree has been read and checked, RAM has not.
package struct Snapshot: Sendable {
  package let tree: SavedTree
  package let shape: PCShape
  package let clock: GuestClock.Saved
  private let file: Descriptor

  static let magic = Array("ROOSTVM1".utf8)
  static let endAddress = UInt64.max
  static let runHeaderCount = 16
  /// The largest tree that is read.
  static let treeLimit: UInt64 = 64 << 20
  /// The longest run of RAM.
  static let runLimit = 1 << 20
}

// MARK: - Writing

extension Snapshot {
  /// Writes a machine at rest. The file appears under its name only when it is whole.
  static func write(_ tree: SavedTree, _ memory: GuestMemory, to path: String) throws {
    let encoded = try tree.encoded()
    let file = try ReplacementFile(path: path)
    var header = magic
    header.append(littleEndian: UInt64(encoded.count))
    try file.descriptor.writeAll(header + encoded)
    var checksums: [UInt8] = []
    for region in memory.regions where memory.files[region.start] == nil {
      try forEachRun(of: region, in: memory) { address, bytes in
        let checksum = runChecksum(address, bytes)
        checksums.append(littleEndian: checksum)
        try file.descriptor.writeAll(runHeader(address, UInt32(bytes.count), checksum))
        try file.descriptor.writeAll(Array(bytes))
      }
    }
    let end = CRC32C.checksum(of: checksums[...])
    try file.descriptor.writeAll(runHeader(endAddress, 0, end))
    try file.commit()
  }

  private static func runChecksum(_ address: UInt64, _ bytes: ArraySlice<UInt8>) -> UInt32 {
    var covered: [UInt8] = []
    covered.reserveCapacity(12 + bytes.count)
    covered.append(littleEndian: address)
    covered.append(littleEndian: UInt32(bytes.count))
    covered += bytes
    return CRC32C.checksum(of: covered[...])
  }

  private static func runHeader(_ address: UInt64, _ count: UInt32, _ checksum: UInt32) -> [UInt8] {
    var header: [UInt8] = []
    header.append(littleEndian: address)
    header.append(littleEndian: count)
    header.append(littleEndian: checksum)
    return header
  }

  /// Visits the runs of pages that are not all zeroes.
  private static func forEachRun(
    of region: GuestMemory.Region, in memory: GuestMemory,
    _ body: (UInt64, ArraySlice<UInt8>) throws -> Void
  ) throws {
    let page = Int(GuestMemory.pageSize)
    var done: UInt64 = 0
    while done < region.count {
      let count = Int(min(UInt64(runLimit), region.count - done))
      let address = region.start.rawValue + done
      let bytes = try memory.bytes(at: GPA(address), count: count)
      var start = 0
      while start < count {
        guard !isZero(bytes[start..<start + page]) else {
          start += page
          continue
        }
        var end = start + page
        while end < count, !isZero(bytes[end..<end + page]) { end += page }
        try body(address + UInt64(start), bytes[start..<end])
        start = end
      }
      done += UInt64(count)
    }
  }
}

extension Snapshot {
  /// Whether all is zeroes: the first byte is, and each is like the one before it. The host's comparison
  /// is fast in every build.
  private static func isZero(_ bytes: ArraySlice<UInt8>) -> Bool {
    bytes.withUnsafeBytes { bytes in
      guard let start = bytes.baseAddress else { return true }
      return bytes[0] == 0 && memcmp(start, start + 1, bytes.count - 1) == 0
    }
  }
}

// MARK: - Reading

/// A file does not hold a machine that this Roost can restore.
package struct SnapshotError: Error, Sendable, CustomStringConvertible {
  package let path: String
  package let reason: String
  package var description: String { "cannot restore \"\(path)\": \(reason)" }
}

extension Snapshot {
  /// Opens a saved machine and checks everything but RAM.
  package init(path: String) throws {
    do throws(HostError) {
      file = try HostFile.open(path)
    } catch {
      throw SnapshotError(path: path, reason: "the file cannot be opened (\(error.reason))")
    }
    do {
      let header = try file.readExactly(Self.magic.count + 8)
      guard header.starts(with: Self.magic) else {
        throw SnapshotError(path: path, reason: "the file is not a machine saved by Roost")
      }
      let length = header.integer(UInt64.self, littleEndianAt: Self.magic.count) ?? 0
      guard length <= Self.treeLimit else {
        throw SnapshotError(path: path, reason: "the file is damaged: its tree is too long")
      }
      tree = try SavedTree(decoding: file.readExactly(Int(length)))
      guard tree.machine == PC.kind else {
        throw SnapshotError(path: path, reason: "it holds a machine of kind \(tree.machine)")
      }
      shape = try tree.part("shape").decode(PCShape.self, schema: PCShape.schema)
      if let problem = shape.problem { throw problem }
      clock = try tree.part("clock").decode(GuestClock.Saved.self, schema: GuestClock.schema)
    } catch let error as SnapshotError {
      throw error
    } catch {
      throw SnapshotError(path: path, reason: "\(error)")
    }
  }

  /// Fills the memory of a machine of the snapshot's shape, which still is all zeroes.
  func load(into memory: GuestMemory, path: String) throws {
    do {
      try readRuns(into: memory, path: path)
    } catch let error as SnapshotError {
      throw error
    } catch is MemoryFault {
      throw SnapshotError(path: path, reason: "it has RAM where its machine has none")
    } catch {
      throw SnapshotError(path: path, reason: "\(error)")
    }
  }

  private func readRuns(into memory: GuestMemory, path: String) throws {
    var checksums: [UInt8] = []
    while true {
      let header = try file.readExactly(Self.runHeaderCount)
      guard let address = header.integer(UInt64.self, littleEndianAt: 0),
        let count = header.integer(UInt32.self, littleEndianAt: 8),
        let checksum = header.integer(UInt32.self, littleEndianAt: 12), count <= Self.runLimit
      else { throw SnapshotError(path: path, reason: "a run of RAM is too long") }
      if address == Self.endAddress {
        guard checksum == CRC32C.checksum(of: checksums[...]) else {
          throw SnapshotError(path: path, reason: "the file is damaged: RAM is not complete")
        }
        return
      }
      let bytes = try file.readExactly(Int(count))
      guard checksum == Self.runChecksum(address, bytes[...]) else {
        throw SnapshotError(path: path, reason: "the file is damaged: RAM has other bytes")
      }
      checksums.append(littleEndian: checksum)
      try memory.install(bytes, at: GPA(address))
    }
  }
}

extension Descriptor {
  /// Reads `count` bytes; less than that is an error.
  fileprivate func readExactly(_ count: Int) throws -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count {
      let part = try read(upTo: min(count - bytes.count, 1 << 20))
      guard !part.isEmpty else { throw CutShort() }
      bytes += part
    }
    return bytes
  }
}

private struct CutShort: Error, CustomStringConvertible {
  var description: String { "the file is cut short" }
}
