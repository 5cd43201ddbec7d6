import ArchitectureX86
import Testing

/// Instructions with a VEX prefix that are encoded alike.
struct VEXInstructions: CustomTestStringConvertible, Sendable {
  enum Operands { case registers, memory, both }

  let testDescription: String
  /// 1: 0F, 2: 0F 38, 3: 0F 3A.
  var map: UInt8
  /// 0: none, 1: 66, 2: F3, 3: F2.
  var prefixes: [UInt8]
  var opcodes: [UInt8]
  /// Values of VEX.L; both where it says nothing.
  var lengths: [UInt8] = [0, 1]
  var ws: [UInt8] = [0]
  var operands = Operands.both
  /// Whether VEX.vvvv names an operand.
  var hasFirst = true
  /// Register, VEX.vvvv and r/m register.
  var registers: [(UInt8, UInt8, UInt8)] = [(1, 2, 3), (1, 1, 3), (1, 2, 1), (1, 1, 1), (1, 2, 2)]
  /// Bits 3 to 5 of ModRM, where they belong to the opcode.
  var digit: UInt8?
  var isFloat = false
  var immediates: [UInt8] = []
  /// Flags that the instruction leaves undefined.
  var undefined: UInt64 = 0
  var isAligned = false
  /// No VEX prefix: the bytes of prefix and opcode.
  var legacy: [[UInt8]] = []

  struct Encoding {
    var code: [UInt8]
    var isMemory: Bool
  }

  /// Each instruction, with every choice of registers.
  var encodings: [Encoding] {
    var found: [Encoding] = []
    if !legacy.isEmpty {
      for opcode in legacy {
        for immediate in immediates.isEmpty ? [[]] : immediates.map({ [$0] }) {
          if operands != .memory {
            found.append(Encoding(code: opcode + [0xc8] + immediate, isMemory: false))
          }
          if operands != .registers {
            found.append(
              Encoding(code: opcode + [0x8b, 0x80, 0, 0, 0] + immediate, isMemory: true))
          }
        }
      }
      return found
    }
    for prefix in prefixes {
      for opcode in opcodes {
        for length in lengths {
          for w in ws {
            for (index, choice) in registers.enumerated() {
              for immediate in immediates.isEmpty ? [nil] : immediates.map(Optional.some) {
                let tail = immediate.map { [$0] } ?? []
                if operands != .memory {
                  let modRM = 0xc0 | (digit ?? choice.0) << 3 | choice.2
                  found.append(
                    Encoding(
                      code: head(prefix, length, w, choice.1) + [opcode, modRM] + tail,
                      isMemory: false))
                }
                if operands != .registers, index < 2 {
                  let modRM = 0x83 | (digit ?? choice.0) << 3
                  found.append(
                    Encoding(
                      code: head(prefix, length, w, choice.1) + [opcode, modRM, 0x80, 0, 0, 0]
                        + tail, isMemory: true))
                }
              }
            }
          }
        }
      }
    }
    return found
  }

  /// The three bytes of the prefix.
  private func head(_ prefix: UInt8, _ length: UInt8, _ w: UInt8, _ first: UInt8) -> [UInt8] {
    let vvvv = hasFirst ? ~first & 15 : 15
    return [0xc4, 0xe0 | map, w << 7 | vvvv << 3 | length << 2 | prefix]
  }

  private static let all256: [UInt8] = Array(0...255)
  private static let someImmediates: [UInt8] = [
    0, 1, 2, 3, 4, 5, 7, 8, 0xc, 0xf, 0x10, 0x1b, 0x21, 0x31, 0x39, 0x4e, 0x55, 0x72, 0x80, 0x93,
    0xaa, 0xb1, 0xc6, 0xe4, 0xff,
  ]
  private static let unaryRegisters: [(UInt8, UInt8, UInt8)] = [(1, 0, 3), (1, 0, 1), (2, 0, 1)]

