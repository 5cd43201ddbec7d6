import Testing

@testable import X86Processor

/// Each instruction's register form, run by the host's processor and by ours on thousands of operands.
@Suite(.enabled(if: hostIsX86, "compares with the host's own processor, which must be an x86"))
struct VectorDifferentialTests {
  @Test(arguments: VectorInstructions.all + VectorInstructions.extensions)
  func `agrees with the host`(group: VectorInstructions) throws {
    for code in group.codes {
      for immediate in group.immediates {
        let mismatch = try Self.firstMismatch(code + immediate, group, samples: group.samples)
        #expect(mismatch == nil)
      }
    }
  }

  static func firstMismatch(
    _ code: [UInt8], _ group: VectorInstructions, samples count: Int, seed: UInt64 = 42
  ) throws -> String? {
    let name = code.map { String($0, radix: 16) }.joined(separator: " ")
    let ours = try ThreadedProcessor(code)
    guard ours.isDefined else { return "\(name) is not known" }
    let native = NativeProcessor(code)
    var samples = VectorSamples(seed: seed)
    for _ in 0..<count {
      let state = samples.state(modes: group.isFloat)
      let expected = native.run(state)
      let result = ours.run(state)
      if result != expected {
        return "\(name)\n from \(state)\n host \(expected)\n ours \(result)"
      }
    }
    return nil
  }
}

/// Instructions that are tested alike, on registers 1 (destination) and 2.
struct VectorInstructions: CustomTestStringConvertible, Sendable {
  let testDescription: String
  var isFloat = false
  var samples = 2000
  var codes: [[UInt8]] = []
  var immediates: [[UInt8]] = [[]]

  private static let registers: UInt8 = 0xca

  /// The same opcodes after each of the given prefixes.
  init(
    _ description: String, prefixes: [[UInt8]], map: [UInt8] = [0x0f], _ opcodes: [UInt8],
    float: Bool = false, immediates: [UInt8]? = nil
  ) {
    testDescription = description
    isFloat = float
    for prefix in prefixes {
      // A REX prefix stands between the mandatory one and the opcode.
      codes += opcodes.map { prefix + map + [$0, Self.registers] }
    }
    if let immediates {
      self.immediates = immediates.map { [$0] }
      samples = max(40, 4000 / immediates.count)
    }
  }

  init(_ description: String, codes: [[UInt8]], float: Bool = false) {
    testDescription = description
    self.codes = codes
    isFloat = float
  }

  static let all: [VectorInstructions] = [
    .init(
      "moves", prefixes: [[], [0x66]], [0x10, 0x11, 0x28, 0x29, 0x50, 0x6e, 0x6f, 0x7e, 0x7f]),
    .init("halves", prefixes: [[]], [0x12, 0x16]),
    .init("scalar moves", prefixes: [[0xf3], [0xf2]], [0x10, 0x11, 0x12]),
    .init(
      "more moves",
      codes: [
        [0xf3, 0x0f, 0x16, 0xca], [0xf3, 0x0f, 0x6f, 0xca], [0xf3, 0x0f, 0x7f, 0xca],
        [0xf3, 0x0f, 0x7e, 0xca], [0x66, 0x0f, 0xd6, 0xca], [0xf3, 0x0f, 0xd6, 0xca],
        [0xf2, 0x0f, 0xd6, 0xca], [0x66, 0x48, 0x0f, 0x6e, 0xca], [0x66, 0x48, 0x0f, 0x7e, 0xca],
        [0x48, 0x0f, 0x6e, 0xca], [0x48, 0x0f, 0x7e, 0xca],
      ]),
    .init(
      "packed integers, XMM and MMX", prefixes: [[], [0x66]],
      Array(0x60...0x6b) + Array(0x74...0x76) + Array(0xd1...0xd5) + Array(0xd7...0xe5)
        + Array(0xe8...0xef) + Array(0xf1...0xf6) + Array(0xf8...0xfe)),
    .init("unpacking", prefixes: [[], [0x66]], [0x14, 0x15]),
    .init("unpacking quadwords", prefixes: [[0x66]], [0x6c, 0x6d]),
    .init(
      "shuffles", prefixes: [[], [0x66], [0xf2], [0xf3]], [0x70], immediates: Array(0...255)),
    .init(
      "shuffles of two", prefixes: [[], [0x66]], [0xc4, 0xc5, 0xc6], immediates: Array(0...255)),
    .shifts,
    .init("logic", prefixes: [[], [0x66]], [0x54, 0x55, 0x56, 0x57]),
    .init(
      "arithmetic", prefixes: [[], [0x66], [0xf2], [0xf3]],
      [0x51, 0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f], float: true),
    .init("approximations", prefixes: [[], [0xf3]], [0x52, 0x53], float: true),
    .init("neighbours", prefixes: [[0x66], [0xf2]], [0x7c, 0x7d, 0xd0], float: true),
    .init("comparisons into flags", prefixes: [[], [0x66]], [0x2e, 0x2f], float: true),
    .init(
      "comparisons", prefixes: [[], [0x66], [0xf2], [0xf3]], [0xc2], float: true,
      immediates: Array(0...9)),
    .init(
      "conversions", prefixes: [[], [0x66], [0xf2], [0xf3]], [0x2a, 0x2c, 0x2d, 0x5a], float: true),
    .init("conversions of integers", prefixes: [[], [0x66], [0xf3]], [0x5b], float: true),
    .init("conversions of pairs", prefixes: [[0xf2], [0x66], [0xf3]], [0xe6], float: true),
    .init(
      "conversions of quadwords", prefixes: [[0xf2, 0x48], [0xf3, 0x48]], [0x2a, 0x2c, 0x2d],
      float: true),
  ]

