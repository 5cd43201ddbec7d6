import Bits

/// A disk's partition table in sectors of 512 bytes: what lies at its beginning and at its end.
///
/// - SeeAlso: UEFI 2.10 §5.3 "GUID Partition Table (GPT) Disk Layout".
package struct GUIDPartitionTable: Sendable {
  package struct Partition: Sendable {
    package let type: GUID
    package let id: GUID
    /// At most 36 UTF-16 units.
    package let name: String
    package let sectors: ClosedRange<UInt64>

    package init(type: GUID, id: GUID = .random(), name: String, sectors: ClosedRange<UInt64>) {
      self.type = type
      self.id = id
      self.name = name
      self.sectors = sectors
    }
  }

  /// Kinds of partition.
  package enum Kind {
    /// UEFI 2.10 §5.3.3 Table 5.7.
    package static let efiSystem = GUID(0xC12A7328_F81F_11D2_BA4B_00A0C93EC93B)
    /// The Discoverable Partitions Specification, "Root Partition (64-bit x86)".
    package static let linuxRootX86_64 = GUID(0x4F68BCE3_E8CD_4DB1_96E7_FBCAF984B709)
    /// GRUB manual 2.06, §3.4 "BIOS installation".
    package static let biosBoot = GUID(0x21686148_6449_6E6F_744E_656564454649)
  }

  package static let sectorSize: UInt64 = 512
  private static let entryCount = 128
  private static let entrySize = 128
  private static let entrySectors = UInt64(entryCount * entrySize) / sectorSize

  private let disk: GUID
  private let sectorCount: UInt64
  private let partitions: [Partition]

  /// - Parameters:
  ///   - sectorCount: of the whole disk.
  ///   - partitions: at most 128, inside `usable(of:)`, none overlapping another.
  package init(disk: GUID = .random(), sectorCount: UInt64, partitions: [Partition]) {
    let usable = Self.usable(of: sectorCount)
    precondition(
      partitions.count <= Self.entryCount
        && partitions.allSatisfy {
          usable.contains($0.sectors.lowerBound) && usable.contains($0.sectors.upperBound)
        }, "a partition lies outside what the table leaves of the disk")
    self.disk = disk
    self.sectorCount = sectorCount
    self.partitions = partitions
  }

  /// The sectors of a disk that partitions may lie in.
  package static func usable(of sectorCount: UInt64) -> ClosedRange<UInt64> {
    precondition(sectorCount > 2 * (entrySectors + 2), "the disk is too small for its table")
    return entrySectors + 2...sectorCount - entrySectors - 2
  }

  /// What goes to the disk's first sectors: protective MBR, header, entries.
  package var primary: [UInt8] {
    protectiveMBR + header(at: 1, entriesAt: 2, backup: sectorCount - 1) + entries
  }

  /// What goes to the disk's last sectors, and the first of them.
  package var backup: (sector: UInt64, bytes: [UInt8]) {
    let first = sectorCount - 1 - Self.entrySectors
    return (first, entries + header(at: sectorCount - 1, entriesAt: first, backup: 1))
  }

  /// §5.2.3 "Protective MBR": one partition over the whole disk, for those who do not know GPT.
  private var protectiveMBR: [UInt8] {
    var sector = [UInt8](repeating: 0, count: 446)
    sector += [0x00, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff]
    sector.append(littleEndian: UInt32(1))
    sector.append(littleEndian: UInt32(clamping: sectorCount - 1))
    sector += [UInt8](repeating: 0, count: 48)
    return sector + [0x55, 0xaa]
  }

  /// §5.3.2 "GPT Header".
  private func header(at own: UInt64, entriesAt: UInt64, backup: UInt64) -> [UInt8] {
    func fields(checksum: UInt32) -> [UInt8] {
      var bytes = Array("EFI PART".utf8)
      bytes.append(littleEndian: UInt32(0x0001_0000))
      bytes.append(littleEndian: UInt32(92))
      bytes.append(littleEndian: checksum)
      bytes.append(littleEndian: UInt32(0))
      bytes.append(littleEndian: own)
      bytes.append(littleEndian: backup)
      let usable = Self.usable(of: sectorCount)
      bytes.append(littleEndian: usable.lowerBound)
      bytes.append(littleEndian: usable.upperBound)
      bytes += disk.bytes
      bytes.append(littleEndian: entriesAt)
      bytes.append(littleEndian: UInt32(Self.entryCount))
      bytes.append(littleEndian: UInt32(Self.entrySize))
      bytes.append(littleEndian: CRC32.checksum(of: entries))
      return bytes
    }
    let bytes = fields(checksum: CRC32.checksum(of: fields(checksum: 0)))
    return bytes + [UInt8](repeating: 0, count: Int(Self.sectorSize) - bytes.count)
  }

  /// §5.3.3 "GPT Partition Entry Array".
  private var entries: [UInt8] {
    var bytes: [UInt8] = []
    for partition in partitions {
      var entry = partition.type.bytes + partition.id.bytes
      entry.append(littleEndian: partition.sectors.lowerBound)
      entry.append(littleEndian: partition.sectors.upperBound)
      entry.append(littleEndian: UInt64(0))
      for unit in partition.name.utf16.prefix(36) { entry.append(littleEndian: unit) }
      bytes += entry + [UInt8](repeating: 0, count: Self.entrySize - entry.count)
    }
    return bytes
      + [UInt8](repeating: 0, count: Self.entryCount * Self.entrySize - bytes.count)
  }
}
