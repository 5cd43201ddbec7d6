import Bits

/// The SMBIOS entry points and structure table of a machine, ready to be copied into its memory.
///
/// - SeeAlso: DMTF DSP0134 *System Management BIOS Reference Specification* 3.3, §5.2 "Table
///   convention".
package struct SMBIOSTables: Sendable {
  /// The 64-bit entry point, the 32-bit one behind it, and the table both lead to. They belong on a
  /// 16-byte boundary between F0000h and FFFFFh, where guests look for the entry points.
  package let bytes: [UInt8]
  /// Where the 64-bit entry point is: the address that was asked for.
  package let entryPoint: UInt32

  package init(describing machine: SystemInformation, at address: UInt32) {
    precondition(address.isAligned(to: 16), "SMBIOS entry points misaligned")
    let structures = machine.structures.map(\.encoded)
    let table = structures.flatMap(\.self)
    let tableAddress = address + Self.tableOffset
    let first = Self.entryPoint64(table: tableAddress, length: table.count)
    let second = Self.entryPoint32(
      table: tableAddress, length: table.count, structures: structures.count,
      longest: structures.map(\.count).max() ?? 0)
    bytes =
      first.padded(to: Self.secondOffset) + second.padded(to: Self.tableOffset - Self.secondOffset)
      + table
    entryPoint = address
  }

  /// Both entry points are sought on 16-byte boundaries.
  private static let secondOffset: UInt32 = 32, tableOffset: UInt32 = 64
  private static let majorVersion: UInt8 = 3, minorVersion: UInt8 = 3
}

// MARK: - Entry points
extension SMBIOSTables {
  /// §5.2.2 "SMBIOS 3.0 (64-bit) Entry Point".
  private static func entryPoint64(table: UInt32, length: Int) -> [UInt8] {
    let checksumOffset = 5
    var bytes = Array("_SM3_".utf8)
    bytes += [0, 24]  // Checksum, Length
    bytes += [majorVersion, minorVersion, 0]
    bytes += [1, 0]  // Entry Point Revision, reserved
    bytes.append(littleEndian: UInt32(length))
    bytes.append(littleEndian: UInt64(table))
    bytes[checksumOffset] = checksum(bytes)
    return bytes
  }

  /// §5.2.1 "SMBIOS 2.1 (32-bit) Entry Point"; from `_DMI_` on it is an older entry point with a
  /// checksum of its own.
  private static func entryPoint32(
    table: UInt32, length: Int, structures: Int, longest: Int
  ) -> [UInt8] {
    let checksumOffset = 4, intermediateChecksumOffset = 5
    var intermediate = Array("_DMI_".utf8)
    intermediate += [0]  // Intermediate Checksum
    intermediate.append(littleEndian: UInt16(length))
    intermediate.append(littleEndian: table)
    intermediate.append(littleEndian: UInt16(structures))
    intermediate += [majorVersion << 4 | minorVersion]
    intermediate[intermediateChecksumOffset] = checksum(intermediate)

    var bytes = Array("_SM_".utf8)
    bytes += [0, 31]  // Checksum, Length
    bytes += [majorVersion, minorVersion]
    bytes.append(littleEndian: UInt16(longest))
    bytes += [0, 0, 0, 0, 0, 0]  // Entry Point Revision, Formatted Area
    bytes += intermediate
    bytes[checksumOffset] = checksum(bytes)
    return bytes
  }

  /// What makes the sum of the bytes zero.
  private static func checksum(_ bytes: [UInt8]) -> UInt8 { 0 &- bytes.reduce(0, &+) }
}

extension [UInt8] {
  fileprivate func padded(to length: UInt32) -> [UInt8] {
    self + Array(repeating: 0, count: Int(length) - count)
  }
}