  static let avx: [VEXInstructions] = [
    .init(
      testDescription: "moves", map: 1, prefixes: [0, 1], opcodes: [0x10, 0x11, 0x28, 0x29],
      hasFirst: false, registers: unaryRegisters, isAligned: true),
    .init(
      testDescription: "integer moves", map: 1, prefixes: [1, 2], opcodes: [0x6f, 0x7f],
      hasFirst: false, registers: unaryRegisters, isAligned: true),
    .init(
      testDescription: "unaligned moves", map: 1, prefixes: [2], opcodes: [0x6f, 0x7f],
      operands: .memory, hasFirst: false),
    .init(
      testDescription: "non-temporal moves", map: 1, prefixes: [1], opcodes: [0x2b, 0xe7],
      operands: .memory, hasFirst: false, isAligned: true),
    .init(
      testDescription: "LDDQU", map: 1, prefixes: [3], opcodes: [0xf0], operands: .memory,
      hasFirst: false),
    .init(
      testDescription: "MOVNTDQA", map: 2, prefixes: [1], opcodes: [0x2a], operands: .memory,
      hasFirst: false, isAligned: true),
    .init(
      testDescription: "scalar moves between registers", map: 1, prefixes: [2, 3],
      opcodes: [0x10, 0x11], operands: .registers),
    .init(
      testDescription: "scalar moves with memory", map: 1, prefixes: [2, 3], opcodes: [0x10, 0x11],
      operands: .memory, hasFirst: false),
    .init(
      testDescription: "halves", map: 1, prefixes: [0], opcodes: [0x12, 0x16], lengths: [0]),
    .init(
      testDescription: "halves from memory", map: 1, prefixes: [1], opcodes: [0x12, 0x16],
      lengths: [0], operands: .memory),
    .init(
      testDescription: "halves to memory", map: 1, prefixes: [0, 1], opcodes: [0x13, 0x17],
      lengths: [0], operands: .memory, hasFirst: false),
    .init(
      testDescription: "duplicates", map: 1, prefixes: [2], opcodes: [0x12, 0x16], hasFirst: false,
      registers: unaryRegisters),
    .init(
      testDescription: "MOVDDUP", map: 1, prefixes: [3], opcodes: [0x12], hasFirst: false,
      registers: unaryRegisters),
    .init(
      testDescription: "MOVD, MOVQ", map: 1, prefixes: [1], opcodes: [0x6e, 0x7e], lengths: [0],
      ws: [0, 1], hasFirst: false, registers: [(1, 0, 2), (2, 0, 0)]),
    .init(
      testDescription: "MOVQ between vectors", map: 1, prefixes: [2], opcodes: [0x7e],
      lengths: [0], hasFirst: false, registers: unaryRegisters),
    .init(
      testDescription: "MOVQ to r/m", map: 1, prefixes: [1], opcodes: [0xd6], lengths: [0],
      hasFirst: false, registers: unaryRegisters),
    .init(
      testDescription: "masks of signs", map: 1, prefixes: [0, 1], opcodes: [0x50],
      operands: .registers, hasFirst: false),
    .init(
      testDescription: "PMOVMSKB", map: 1, prefixes: [1], opcodes: [0xd7], operands: .registers,
      hasFirst: false),
    .init(
      testDescription: "unpacking", map: 1, prefixes: [0, 1], opcodes: [0x14, 0x15]),
    .init(
      testDescription: "logic", map: 1, prefixes: [0, 1], opcodes: [0x54, 0x55, 0x56, 0x57]),
    .init(
      testDescription: "arithmetic", map: 1, prefixes: [0, 1, 2, 3],
      opcodes: [0x58, 0x59, 0x5c, 0x5d, 0x5e, 0x5f], isFloat: true),
    .init(
      testDescription: "square roots", map: 1, prefixes: [0, 1], opcodes: [0x51], hasFirst: false,
      registers: unaryRegisters, isFloat: true),
    .init(
      testDescription: "scalar square roots", map: 1, prefixes: [2, 3], opcodes: [0x51],
      isFloat: true),
    .init(
      testDescription: "approximations", map: 1, prefixes: [0], opcodes: [0x52, 0x53],
      hasFirst: false, registers: unaryRegisters, isFloat: true),
    .init(
      testDescription: "scalar approximations", map: 1, prefixes: [2], opcodes: [0x52, 0x53],
      isFloat: true),
    .init(
      testDescription: "neighbours", map: 1, prefixes: [1, 3], opcodes: [0x7c, 0x7d, 0xd0],
      isFloat: true),
    .init(
      testDescription: "comparisons into flags", map: 1, prefixes: [0, 1], opcodes: [0x2e, 0x2f],
      hasFirst: false, registers: unaryRegisters, isFloat: true),
    .init(
      testDescription: "comparisons", map: 1, prefixes: [0, 1, 2, 3], opcodes: [0xc2],
      registers: [(1, 2, 3), (1, 2, 1)], isFloat: true, immediates: Array(0...31) + [0xe5]),
    .init(
      testDescription: "conversions of integers", map: 1, prefixes: [2, 3], opcodes: [0x2a],
      ws: [0, 1], registers: [(1, 2, 0), (1, 1, 2)], isFloat: true),
    .init(
      testDescription: "conversions to integers", map: 1, prefixes: [2, 3], opcodes: [0x2c, 0x2d],
      ws: [0, 1], hasFirst: false, registers: unaryRegisters, isFloat: true),
    .init(
      testDescription: "conversions between formats", map: 1, prefixes: [0, 1], opcodes: [0x5a],
      hasFirst: false, registers: unaryRegisters, isFloat: true),
    .init(
      testDescription: "scalar conversions between formats", map: 1, prefixes: [2, 3],
      opcodes: [0x5a], isFloat: true),
    .init(
      testDescription: "packed conversions", map: 1, prefixes: [0, 1, 2], opcodes: [0x5b],
      hasFirst: false, registers: unaryRegisters, isFloat: true),
    .init(
      testDescription: "conversions of pairs", map: 1, prefixes: [1, 2, 3], opcodes: [0xe6],
      hasFirst: false, registers: unaryRegisters, isFloat: true),
    .init(
      testDescription: "shuffles of two", map: 1, prefixes: [0, 1], opcodes: [0xc6],
      immediates: someImmediates),
    .init(
      testDescription: "PINSRW", map: 1, prefixes: [1], opcodes: [0xc4], lengths: [0],
      registers: [(1, 2, 0), (1, 1, 2)], immediates: someImmediates),
    .init(
      testDescription: "PEXTRW", map: 1, prefixes: [1], opcodes: [0xc5], lengths: [0],
      operands: .registers, hasFirst: false, registers: unaryRegisters, immediates: someImmediates),
    .init(
      testDescription: "permutations of singles and doubles", map: 2, prefixes: [1],
      opcodes: [0x0c, 0x0d]),
    .init(
      testDescription: "permutations by immediate", map: 3, prefixes: [1], opcodes: [0x04, 0x05],
      hasFirst: false, registers: unaryRegisters, immediates: someImmediates),
    .init(
      testDescription: "tests", map: 2, prefixes: [1], opcodes: [0x0e, 0x0f, 0x17], hasFirst: false,
      registers: [(1, 0, 3), (1, 0, 1)]),
    .init(
      testDescription: "broadcasts", map: 2, prefixes: [1],
      opcodes: [0x18, 0x58, 0x59, 0x78, 0x79],
      hasFirst: false, registers: unaryRegisters),
    .init(
      testDescription: "VBROADCASTSD", map: 2, prefixes: [1], opcodes: [0x19], lengths: [1],
      hasFirst: false, registers: unaryRegisters),
    .init(
      testDescription: "broadcasts of halves", map: 2, prefixes: [1], opcodes: [0x1a, 0x5a],
      lengths: [1], operands: .memory, hasFirst: false),
    .init(
      testDescription: "permutations of halves", map: 3, prefixes: [1], opcodes: [0x06, 0x46],
      lengths: [1], immediates: all256),
    .init(
      testDescription: "insertions of halves", map: 3, prefixes: [1], opcodes: [0x18, 0x38],
      lengths: [1], immediates: [0, 1, 0xfe]),
    .init(
      testDescription: "extractions of halves", map: 3, prefixes: [1], opcodes: [0x19, 0x39],
      lengths: [1], hasFirst: false, registers: unaryRegisters, immediates: [0, 1, 0xfe]),
    .init(
      testDescription: "rounding", map: 3, prefixes: [1], opcodes: [0x08, 0x09], hasFirst: false,
      registers: unaryRegisters, isFloat: true, immediates: Array(0...15)),
    .init(
      testDescription: "scalar rounding", map: 3, prefixes: [1], opcodes: [0x0a, 0x0b],
      isFloat: true, immediates: Array(0...15)),
    .init(
      testDescription: "blends by immediate", map: 3, prefixes: [1], opcodes: [0x0c, 0x0d],
      immediates: someImmediates),
    .init(
      testDescription: "blends by register", map: 3, prefixes: [1], opcodes: [0x4a, 0x4b, 0x4c],
      immediates: [0x00, 0x10, 0x20, 0x3f]),
    .init(
      testDescription: "dot products", map: 3, prefixes: [1], opcodes: [0x40],
      registers: [(1, 2, 3), (1, 2, 1)], isFloat: true, immediates: someImmediates),
    .init(
      testDescription: "DPPD", map: 3, prefixes: [1], opcodes: [0x41], lengths: [0], isFloat: true,
      immediates: someImmediates),
    .init(
      testDescription: "extractions of elements", map: 3, prefixes: [1],
      opcodes: [0x14, 0x15, 0x16, 0x17], lengths: [0], ws: [0, 1], hasFirst: false,
      registers: [(1, 0, 2), (1, 0, 0)], immediates: someImmediates),
    .init(
      testDescription: "insertions of elements", map: 3, prefixes: [1], opcodes: [0x20, 0x22],
      lengths: [0], ws: [0, 1], registers: [(1, 2, 0), (1, 1, 2)], immediates: someImmediates),
    .init(
      testDescription: "INSERTPS", map: 3, prefixes: [1], opcodes: [0x21], lengths: [0],
      immediates: all256),
    .init(
      testDescription: "strings", map: 3, prefixes: [1], opcodes: [0x60, 0x61, 0x62, 0x63],
      lengths: [0], hasFirst: false, registers: unaryRegisters, immediates: someImmediates),
    .init(
      testDescription: "masked moves", map: 2, prefixes: [1], opcodes: [0x2c, 0x2d, 0x2e, 0x2f],
      operands: .memory),
    .init(
      testDescription: "VSTMXCSR", map: 1, prefixes: [0], opcodes: [0xae], lengths: [0],
      operands: .memory, hasFirst: false, digit: 3, isFloat: true),
  ]

