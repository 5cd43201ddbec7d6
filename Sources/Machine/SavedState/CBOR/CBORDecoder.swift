/// Turns CBOR back into `Decodable` values. The bytes need not be trustworthy.
///
/// Only what `CBOREncoder` writes is accepted. A property that is missing reads as `nil`; a field
/// that the type does not ask for is refused, for it would be lost at the next save.
package struct CBORDecoder {
  /// A decoder; it has no settings.
  package init() {}

  /// The value that was encoded. Every error names the place: `fifo[3]`.
  package func decode<Value: Decodable>(
    _ type: Value.Type, from bytes: [UInt8]
  ) throws(RestoreError) -> Value {
    let item = try CBORReader.item(of: bytes)
    do {
      return try DecodingPlace(item, path: []).value(of: type)
    } catch let error as RestoreError {
      throw error
    } catch let error as DecodingError {
      throw RestoreError(error)
    } catch {
      throw .malformed(part: "", reason: "\(error)")
    }
  }
}

extension RestoreError {
  fileprivate init(_ error: DecodingError) {
    switch error {
    case .keyNotFound(let key, let context):
      self = .malformed(part: describe(context.codingPath + [key]), reason: "it is missing")
    case .valueNotFound(_, let context), .typeMismatch(_, let context),
      .dataCorrupted(let context):
      self = .malformed(part: describe(context.codingPath), reason: context.debugDescription)
    @unknown default:
      self = .malformed(part: "", reason: "\(error)")
    }
  }
}

/// A place in the tree that is being decoded, and which parts of it have been asked for.
private final class DecodingPlace {
  let item: CBORItem
  let path: [any CodingKey]
  private var asked: Set<Int> = []
  private var nested: [DecodingPlace] = []
  /// Whether anything has looked into this place.
  private var isRead = false

  init(_ item: CBORItem, path: [any CodingKey]) {
    self.item = item
    self.path = path
  }

  /// The whole place as one value. Nothing in it may be left over.
  func value<Value: Decodable>(of type: Value.Type) throws -> Value {
    if let scalar = type as? any CBORScalar.Type {
      do {
        if let value = try scalar.init(item) as? Value { return value }
      } catch {
        throw mismatch(type, error.reason)
      }
    }
    let value = try type.init(from: PlaceDecoder(place: self))
    try refuseLeftovers()
    return value
  }

  func mismatch(_ type: Any.Type, _ reason: String) -> DecodingError {
    .typeMismatch(type, .init(codingPath: path, debugDescription: reason))
  }

  // MARK: Going down

  func openArray() throws -> [CBORItem] {
    guard case .array(let items) = item else {
      throw mismatch([CBORItem].self, "found \(item.kind), expected an array")
    }
    isRead = true
    return items
  }

  func openMap() throws -> [CBORItem.Entry] {
    guard case .map(let entries) = item else {
      throw mismatch([CBORItem.Entry].self, "found \(item.kind), expected a map")
    }
    isRead = true
    return entries
  }

  /// Whether there is null here.
  func readNull() -> Bool {
    guard item == .null else { return false }
    isRead = true
    return true
  }

  /// The place as another type says it, on behalf of the one that is being read.
  func delegate<Value: Decodable>(to type: Value.Type) throws -> Value {
    isRead = true
    return try value(of: type)
  }

  /// Notes that the part with an index is asked for.
  func ask(_ index: Int) { asked.insert(index) }

  /// The part with an index, as a place of its own.
  func descend(to item: CBORItem, _ index: Int, _ key: any CodingKey) -> DecodingPlace {
    ask(index)
    return DecodingPlace(item, path: path + [key])
  }

  /// Keeps a place whose container is handed out, so that it is checked in the end.
  func keep(_ place: DecodingPlace) -> DecodingPlace {
    nested.append(place)
    return place
  }

  // MARK: In the end

  private func refuseLeftovers() throws {
    switch item {
    case .array(let items) where asked.count < items.count:
      throw leftover("\(items.count) elements, of which \(asked.count) are known")
    case .map(let entries):
      guard let unknown = entries.indices.first(where: { !asked.contains($0) }) else { break }
      throw leftover("the field \(entries[unknown].key) is unknown")
    default:
      guard isRead else { throw leftover("found \(item.kind) where nothing is expected") }
    }
    for place in nested { try place.refuseLeftovers() }
  }

  private func leftover(_ reason: String) -> DecodingError {
    .dataCorrupted(.init(codingPath: path, debugDescription: reason))
  }
}

// MARK: - What `Decodable` types see of a place

private struct PlaceDecoder: Decoder {
  let place: DecodingPlace

  var codingPath: [any CodingKey] { place.path }
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(
    keyedBy type: Key.Type
  ) throws -> KeyedDecodingContainer<Key> {
    KeyedDecodingContainer(MapDecodingContainer(place: place, entries: try place.openMap()))
  }

