@testable import X86Processor

/// SplitMix64: reproducible random bits.
struct RandomBits: RandomNumberGenerator {
  private var state: UInt64
  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
    return z ^ (z >> 31)
  }

  /// Below `bound`, a small number.
  mutating func below(_ bound: UInt64) -> UInt64 { (next() >> 32) &* bound >> 32 }
}

/// Values near the places where arithmetic goes wrong.
extension ExtendedFloat {
  static func random(_ bits: inout RandomBits) -> ExtendedFloat {
    let word = bits.next()
    let sign: UInt16 = word & 1 == 0 ? 0 : 0x8000
    switch word >> 1 & 31 {
    case 0: return .zero(negative: sign != 0)
    case 1: return .infinity(negative: sign != 0)
    case 2, 3: return ExtendedFloat(significand: pattern(&bits), signExponent: sign | 0x7fff)
    case 4, 5: return ExtendedFloat(significand: pattern(&bits), signExponent: sign)
    case 6:
      return ExtendedFloat(
        significand: pattern(&bits) & ~integerBit, signExponent: sign | UInt16(word >> 16 & 0x7fff))
    case 7: return ExtendedFloat(Int64(truncatingIfNeeded: word) >> (word >> 8 & 63))
    default:
      return ExtendedFloat(
        significand: pattern(&bits) | integerBit, signExponent: sign | exponent(&bits))
    }
  }

  private static func pattern(_ bits: inout RandomBits) -> UInt64 {
    let word = bits.next()
    switch bits.below(8) {
    case 0: return 1 << (word & 63)
    case 1: return ~0 << (word & 63)
    case 2: return integerBit | 1 << (word & 63)
    case 3: return integerBit &- 1 << (word & 63)
    case 4: return word & ~0 << 40
    case 5: return word & ~0 << 11
    case 6: return word & ~0 << 40 | integerBit | 1 << (word & 63)
    default: return word
    }
  }

  private static func exponent(_ bits: inout RandomBits) -> UInt16 {
    let word = bits.next()
    switch word >> 32 & 7 {
    case 0: return UInt16(word & 0x7fff)
    case 1: return UInt16(1 + word % 70)
    case 2: return UInt16(0x7ffe - word % 70)
    case 3: return UInt16(0x3fff + 120 - word % 160)
    case 4: return UInt16(0x3fff - 1022 - 70 + word % 100)
    case 5: return UInt16(0x3fff - 126 - 40 + word % 60)
    default: return UInt16(0x3fff + 4 - word % 8)
    }
  }
}

extension X87State {
  /// A state with most registers full and no exception pending.
  static func random(_ bits: inout RandomBits) -> X87State {
    var state = X87State.initial
    for index in 0..<8 { state.registers[index] = .random(&bits) }
    let word = bits.next()
    state.tags = word & 3 == 0 ? UInt8(truncatingIfNeeded: word >> 8) : 0
    state.status.rawValue = UInt16(truncatingIfNeeded: word >> 16) & 0x7f00
    for index in 0..<3 where word & 12 != 0 { state[UInt8(index)] = .random(&bits) }
    let masks: UInt16 = word & 48 == 0 ? UInt16(truncatingIfNeeded: word >> 32) & 0x3f : 0x3f
    let modes: UInt16 = word & 64 == 0 ? UInt16(truncatingIfNeeded: word >> 40) & 0x0f00 : 0x0300
    state.control = X87Control(loading: UInt64(masks | modes))
    return state
  }
}
