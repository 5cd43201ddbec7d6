import ArchitectureX86
import X86Processor

/// An entry of the opcode maps for instructions on XMM and YMM registers, with and without a VEX prefix: SDM Vol. 2D
/// Appendix A, and the instructions' own pages in Vol. 2.
struct VectorEntry {
  /// What is done to which operand.
  enum Operands: UInt8 {
    case nothing
    /// reg ← rm
    case load
    /// rm ← reg
    case store
    /// flags ← reg, rm
    case compare
    /// reg ← reg, rm; with VEX reg ← vvvv, rm
    case combine
    /// rm ← rm, reg; with VEX rm ← vvvv, reg
    case combineIntoRM
    /// reg ← reg, vvvv, rm; VEX only
    case accumulate
    /// rm ← rm; with VEX vvvv ← rm
    case shift
    /// reg, a general register ← rm
    case toGeneral
    /// rm, a general register or memory ← reg
    case extract
    /// reg ← rm, a general register or memory
    case fromGeneral
    /// As `combine`, and rm is a general register or memory.
    case combineGeneral

    /// Whether VEX.vvvv names an operand; if not, it must be 1111b.
    fileprivate var haveVVVV: Bool {
      switch self {
      case .combine, .combineIntoRM, .combineGeneral, .accumulate, .shift: true
      default: false
      }
    }
  }

  /// What rm may be.
  enum Place: UInt8 {
    case any, memory, register
  }

  /// Whether a memory operand that is not aligned raises #GP: SDM Vol. 1 §4.1.1, §14.9.
  enum Alignment: UInt8 {
    /// Without VEX, if it has 16 bytes.
    case usual
    case never
    case always
  }

  /// What VEX.W must be. Without VEX, REX.W is ignored where it does not choose the operand's size.
  enum W: UInt8 {
    case any, zero, one
  }

  var operands: Operands
  var feature: VectorFeature
  /// What 256 bits take, beyond AVX.
  var wideFeature = VectorFeature.avx
  /// Bytes of the memory operand, if rm may be one, with vectors of 128 bits; `nil` if VEX.L must be 1.
  var short: Int?
  /// The same with vectors of 256 bits; `nil` if VEX.L must be 0. Of instructions on one element, which ignore it,
  /// the SDM warns that they "may encounter unpredictable behavior across different processor generations".
  var wide: Int?
  var place = Place.any
  var alignment = Alignment.usual
  var w = W.any
  /// Whether there is a sibling with VEX.
  var hasVEX = true

  func isAnnounced(by features: X86.Features, for i: Instruction) -> Bool {
    guard let vex = i.vex else { return !feature.needsVEX && feature.isAnnounced(by: features) }
    return hasVEX && features.hasAVX && feature.isAnnounced(by: features)
      && (!vex.isWide || wideFeature.isAnnounced(by: features))
  }

  func permits(_ vex: VEXPrefix) -> Bool {
    guard operands.haveVVVV || vex.namesNone else { return false }
    return switch w {
    case .any: true
    case .zero: !vex.isW
    case .one: vex.isW
    }
  }

  func alignment(bytes: Int, isVEX: Bool) -> Int {
    switch alignment {
    case .usual: !isVEX && bytes == 16 ? 16 : 1
    case .never: 1
    case .always: bytes
    }
  }
}

/// What CPUID announces instructions by.
enum VectorFeature: UInt8 {
  case sse, sse2, sse3, ssse3, sse41, sse42, aes, pclmulqdq, sha
  case avx, avx2, fma, f16c, vaes, vpclmulqdq

  /// Whether all of its instructions have a VEX prefix.
  var needsVEX: Bool { rawValue >= Self.avx.rawValue }

  func isAnnounced(by features: X86.Features) -> Bool {
    switch self {
    case .sse: features.hasSSE
    case .sse2: features.hasSSE2
    case .sse3: features.hasSSE3
    case .ssse3: features.hasSSSE3
    case .sse41: features.hasSSE41
    case .sse42: features.hasSSE42
    case .aes: features.hasAES
    case .pclmulqdq: features.hasPCLMULQDQ
    case .sha: features.hasSHA
    case .avx: features.hasAVX
    case .avx2: features.hasAVX2
    case .fma: features.hasFMA
    case .f16c: features.hasF16C
    case .vaes: features.hasVAES
    case .vpclmulqdq: features.hasVPCLMULQDQ
    }
  }
}

extension VectorEntry {
  /// - Returns: `nil` if it has none, or the interpreter has to do it.
  static func of(_ i: Instruction) -> VectorEntry? {
    switch i.map {
    case .oneByte: nil
    case .twoByte: twoByte(i)
    case .threeByte38: threeByte38(i)
    case .threeByte3A: threeByte3A(i)
    }
  }

  // MARK: - Kinds of entry

  /// On whole registers.
  static func whole(
    _ operands: Operands, _ feature: VectorFeature, place: Place = .any,
    alignment: Alignment = .usual, w: W = .any
  ) -> VectorEntry {
    VectorEntry(
      operands: operands, feature: feature, short: 16, wide: 32, place: place,
      alignment: alignment, w: w)
  }

  /// On whole registers, of which 256 bits came with AVX2.
  static func integer(
    _ operands: Operands, _ feature: VectorFeature, place: Place = .any,
    alignment: Alignment = .usual
  ) -> VectorEntry {
    var entry = whole(operands, feature, place: place, alignment: alignment)
    entry.wideFeature = .avx2
    return entry
  }

  /// With an operand of the same size whatever the registers', if there are registers of 256 bits at all.
  static func fixed(
    _ operands: Operands, _ feature: VectorFeature, _ bytes: Int, place: Place = .any, w: W = .any
  ) -> VectorEntry {
    VectorEntry(
      operands: operands, feature: feature, short: bytes, wide: nil, place: place, w: w)
  }

  /// With registers of 256 bits only, and VEX.W 0.
  static func wideOnly(
    _ operands: Operands, _ feature: VectorFeature, _ bytes: Int, place: Place = .any
  ) -> VectorEntry {
    VectorEntry(
      operands: operands, feature: feature, short: nil, wide: bytes, place: place, w: .zero)
  }

  /// Without a sibling with VEX.
  static func legacyOnly(_ operands: Operands, _ feature: VectorFeature) -> VectorEntry {
    VectorEntry(operands: operands, feature: feature, short: 16, wide: nil, hasVEX: false)
  }

  /// Bytes of an operand that REX.W or VEX.W chooses: a doubleword or a quadword.
  static func bytesByW(_ i: Instruction) -> Int { i.rex & 8 != 0 ? 8 : 4 }
}
