/// One CBOR data item, of the kinds that saved states are made of.
///
/// Saved states use the deterministic encoding only: one state is one string of bytes. Whatever
/// else CBOR allows (indefinite lengths, longer heads than needed, keys out of order, tags other
/// than those of big numbers) is not written, and refused when read.
///
/// - SeeAlso: RFC 8949 §3 "Specification of the CBOR Encoding", §4.2.1 "Core Deterministic Encoding
///   Requirements".
enum CBORItem: Sendable, Equatable {
  /// A number of zero or above.
  case unsigned(UInt128)
  /// The number −1 − n.
  case negative(UInt128)
  case bytes([UInt8])
  case text(String)
  case array([CBORItem])
  /// Entries in the order of their keys.
  case map([Entry])
  case bool(Bool)
  case null
  case single(Float)
  case double(Double)

  /// A key of a map, and what stands there.
  struct Entry: Sendable, Equatable {
    let key: String
    let value: CBORItem
  }

  /// How deep arrays and maps may be nested.
  static let maximumDepth = 64
  /// How many items one encoded value may be made of; a byte string is one item.
  static let maximumCount = 1 << 20

  /// What the item is, for messages.
  var kind: String {
    switch self {
    case .unsigned, .negative: "a number"
    case .bytes: "a byte string"
    case .text: "a text"
    case .array: "an array"
    case .map: "a map"
    case .bool: "a truth value"
    case .null: "null"
    case .single, .double: "a floating-point number"
    }
  }
}

/// The major types of data items: the upper three bits of the first byte.
///
/// - SeeAlso: RFC 8949 §3.1 "Major Types".
enum CBORMajorType: UInt8 {
  case unsigned, negative, bytes, text, array, map, tag, simple
}

/// The order of map keys: shorter ones first, then byte by byte.
///
/// - SeeAlso: RFC 8949 §4.2.1, which compares the encoded keys. These begin with their length.
func precedes(_ key: String, _ other: String) -> Bool {
  let (count, otherCount) = (key.utf8.count, other.utf8.count)
  return count == otherCount
    ? key.utf8.lexicographicallyPrecedes(other.utf8) : count < otherCount
}