  /// SSSE3, SSE4.1 and SSE4.2.
  static let extensions: [VectorInstructions] = [
    .init(
      "SSSE3, XMM and MMX", prefixes: [[], [0x66]], map: [0x0f, 0x38],
      Array(0x00...0x0b) + [0x1c, 0x1d, 0x1e]),
    .init(
      "SSE4 integers", prefixes: [[0x66]], map: [0x0f, 0x38],
      [0x10, 0x14, 0x15, 0x17, 0x28, 0x29, 0x2b] + Array(0x37...0x41)),
    .init(
      "widening", prefixes: [[0x66]], map: [0x0f, 0x38],
      Array(0x20...0x25) + Array(0x30...0x35)),
    .init(
      "checksums of bytes and words", prefixes: [[0xf2], [0x66, 0xf2]], map: [0x0f, 0x38],
      [0xf0, 0xf1]),
    .init("checksums of quadwords", prefixes: [[0xf2, 0x48]], map: [0x0f, 0x38], [0xf0, 0xf1]),
    .init(
      "rounding", prefixes: [[0x66]], map: [0x0f, 0x3a], Array(0x08...0x0b), float: true,
      immediates: Array(0...31)),
    .init(
      "alignment", prefixes: [[], [0x66]], map: [0x0f, 0x3a], [0x0f],
      immediates: Array(0...255)),
    .init(
      "SSE4 by immediate", prefixes: [[0x66]], map: [0x0f, 0x3a],
      [0x0c, 0x0d, 0x0e, 0x14, 0x15, 0x16, 0x17, 0x20, 0x21, 0x22, 0x42],
      immediates: Array(0...255)),
    .init(
      "quadword elements", prefixes: [[0x66, 0x48]], map: [0x0f, 0x3a], [0x16, 0x22],
      immediates: Array(0...255)),
    .init(
      "dot products", prefixes: [[0x66]], map: [0x0f, 0x3a], [0x40, 0x41], float: true,
      immediates: Array(0...255)),
    .init(
      "strings", prefixes: [[0x66], [0x66, 0x48]], map: [0x0f, 0x3a], Array(0x60...0x63),
      immediates: Array(0...255)),
  ]

  private static var shifts: VectorInstructions {
    var group = VectorInstructions("shifts by immediate", codes: [])
    // Groups 12 to 14: the opcode's extension in the register field.
    let digits: [(UInt8, [UInt8])] = [(0x71, [2, 4, 6]), (0x72, [2, 4, 6]), (0x73, [2, 6])]
    for (opcode, extensions) in digits {
      for digit in extensions {
        group.codes += [
          [0x0f, opcode, 0xc1 | digit << 3], [0x66, 0x0f, opcode, 0xc1 | digit << 3],
        ]
      }
    }
    group.codes += [[0x66, 0x0f, 0x73, 0xd9], [0x66, 0x0f, 0x73, 0xf9]]
    group.immediates = (0...255).map { [$0] }
    group.samples = 40
    return group
  }
}
