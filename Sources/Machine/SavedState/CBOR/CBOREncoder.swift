/// Turns `Encodable` values into CBOR: always the same bytes for the same value.
///
/// Structures become maps with text keys, arrays become arrays, `[UInt8]` becomes a byte string,
/// and an optional property that is `nil` is left out.
package struct CBOREncoder {
  /// An encoder; it has no settings.
  package init() {}

  /// The value, encoded.
  package func encode<Value: Encodable>(_ value: Value) throws(SaveError) -> [UInt8] {
    let place = EncodingPlace(path: [])
    do {
      try place.fill(with: value)
    } catch let error as SaveError {
      throw error
    } catch EncodingError.invalidValue(_, let context) {
      throw .failed(at: context.codingPath, context.debugDescription)
    } catch {
      throw .failed("\(error)")
    }
    var allowance = CBORItem.maximumCount
    let item = try place.item(depth: 0, &allowance)
    var bytes: [UInt8] = []
    item.write(to: &bytes)
    return bytes
  }
}

extension SaveError {
  fileprivate static func failed(at path: [any CodingKey], _ reason: String) -> SaveError {
    let path = describe(path)
    return .failed(path.isEmpty ? reason : "\(path): \(reason)")
  }
}

/// A place in the tree that is being encoded. It is filled at once, or later through the container
/// that was handed out for it.
private final class EncodingPlace {
  enum Content {
    case nothing
    case item(CBORItem)
    case array([EncodingPlace])
    case map([(key: String, place: EncodingPlace)])
  }

  let path: [any CodingKey]
  private(set) var content = Content.nothing

  init(path: [any CodingKey]) { self.path = path }

  func fill(with item: CBORItem) { content = .item(item) }

  func fill<Value: Encodable>(with value: Value) throws {
    if let scalar = value as? any CBORScalar {
      content = .item(scalar.cborItem)
    } else {
      try value.encode(to: PlaceEncoder(place: self))
    }
  }

  func becomeArray() {
    if case .array = content { return }
    content = .array([])
  }

  func becomeMap() {
    if case .map = content { return }
    content = .map([])
  }

  var count: Int {
    guard case .array(let places) = content else { return 0 }
    return places.count
  }

  func append() -> EncodingPlace {
    guard case .array(var places) = content else {
      preconditionFailure("An array is appended to, but its place holds something else")
    }
    content = .nothing
    let place = EncodingPlace(path: path + [IndexKey(places.count)])
    places.append(place)
    content = .array(places)
    return place
  }

  func add(_ key: any CodingKey) -> EncodingPlace {
    guard case .map(var places) = content else {
      preconditionFailure("A key is added to a map, but its place holds something else")
    }
    content = .nothing
    let place = EncodingPlace(path: path + [key])
    places.append((key.stringValue, place))
    content = .map(places)
    return place
  }

  /// The finished item, with the keys of all maps in order.
  func item(depth: Int, _ allowance: inout Int) throws(SaveError) -> CBORItem {
    switch content {
    case .nothing:
      return .map([])
    case .item(let item):
      return item
    case .array(let places):
      try check(depth, &allowance, places.count)
      var items: [CBORItem] = []
      items.reserveCapacity(places.count)
      for place in places { items.append(try place.item(depth: depth + 1, &allowance)) }
      return .array(items)
    case .map(let places):
      try check(depth, &allowance, 2 * places.count)
      var entries: [CBORItem.Entry] = []
      entries.reserveCapacity(places.count)
      for (key, place) in places.sorted(by: { precedes($0.key, $1.key) }) {
        guard entries.last.map({ precedes($0.key, key) }) ?? true else {
          throw .failed(at: path, "the key \(key) is encoded twice")
        }
        entries.append(.init(key: key, value: try place.item(depth: depth + 1, &allowance)))
      }
      return .map(entries)
    }
  }

  /// Refuses what a decoder would refuse.
  private func check(_ depth: Int, _ allowance: inout Int, _ count: Int) throws(SaveError) {
    guard depth < CBORItem.maximumDepth else {
      throw .failed(at: path, "nested deeper than \(CBORItem.maximumDepth)")
    }
    guard count <= allowance else {
      throw .failed(at: path, "more than \(CBORItem.maximumCount) items")
    }
    allowance -= count
  }
}

// MARK: - What `Encodable` types see of a place

private struct PlaceEncoder: Encoder {
  let place: EncodingPlace

  var codingPath: [any CodingKey] { place.path }
  var userInfo: [CodingUserInfoKey: Any] { [:] }

  func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
    place.becomeMap()
    return KeyedEncodingContainer(MapEncodingContainer(place: place))
  }

  func unkeyedContainer() -> any UnkeyedEncodingContainer {
    place.becomeArray()
    return ArrayEncodingContainer(place: place)
  }

  func singleValueContainer() -> any SingleValueEncodingContainer {
    ValueEncodingContainer(place: place)
  }
}

private struct MapEncodingContainer<Key: CodingKey>: KeyedEncodingContainerProtocol {
  let place: EncodingPlace

  var codingPath: [any CodingKey] { place.path }

  func encodeNil(forKey key: Key) { place.add(key).fill(with: .null) }

  func encode(_ value: Int128, forKey key: Key) { place.add(key).fill(with: value.cborItem) }

  func encode(_ value: UInt128, forKey key: Key) { place.add(key).fill(with: value.cborItem) }

  func encode<Value: Encodable>(_ value: Value, forKey key: Key) throws {
    try place.add(key).fill(with: value)
  }

  func nestedContainer<NestedKey: CodingKey>(
    keyedBy type: NestedKey.Type, forKey key: Key
  ) -> KeyedEncodingContainer<NestedKey> {
    PlaceEncoder(place: place.add(key)).container(keyedBy: type)
  }

  func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
    PlaceEncoder(place: place.add(key)).unkeyedContainer()
  }

  func superEncoder() -> any Encoder { PlaceEncoder(place: place.add(SuperclassKey())) }

  func superEncoder(forKey key: Key) -> any Encoder { PlaceEncoder(place: place.add(key)) }
}

private struct ArrayEncodingContainer: UnkeyedEncodingContainer {
  let place: EncodingPlace

  var codingPath: [any CodingKey] { place.path }
  var count: Int { place.count }

  func encodeNil() { place.append().fill(with: .null) }

  func encode(_ value: Int128) { place.append().fill(with: value.cborItem) }

  func encode(_ value: UInt128) { place.append().fill(with: value.cborItem) }

  func encode<Value: Encodable>(_ value: Value) throws { try place.append().fill(with: value) }

  func nestedContainer<NestedKey: CodingKey>(
    keyedBy type: NestedKey.Type
  ) -> KeyedEncodingContainer<NestedKey> {
    PlaceEncoder(place: place.append()).container(keyedBy: type)
  }

  func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
    PlaceEncoder(place: place.append()).unkeyedContainer()
  }

  func superEncoder() -> any Encoder { PlaceEncoder(place: place.append()) }
}

private struct ValueEncodingContainer: SingleValueEncodingContainer {
  let place: EncodingPlace

  var codingPath: [any CodingKey] { place.path }

  func encodeNil() { place.fill(with: .null) }

  func encode(_ value: Int128) { place.fill(with: value.cborItem) }

  func encode(_ value: UInt128) { place.fill(with: value.cborItem) }

  func encode<Value: Encodable>(_ value: Value) throws { try place.fill(with: value) }
}
