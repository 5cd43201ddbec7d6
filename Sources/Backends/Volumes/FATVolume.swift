import Bits

/// A small FAT12 file system with a few files in its root directory: how short texts reach a guest by a disk.
///
/// - SeeAlso: Microsoft *FAT: General Overview of On-Disk Format* 1.03 (FATGEN103, 2000).
package struct FATVolume: Sendable {
  package struct File: Sendable {
    /// Up to 255 characters of UTF-16; shown as it is written.
    package let name: String
    package let content: [UInt8]

    package init(name: String, content: [UInt8]) {
      self.name = name
      self.content = content
    }
  }

  /// The files do not fit.
  package struct Full: Error, Sendable, Equatable {}

  private static let sectorSize = 512
  private static let sectorCount = 4096
  private static let sectorsPerCluster = 2
  private static let reservedSectors = 1
  private static let rootEntries = 512
  private static let tableSectors = 6
  private static let tables = 2
  private static let mediaType: UInt8 = 0xf8
  private static let endOfChain: UInt16 = 0xfff

  private static var rootStart: Int { reservedSectors + tables * tableSectors }
  private static var dataStart: Int { rootStart + rootEntries * 32 / sectorSize }
  private static var clusterCount: Int { (sectorCount - dataStart) / sectorsPerCluster }
  private static var clusterSize: Int { sectorsPerCluster * sectorSize }

  /// The volume: 2 MiB.
  package let bytes: [UInt8]

  /// - Parameters:
  ///   - label: at most 11 characters of ASCII; kept in capitals.
  ///   - serial: a number that tells volumes of one label apart.
  package init(label: String, serial: UInt32, files: [File]) throws(Full) {
    var table: [UInt16] = [0xf00 | UInt16(Self.mediaType), Self.endOfChain]
    var root = Self.entry(Self.padded(label, 11), attributes: 0x08, cluster: 0, size: 0)
    var data: [UInt8] = []
    for (index, file) in files.enumerated() {
      let short = Self.shortName(number: index)
      let clusters = (file.content.count + Self.clusterSize - 1) / Self.clusterSize
      let first = clusters == 0 ? 0 : UInt16(table.count)
      for cluster in 0..<clusters {
        let isLast = cluster == clusters - 1
        table.append(isLast ? Self.endOfChain : UInt16(table.count + 1))
      }
      data += file.content
      data += [UInt8](repeating: 0, count: clusters * Self.clusterSize - file.content.count)
      root += Self.longNameEntries(file.name, for: short)
      root += Self.entry(
        short, attributes: 0x20, cluster: first, size: UInt32(clamping: file.content.count))
    }
    guard table.count - 2 <= Self.clusterCount, root.count <= Self.rootEntries * 32 else {
      throw Full()
    }
    var bytes = Self.bootSector(label: label, serial: serial)
    let packed = Self.packed(table)
    for _ in 0..<Self.tables { bytes += packed }
    bytes += root
    bytes += [UInt8](repeating: 0, count: Self.dataStart * Self.sectorSize - bytes.count)
    bytes += data
    bytes += [UInt8](repeating: 0, count: Self.sectorCount * Self.sectorSize - bytes.count)
    self.bytes = bytes
  }

  /// "Boot Sector and BPB".
  private static func bootSector(label: String, serial: UInt32) -> [UInt8] {
    var sector: [UInt8] = [0xeb, 0x3c, 0x90]
    sector += Array("MSWIN4.1".utf8)
    sector.append(littleEndian: UInt16(sectorSize))
    sector.append(UInt8(sectorsPerCluster))
    sector.append(littleEndian: UInt16(reservedSectors))
    sector.append(UInt8(tables))
    sector.append(littleEndian: UInt16(rootEntries))
    sector.append(littleEndian: UInt16(sectorCount))
    sector.append(mediaType)
    sector.append(littleEndian: UInt16(tableSectors))
    sector.append(littleEndian: UInt16(63))
    sector.append(littleEndian: UInt16(255))
    sector.append(littleEndian: UInt32(0))
    sector.append(littleEndian: UInt32(0))
    sector += [0x80, 0x00, 0x29]
    sector.append(littleEndian: serial)
    sector += padded(label, 11) + Array("FAT12   ".utf8)
    sector += [UInt8](repeating: 0, count: 510 - sector.count)
    return sector + [0x55, 0xaa]
  }

  /// "FAT Data Structure": entries of 12 bits, two in three bytes.
  private static func packed(_ table: [UInt16]) -> [UInt8] {
    var bytes: [UInt8] = []
    for index in stride(from: 0, to: table.count, by: 2) {
      let pair = UInt32(table[index]) | UInt32(index + 1 < table.count ? table[index + 1] : 0) << 12
      for shift in [0, 8, 16] as [UInt32] { bytes.append(UInt8(truncatingIfNeeded: pair >> shift)) }
    }
    return bytes + [UInt8](repeating: 0, count: tableSectors * sectorSize - bytes.count)
  }

  /// "FAT Directory Structure". The date is the first that FAT has: the same files make the same volume.
  private static func entry(
    _ name: [UInt8], attributes: UInt8, cluster: UInt16, size: UInt32
  ) -> [UInt8] {
    var entry = name + [attributes]
    entry += [UInt8](repeating: 0, count: 10)
    entry.append(littleEndian: UInt16(0))
    entry.append(littleEndian: UInt16(0x0021))
    entry.append(littleEndian: cluster)
    entry.append(littleEndian: size)
    return entry
  }

  /// "FAT Long Directory Entries": the last piece first, 13 units of UTF-16 in each.
  private static func longNameEntries(_ name: String, for short: [UInt8]) -> [UInt8] {
    var units = Array(name.utf16.prefix(255))
    if !units.count.isMultiple(of: 13) {
      units.append(0)
      while !units.count.isMultiple(of: 13) { units.append(0xffff) }
    }
    let checksum = short.reduce(UInt8(0)) { ($0 >> 1 | $0 << 7) &+ $1 }
    var entries: [UInt8] = []
    let count = units.count / 13
    for number in (1...count).reversed() {
      let piece = units[(number - 1) * 13..<number * 13].flatMap {
        [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)]
      }
      entries.append(UInt8(number) | (number == count ? 0x40 : 0))
      entries += piece[0..<10]
      entries += [0x0f, 0x00, checksum]
      entries += piece[10..<22]
      entries += [0x00, 0x00]
      entries += piece[22..<26]
    }
    return entries
  }

  private static func shortName(number: Int) -> [UInt8] {
    padded("FILE\(number)", 8) + padded("", 3)
  }

  private static func padded(_ text: String, _ count: Int) -> [UInt8] {
    let bytes = Array(text.uppercased().utf8.prefix(count))
    return bytes + [UInt8](repeating: 0x20, count: count - bytes.count)
  }
}