  static let avx2: [VEXInstructions] = [
    .init(
      testDescription: "packed integers", map: 1, prefixes: [1],
      opcodes: Array(0x60...0x6d) + Array(0x74...0x76) + Array(0xd1...0xd5) + Array(0xd8...0xe5)
        + Array(0xe8...0xef) + Array(0xf1...0xf6) + Array(0xf8...0xfe)),
    .init(
      testDescription: "shuffles", map: 1, prefixes: [1, 2, 3], opcodes: [0x70], hasFirst: false,
      registers: unaryRegisters, immediates: someImmediates),
    .init(
      testDescription: "SSSE3 and SSE4 integers", map: 2, prefixes: [1],
      opcodes: Array(0x00...0x0b) + [0x28, 0x29, 0x2b] + Array(0x37...0x40)),
    .init(
      testDescription: "magnitudes", map: 2, prefixes: [1], opcodes: [0x1c, 0x1d, 0x1e],
      hasFirst: false, registers: unaryRegisters),
    .init(
      testDescription: "widening", map: 2, prefixes: [1],
      opcodes: Array(0x20...0x25) + Array(0x30...0x35), hasFirst: false, registers: unaryRegisters),
    .init(
      testDescription: "PHMINPOSUW", map: 2, prefixes: [1], opcodes: [0x41], lengths: [0],
      hasFirst: false, registers: unaryRegisters),
    .init(
      testDescription: "shifts of words by immediate", map: 1, prefixes: [1],
      opcodes: [0x71, 0x72],
      operands: .registers, registers: [(2, 1, 3), (2, 1, 1)], digit: 2, immediates: someImmediates),
    .init(
      testDescription: "arithmetic shifts by immediate", map: 1, prefixes: [1],
      opcodes: [0x71, 0x72], operands: .registers, registers: [(2, 1, 3), (2, 1, 1)], digit: 4,
      immediates: someImmediates),
    .init(
      testDescription: "left shifts by immediate", map: 1, prefixes: [1],
      opcodes: [0x71, 0x72, 0x73], operands: .registers, registers: [(2, 1, 3), (2, 1, 1)],
      digit: 6, immediates: someImmediates),
    .init(
      testDescription: "right shifts of quadwords", map: 1, prefixes: [1], opcodes: [0x73],
      operands: .registers, registers: [(2, 1, 3), (2, 1, 1)], digit: 2, immediates: someImmediates),
    .init(
      testDescription: "PSRLDQ", map: 1, prefixes: [1], opcodes: [0x73], operands: .registers,
      registers: [(2, 1, 3), (2, 1, 1)], digit: 3, immediates: someImmediates),
    .init(
      testDescription: "PSLLDQ", map: 1, prefixes: [1], opcodes: [0x73], operands: .registers,
      registers: [(2, 1, 3), (2, 1, 1)], digit: 7, immediates: someImmediates),
    .init(
      testDescription: "shifts by element", map: 2, prefixes: [1], opcodes: [0x45, 0x47],
      ws: [0, 1]),
    .init(testDescription: "VPSRAVD", map: 2, prefixes: [1], opcodes: [0x46]),
    .init(
      testDescription: "permutations of doublewords", map: 2, prefixes: [1], opcodes: [0x16, 0x36],
      lengths: [1]),
    .init(
      testDescription: "permutations of quadwords", map: 3, prefixes: [1], opcodes: [0x00, 0x01],
      lengths: [1], ws: [1], hasFirst: false, registers: unaryRegisters, immediates: someImmediates),
    .init(
      testDescription: "integers by immediate", map: 3, prefixes: [1],
      opcodes: [0x02, 0x0e, 0x0f, 0x42], immediates: someImmediates),
    .init(
      testDescription: "masked integer moves", map: 2, prefixes: [1], opcodes: [0x8c, 0x8e],
      ws: [0, 1], operands: .memory),
  ]

