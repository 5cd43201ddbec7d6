// From the pointer that the guest searches or is handed, to the tables.

extension Table {
  /// The list of tables by 32-bit address, for guests older than ACPI 2.0.
  ///
  /// - SeeAlso: ACPI 6.4 §5.2.7 "Root System Description Table (RSDT)".
  static func rsdt(_ tables: [UInt32]) -> Table {
    Table("RSDT", revision: 1, tables.map { .dword($0) })
  }

  /// The list of tables by 64-bit address.
  ///
  /// - SeeAlso: ACPI 6.4 §5.2.8 "Extended System Description Table (XSDT)".
  static func xsdt(_ tables: [UInt32]) -> Table {
    Table("XSDT", revision: 1, tables.map { .qword(UInt64($0)) })
  }
}

/// Where everything begins; it lies on a 16-byte boundary.
///
/// - SeeAlso: ACPI 6.4 §5.2.5.3 "Root System Description Pointer (RSDP) Structure".
func rootSystemDescriptionPointer(rsdt: UInt32, xsdt: UInt32) -> [UInt8] {
  let firstLength = 20, checksumOffset = 8, extendedChecksumOffset = 32
  var bytes = [
    Field.text("RSD PTR", width: 8),
    .byte(0),  // Checksum of the first twenty bytes, which are the whole of ACPI 1.0's
    .text(Identity.oem, width: 6),
    .byte(2),  // Revision
    .dword(rsdt),
    .dword(36),  // Length
    .qword(UInt64(xsdt)),
    .byte(0),  // Extended Checksum
    .reserved(3),
  ].encoded
  bytes[checksumOffset] = bytes.prefix(firstLength).checksum
  bytes[extendedChecksumOffset] = bytes.checksum
  return bytes
}
