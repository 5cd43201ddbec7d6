/// One part of a machine, saved: who it was, in which shape, and the state itself.
package struct SavedPart: Sendable, Equatable {
  /// The part's name in its machine: `com1`.
  package var name: String
  /// The name and number of the shape of the state: `uart16550/1`.
  package var schema: String
  /// The state, in CBOR.
  package var payload: [UInt8]

  /// Saves `value` under a name.
  package init<Value: Encodable>(name: String, schema: String, value: Value) throws(SaveError) {
    self.name = name
    self.schema = schema
    do {
      payload = try CBOREncoder().encode(value)
    } catch {
      guard case .failed(let reason) = error else { throw error }
      throw .failed("\(name): \(reason)")
    }
  }

  /// A part as it was read from a file.
  init(name: String, schema: String, payload: [UInt8]) {
    self.name = name
    self.schema = schema
    self.payload = payload
  }

  /// Reads the state back, provided that it has the shape the caller expects.
  package func decode<Value: Decodable>(
    _ type: Value.Type, schema expected: String
  ) throws(RestoreError) -> Value {
    guard schema == expected else {
      throw .schemaMismatch(part: name, found: schema, expected: expected)
    }
    do {
      return try CBORDecoder().decode(type, from: payload)
    } catch {
      guard case .malformed(let path, let reason) = error else { throw error }
      let separator = path.isEmpty || path.hasPrefix("[") ? "" : "."
      throw .malformed(part: name + separator + path, reason: reason)
    }
  }
}
