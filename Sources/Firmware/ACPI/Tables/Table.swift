/// A system description table, complete with header and checksum.
///
/// - SeeAlso: ACPI 6.4 §5.2.6 "System Description Table Header".
struct Table: Sendable {
  let signature: StaticString
  let encoded: [UInt8]

  init(_ signature: StaticString, revision: UInt8, _ fields: [Field]) {
    self.init(signature, revision: revision, content: fields.encoded)
  }

  init(_ signature: StaticString, revision: UInt8, content: [UInt8]) {
    let headerLength = 36, checksumOffset = 9
    let header: [Field] = [
      .text(signature, width: 4),
      .dword(UInt32(headerLength + content.count)),
      .byte(revision),
      .byte(0),  // Checksum
      .text(Identity.oem, width: 6),
      .text(Identity.table, width: 8),
      .dword(1),  // OEM Revision
      .text(Identity.creator, width: 4),
      .dword(1),  // Creator Revision
    ]
    var bytes = header.encoded + content
    bytes[checksumOffset] = bytes.checksum
    self.signature = signature
    self.encoded = bytes
  }
}

/// How the tables name their maker.
enum Identity {
  static let oem: StaticString = "ROOST"
  static let table: StaticString = "ROOSTPC"
  static let creator: StaticString = "RST"
}
