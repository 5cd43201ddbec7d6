/// Where in an array a value stands.
struct IndexKey: CodingKey {
  let index: Int

  init(_ index: Int) { self.index = index }
  init?(intValue: Int) { self.init(intValue) }
  init?(stringValue: String) { return nil }

  var intValue: Int? { index }
  var stringValue: String { "[\(index)]" }
}

/// Where what a superclass encodes stands.
struct SuperclassKey: CodingKey {
  init() {}
  init?(intValue: Int) { return nil }
  init?(stringValue: String) { return nil }

  var intValue: Int? { nil }
  var stringValue: String { "super" }
}

/// A coding path as it is shown to people: `fifo[3].data`.
func describe(_ path: [any CodingKey]) -> String {
  path.reduce(into: "") { text, key in
    if let index = key as? IndexKey {
      text += index.stringValue
    } else {
      text += (text.isEmpty ? "" : ".") + key.stringValue
    }
  }
}
