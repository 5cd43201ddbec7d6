/// A Swift type whose values are one CBOR data item each, whatever its own `Codable` would say.
protocol CBORScalar {
  var cborItem: CBORItem { get }
  /// Throws if the item is of another kind, or has a value that this type has not.
  init(_ item: CBORItem) throws(CBORMismatch)
}

/// An item that does not fit the type asked for.
struct CBORMismatch: Error {
  let reason: String

  init(_ reason: String) { self.reason = reason }

  init(found item: CBORItem, expected type: Any.Type) {
    reason = "found \(item.kind), expected \(type)"
  }
}

extension Bool: CBORScalar {
  var cborItem: CBORItem { .bool(self) }

  init(_ item: CBORItem) throws(CBORMismatch) {
    guard case .bool(let value) = item else { throw .init(found: item, expected: Self.self) }
    self = value
  }
}

extension String: CBORScalar {
  var cborItem: CBORItem { .text(self) }

  init(_ item: CBORItem) throws(CBORMismatch) {
    guard case .text(let value) = item else { throw .init(found: item, expected: Self.self) }
    self = value
  }
}

extension [UInt8]: CBORScalar {
  var cborItem: CBORItem { .bytes(self) }

  init(_ item: CBORItem) throws(CBORMismatch) {
    guard case .bytes(let value) = item else { throw .init(found: item, expected: Self.self) }
    self = value
  }
}

// MARK: - Integers keep their value exactly

extension CBORScalar where Self: FixedWidthInteger {
  var cborItem: CBORItem {
    // For a negative n, ~n is −1 − n; no integer of at most 128 bits is out of range.
    self < 0
      ? .negative(UInt128(truncatingIfNeeded: ~self)) : .unsigned(UInt128(truncatingIfNeeded: self))
  }

  init(_ item: CBORItem) throws(CBORMismatch) {
    switch item {
    case .unsigned(let number):
      guard let value = Self(exactly: number) else {
        throw .init("\(number) does not fit into \(Self.self)")
      }
      self = value
    case .negative(let number):
      guard Self.isSigned, let value = Self(exactly: number) else {
        let value = Int128(exactly: number).map { "\(~$0)" } ?? "-1 - \(number)"
        throw .init("\(value) does not fit into \(Self.self)")
      }
      self = ~value
    default:
      throw .init(found: item, expected: Self.self)
    }
  }
}

extension Int: CBORScalar {}
extension Int8: CBORScalar {}
extension Int16: CBORScalar {}
extension Int32: CBORScalar {}
extension Int64: CBORScalar {}
extension Int128: CBORScalar {}
extension UInt: CBORScalar {}
extension UInt8: CBORScalar {}
extension UInt16: CBORScalar {}
extension UInt32: CBORScalar {}
extension UInt64: CBORScalar {}
extension UInt128: CBORScalar {}

// MARK: - Floating-point numbers keep their value exactly

extension Float: CBORScalar {
  var cborItem: CBORItem { .single(self) }

  init(_ item: CBORItem) throws(CBORMismatch) {
    switch item {
    case .single(let value):
      self = value
    case .double(let value):
      // Read from bytes, a double is one only because a single would lose bits of it.
      throw .init("\(value) does not fit into Float")
    default:
      throw .init(found: item, expected: Self.self)
    }
  }
}

extension Double: CBORScalar {
  var cborItem: CBORItem { .double(self) }

  init(_ item: CBORItem) throws(CBORMismatch) {
    switch item {
    case .single(let value):
      self = Double(value)
      // Widening quiets a signalling NaN.
      guard Float(self).bitPattern == value.bitPattern else {
        throw .init("a signalling NaN of Float does not fit into Double")
      }
    case .double(let value):
      self = value
    default:
      throw .init(found: item, expected: Self.self)
    }
  }
}
