/// States of many shapes, as devices have them.
struct Sample: Codable, Equatable, Sendable {
  struct Register: Codable, Equatable, RawRepresentable, Sendable { var rawValue: UInt16 }
  struct Flags: OptionSet, Codable, Sendable { let rawValue: UInt32 }
  enum Parity: UInt8, Codable, CaseIterable { case none, odd, even }
  enum Stage: String, Codable, CaseIterable { case idle, reset }
  enum Transfer: Codable, Equatable, Sendable {
    case none
    case block(UInt64, count: UInt32)
    case text(String?, data: [UInt8])
  }
  struct Widths: Codable, Equatable, Sendable {
    var a: Int8, b: Int16, c: Int32, d: Int64, e: Int128, f: Int
    var g: UInt8, h: UInt16, i: UInt32, j: UInt64, k: UInt128, l: UInt
  }
  struct Reals: Codable, Sendable, Equatable {
    var single: Float, double: Double

    static func == (one: Reals, other: Reals) -> Bool {
      one.single.bitPattern == other.single.bitPattern
        && one.double.bitPattern == other.double.bitPattern
    }
  }

  var widths: Widths
  var reals: Reals
  var isBusy: Bool
  var name: String
  var fifo: [UInt8]
  var lines: [UInt64]
  var pages: [[UInt8]]
  var register: Register
  var flags: Flags
  var parity: Parity
  var stage: Stage
  var transfer: Transfer
  var transfers: [Transfer]
  var deadline: UInt64?
  var holes: [UInt32?]
  var inner: [Widths]?
  var byName: [String: Int64]
  var byNumber: [Int: [UInt8]]
  var byWord: [UInt32: Bool]
  var names: Set<String>
  var range: Range<UInt64>
  var empty: [Int]

  init(from generator: inout Generator) {
    widths = Self.widths(&generator)
    reals = Reals(
      single: Float(bitPattern: generator.integer()),
      double: Double(bitPattern: generator.integer()))
    isBusy = Bool.random(using: &generator)
    name = generator.text()
    fifo = generator.bytes(0..<40)
    lines = generator.array { $0.integer() }
    pages = generator.array { $0.bytes(0..<3) }
    register = Register(rawValue: generator.integer())
    flags = Flags(rawValue: generator.integer())
    parity = Parity.allCases.randomElement(using: &generator) ?? .none
    stage = Stage.allCases.randomElement(using: &generator) ?? .idle
    transfer = Self.transfer(&generator)
    transfers = generator.array(Self.transfer)
    deadline = generator.optional { $0.integer() }
    holes = generator.array { $0.optional { $0.integer() } }
    inner = generator.optional { $0.array(Self.widths) }
    byName = Dictionary(generator.array { ($0.text(), $0.integer()) }) { $1 }
    byNumber = Dictionary(generator.array { ($0.integer(), $0.bytes(0..<3)) }) { $1 }
    byWord = Dictionary(generator.array { ($0.integer(), true) }) { $1 }
    names = Set(generator.array { $0.text() })
    range = 0..<generator.integer()
    empty = []
  }

  private static func widths(_ generator: inout Generator) -> Widths {
    Widths(
      a: generator.integer(), b: generator.integer(), c: generator.integer(),
      d: generator.integer(), e: generator.integer(), f: generator.integer(),
      g: generator.integer(), h: generator.integer(), i: generator.integer(),
      j: generator.integer(), k: generator.integer(), l: generator.integer())
  }

  private static func transfer(_ generator: inout Generator) -> Transfer {
    switch Int.random(in: 0..<3, using: &generator) {
    case 0: .none
    case 1: .block(generator.integer(), count: generator.integer())
    default: .text(generator.optional { $0.text() }, data: generator.bytes(0..<4))
    }
  }
}

/// Any value that the codec knows, for reading bytes without knowing their shape.
enum Anything: Codable, Equatable {
  case nothing
  case bool(Bool)
  case number(Int128)
  case huge(UInt128)
  case real(Double)
  case signalling(Float)
  case text(String)
  case bytes([UInt8])
  case array([Anything])
  case map([String: Anything])

  init(from decoder: any Decoder) throws {
    let container = try decoder.singleValueContainer()
    if container.decodeNil() {
      self = .nothing
    } else if let value = try? container.decode(Bool.self) {
      self = .bool(value)
    } else if let value = try? container.decode(Int128.self) {
      self = .number(value)
    } else if let value = try? container.decode(UInt128.self) {
      self = .huge(value)
    } else if let value = try? container.decode(Double.self) {
      self = .real(value)
    } else if let value = try? container.decode(Float.self) {
      self = .signalling(value)
    } else if let value = try? container.decode(String.self) {
      self = .text(value)
    } else if let value = try? container.decode([UInt8].self) {
      self = .bytes(value)
    } else if let value = try? container.decode([Anything].self) {
      self = .array(value)
    } else {
      self = .map(try container.decode([String: Anything].self))
    }
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .nothing: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .number(let value): try container.encode(value)
    case .huge(let value): try container.encode(value)
    case .real(let value): try container.encode(value)
    case .signalling(let value): try container.encode(value)
    case .text(let value): try container.encode(value)
    case .bytes(let value): try container.encode(value)
    case .array(let value): try container.encode(value)
    case .map(let value): try container.encode(value)
    }
  }
}

/// Arrays in arrays.
struct Nest: Codable, Equatable {
  var depth: Int

  init(depth: Int) { self.depth = depth }

  init(from decoder: any Decoder) throws {
    var container = try decoder.unkeyedContainer()
    depth = container.isAtEnd ? 1 : try container.decode(Nest.self).depth + 1
  }

  func encode(to encoder: any Encoder) throws {
    var container = encoder.unkeyedContainer()
    if depth > 1 { try container.encode(Nest(depth: depth - 1)) }
  }
}