  func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
    ArrayDecodingContainer(place: place, items: try place.openArray())
  }

  func singleValueContainer() -> any SingleValueDecodingContainer {
    ValueDecodingContainer(place: place)
  }
}

private struct MapDecodingContainer<Key: CodingKey>: KeyedDecodingContainerProtocol {
  let place: DecodingPlace
  let entries: [CBORItem.Entry]

  var codingPath: [any CodingKey] { place.path }
  var allKeys: [Key] { entries.compactMap { Key(stringValue: $0.key) } }

  func contains(_ key: Key) -> Bool {
    guard let index = index(of: key) else { return false }
    place.ask(index)
    return true
  }

  func decodeNil(forKey key: Key) throws -> Bool { try descend(to: key).readNull() }

  func decode(_ type: Int128.Type, forKey key: Key) throws -> Int128 {
    try descend(to: key).value(of: type)
  }

  func decode(_ type: UInt128.Type, forKey key: Key) throws -> UInt128 {
    try descend(to: key).value(of: type)
  }

  func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
    try descend(to: key).value(of: type)
  }

  func nestedContainer<NestedKey: CodingKey>(
    keyedBy type: NestedKey.Type, forKey key: Key
  ) throws -> KeyedDecodingContainer<NestedKey> {
    try PlaceDecoder(place: place.keep(descend(to: key))).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
    try PlaceDecoder(place: place.keep(descend(to: key))).unkeyedContainer()
  }

  func superDecoder() throws -> any Decoder {
    PlaceDecoder(place: place.keep(try descend(to: SuperclassKey())))
  }

  func superDecoder(forKey key: Key) throws -> any Decoder {
    PlaceDecoder(place: place.keep(try descend(to: key)))
  }

  private func descend(to key: any CodingKey) throws -> DecodingPlace {
    guard let index = index(of: key) else {
      throw DecodingError.keyNotFound(
        key, .init(codingPath: codingPath, debugDescription: "it is missing"))
    }
    return place.descend(to: entries[index].value, index, key)
  }

  /// Where the entry with a key stands: found by halving, for the keys are in order.
  private func index(of key: any CodingKey) -> Int? {
    let key = key.stringValue
    var range = entries.indices
    while let index = range.dropFirst(range.count / 2).first {
      if precedes(entries[index].key, key) {
        range = (index + 1)..<range.upperBound
      } else if precedes(key, entries[index].key) {
        range = range.lowerBound..<index
      } else {
        return index
      }
    }
    return nil
  }
}

private struct ArrayDecodingContainer: UnkeyedDecodingContainer {
  let place: DecodingPlace
  let items: [CBORItem]
  private(set) var currentIndex = 0

  init(place: DecodingPlace, items: [CBORItem]) {
    self.place = place
    self.items = items
  }

  var codingPath: [any CodingKey] { place.path }
  var count: Int? { items.count }
  var isAtEnd: Bool { currentIndex >= items.count }

  mutating func decodeNil() throws -> Bool {
    guard try peek().readNull() else { return false }
    currentIndex += 1
    return true
  }

  mutating func decode(_ type: Int128.Type) throws -> Int128 { try next { try $0.value(of: type) } }

  mutating func decode(_ type: UInt128.Type) throws -> UInt128 {
    try next { try $0.value(of: type) }
  }

  mutating func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
    try next { try $0.value(of: type) }
  }

  mutating func nestedContainer<NestedKey: CodingKey>(
    keyedBy type: NestedKey.Type
  ) throws -> KeyedDecodingContainer<NestedKey> {
    try next { [place] in try PlaceDecoder(place: place.keep($0)).container(keyedBy: type) }
  }

  mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
    try next { [place] in try PlaceDecoder(place: place.keep($0)).unkeyedContainer() }
  }

  mutating func superDecoder() throws -> any Decoder {
    try next { [place] in PlaceDecoder(place: place.keep($0)) }
  }

  private func peek() throws -> DecodingPlace {
    guard !isAtEnd else {
      let reason = "more than \(items.count) elements expected"
      throw DecodingError.valueNotFound(
        CBORItem.self, .init(codingPath: codingPath, debugDescription: reason))
    }
    return place.descend(to: items[currentIndex], currentIndex, IndexKey(currentIndex))
  }

  /// Reads the next element; one that cannot be read is not passed over.
  private mutating func next<Result>(_ read: (DecodingPlace) throws -> Result) throws -> Result {
    let result = try read(peek())
    currentIndex += 1
    return result
  }
}

private struct ValueDecodingContainer: SingleValueDecodingContainer {
  let place: DecodingPlace

  var codingPath: [any CodingKey] { place.path }

  func decodeNil() -> Bool { place.readNull() }

  func decode(_ type: Int128.Type) throws -> Int128 { try place.delegate(to: type) }

  func decode(_ type: UInt128.Type) throws -> UInt128 { try place.delegate(to: type) }

  func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
    try place.delegate(to: type)
  }
}
