// The file that holds a saved tree. Integers are little-endian.
//
//   offset     size
//        0        8   magic: "ROOSTSAV"
//        8        4   version of this format
//       12        8   length of the body
//       20   length   body: the tree, in CBOR
//   20 + n        4   CRC-32C of everything before it

extension SavedTree {
  /// The version of the file format that is written, and the only one that is read.
  package static let formatVersion: UInt32 = 1

  private static let magic = Array("ROOSTSAV".utf8)
  private static let headerCount = 20
  private static let checksumCount = 4

  /// What the body of the file says.
  private struct Body: Codable {
    struct Part: Codable {
      let name: String
      let schema: String
      let payload: [UInt8]
    }
    let machine: String
    let parts: [Part]
  }

  /// The tree as the content of a file.
  package func encoded() throws(SaveError) -> [UInt8] {
    if let name = repeatedName { throw .failed("two parts are named \(name)") }
    let parts = parts.map { Body.Part(name: $0.name, schema: $0.schema, payload: $0.payload) }
    let body = try CBOREncoder().encode(Body(machine: machine, parts: parts))
    var file = Self.magic
    file.reserveCapacity(Self.headerCount + body.count + Self.checksumCount)
    file.append(littleEndian: Self.formatVersion)
    file.append(littleEndian: UInt64(body.count))
    file += body
    file.append(littleEndian: CRC32C.checksum(of: file[...]))
    return file
  }

  /// Reads a file back. A file that is cut short, or damaged anywhere, is refused whole.
  package init(decoding bytes: [UInt8]) throws(RestoreError) {
    func refuse(_ reason: String) -> RestoreError { .malformed(part: "", reason: reason) }

    guard bytes.starts(with: Self.magic) else { throw refuse("the file is not a saved machine") }
    guard bytes.count >= Self.headerCount + Self.checksumCount else {
      throw refuse("the file is cut short")
    }
    let version = UInt32(littleEndian: bytes[8..<12])
    guard version == Self.formatVersion else {
      throw refuse("the file has format \(version), this version reads \(Self.formatVersion)")
    }
    let length = UInt64(littleEndian: bytes[12..<20])
    let end = bytes.count - Self.checksumCount
    guard length == UInt64(end - Self.headerCount) else {
      throw refuse("the file should have a body of \(length) bytes, and does not")
    }
    guard UInt32(littleEndian: bytes[end...]) == CRC32C.checksum(of: bytes[..<end]) else {
      throw refuse("the file is damaged: its checksum does not match")
    }
    let body = try CBORDecoder().decode(Body.self, from: Array(bytes[Self.headerCount..<end]))
    self.init(
      machine: body.machine,
      parts: body.parts.map { SavedPart(name: $0.name, schema: $0.schema, payload: $0.payload) })
    if let name = repeatedName { throw refuse("two parts are named \(name)") }
  }
}

extension [UInt8] {
  fileprivate mutating func append<Word: FixedWidthInteger>(littleEndian word: Word) {
    for index in 0..<(Word.bitWidth / 8) {
      append(UInt8(truncatingIfNeeded: word >> (8 * index)))
    }
  }
}

extension FixedWidthInteger {
  fileprivate init(littleEndian bytes: ArraySlice<UInt8>) {
    self = bytes.reversed().reduce(0) { $0 << 8 | Self($1) }
  }
}