  static let fused: [VEXInstructions] = [
    .init(
      testDescription: "FMA", map: 2, prefixes: [1],
      opcodes: Array(0x96...0x9f) + Array(0xa6...0xaf) + Array(0xb6...0xbf), ws: [0, 1],
      isFloat: true)
  ]

  static let half: [VEXInstructions] = [
    .init(
      testDescription: "from half precision", map: 2, prefixes: [1], opcodes: [0x13],
      hasFirst: false, registers: unaryRegisters, isFloat: true),
    .init(
      testDescription: "to half precision", map: 3, prefixes: [1], opcodes: [0x1d],
      hasFirst: false, registers: unaryRegisters, isFloat: true, immediates: Array(0...7)),
  ]

  private static let generalRegisters: [(UInt8, UInt8, UInt8)] = [
    (0, 1, 2), (1, 1, 0), (2, 1, 2), (0, 2, 0),
  ]
  private typealias F = X86.Flags

  static let general: [VEXInstructions] = [
    .init(
      testDescription: "ANDN, BZHI", map: 2, prefixes: [0], opcodes: [0xf2, 0xf5], lengths: [0],
      ws: [0, 1], registers: generalRegisters, undefined: F.auxiliary | F.parity),
    .init(
      testDescription: "BLSR", map: 2, prefixes: [0], opcodes: [0xf3], lengths: [0], ws: [0, 1],
      registers: generalRegisters, digit: 1, undefined: F.auxiliary | F.parity),
    .init(
      testDescription: "BLSMSK", map: 2, prefixes: [0], opcodes: [0xf3], lengths: [0], ws: [0, 1],
      registers: generalRegisters, digit: 2, undefined: F.auxiliary | F.parity),
    .init(
      testDescription: "BLSI", map: 2, prefixes: [0], opcodes: [0xf3], lengths: [0], ws: [0, 1],
      registers: generalRegisters, digit: 3, undefined: F.auxiliary | F.parity),
    .init(
      testDescription: "BEXTR", map: 2, prefixes: [0], opcodes: [0xf7], lengths: [0], ws: [0, 1],
      registers: generalRegisters, undefined: F.auxiliary | F.parity | F.sign),
    .init(
      testDescription: "SHLX, SARX, SHRX", map: 2, prefixes: [1, 2, 3], opcodes: [0xf7],
      lengths: [0], ws: [0, 1], registers: generalRegisters),
    .init(
      testDescription: "PEXT, PDEP", map: 2, prefixes: [2, 3], opcodes: [0xf5], lengths: [0],
      ws: [0, 1], registers: generalRegisters),
    .init(
      testDescription: "MULX", map: 2, prefixes: [3], opcodes: [0xf6], lengths: [0], ws: [0, 1],
      registers: generalRegisters),
    .init(
      testDescription: "RORX", map: 3, prefixes: [3], opcodes: [0xf0], lengths: [0], ws: [0, 1],
      hasFirst: false, registers: [(0, 0, 2), (1, 0, 1)], immediates: someImmediates),
    .init(
      testDescription: "LZCNT, TZCNT", map: 0, prefixes: [], opcodes: [],
      undefined: F.overflow | F.sign | F.parity | F.auxiliary,
      legacy: [
        [0xf3, 0x0f, 0xbc], [0xf3, 0x0f, 0xbd], [0x66, 0xf3, 0x0f, 0xbc], [0x66, 0xf3, 0x0f, 0xbd],
        [0xf3, 0x48, 0x0f, 0xbc], [0xf3, 0x48, 0x0f, 0xbd],
      ]),
    .init(
      testDescription: "MOVBE", map: 0, prefixes: [], opcodes: [], operands: .memory,
      legacy: [
        [0x0f, 0x38, 0xf0], [0x0f, 0x38, 0xf1], [0x66, 0x0f, 0x38, 0xf0], [0x66, 0x0f, 0x38, 0xf1],
        [0x48, 0x0f, 0x38, 0xf0], [0x48, 0x0f, 0x38, 0xf1],
      ]),
  ]

  static let all = avx + avx2 + fused + half + general

  /// What the model `max` has beyond x86-64-v3.
  static let ciphers: [VEXInstructions] = [
    .init(
      testDescription: "VAESENC, VAESDEC and their last rounds", map: 2, prefixes: [1],
      opcodes: Array(0xdc...0xdf)),
    .init(
      testDescription: "VAESIMC", map: 2, prefixes: [1], opcodes: [0xdb], lengths: [0],
      hasFirst: false, registers: unaryRegisters),
    .init(
      testDescription: "VAESKEYGENASSIST", map: 3, prefixes: [1], opcodes: [0xdf], lengths: [0],
      hasFirst: false, registers: unaryRegisters, immediates: someImmediates),
    .init(
      testDescription: "VPCLMULQDQ", map: 3, prefixes: [1], opcodes: [0x44],
      immediates: [0x00, 0x01, 0x10, 0x11, 0xee]),
    .init(
      testDescription: "AES", map: 0, prefixes: [], opcodes: [], isAligned: true,
      legacy: (0xdb...0xdf).map { [0x66, 0x0f, 0x38, $0] }),
    .init(
      testDescription: "AESKEYGENASSIST", map: 0, prefixes: [], opcodes: [],
      immediates: someImmediates, isAligned: true, legacy: [[0x66, 0x0f, 0x3a, 0xdf]]),
    .init(
      testDescription: "PCLMULQDQ", map: 0, prefixes: [], opcodes: [],
      immediates: [0x00, 0x01, 0x10, 0x11, 0xee], isAligned: true,
      legacy: [[0x66, 0x0f, 0x3a, 0x44]]),
    .init(
      testDescription: "SHA", map: 0, prefixes: [], opcodes: [], isAligned: true,
      legacy: (0xc8...0xcd).map { [0x0f, 0x38, $0] }),
    .init(
      testDescription: "SHA1RNDS4", map: 0, prefixes: [], opcodes: [], immediates: someImmediates,
      isAligned: true, legacy: [[0x0f, 0x3a, 0xcc]]),
    .init(
      testDescription: "ADCX, ADOX", map: 0, prefixes: [], opcodes: [],
      legacy: [
        [0x66, 0x0f, 0x38, 0xf6], [0xf3, 0x0f, 0x38, 0xf6], [0x66, 0x48, 0x0f, 0x38, 0xf6],
        [0xf3, 0x48, 0x0f, 0x38, 0xf6],
      ]),
  ]
}
