/// Random operands, among them those that instructions treat as special. The same on every run.
struct VectorSamples {
  private var seed: UInt64

  init(seed: UInt64) { self.seed = seed }

  mutating func next() -> UInt64 {
    // SplitMix64
    seed &+= 0x9e37_79b9_7f4a_7c15
    var z = seed
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  private static let singles: [UInt32] = [
    0, 0x8000_0000, 1, 0x8000_0001, 0x007f_ffff, 0x0080_0000, 0x3f80_0000, 0xbf80_0000,
    0x3f00_0000, 0x4020_0000, 0x7f7f_ffff, 0xff7f_ffff, 0x7f80_0000, 0xff80_0000, 0x7fc0_0000,
    0xffc0_0001, 0x7f80_0001, 0xffa0_0000, 0x4f00_0000, 0xcf00_0000, 0x5f00_0000, 0xdf00_0000,
    0x4b00_0001, 0x3f7f_ffff, 0x0000_8000, 0x7fff_ffff, 0xffff_ffff, 0x0c00_0000, 0x7e80_0000,
  ]
  private static let doubles: [UInt64] = [
    0, 1 << 63, 1, 0x000f_ffff_ffff_ffff, 0x0010_0000_0000_0000, 0x3ff0_0000_0000_0000,
    0xbff0_0000_0000_0000, 0x3fe0_0000_0000_0000, 0x4004_0000_0000_0000, 0x7fef_ffff_ffff_ffff,
    0x7ff0_0000_0000_0000, 0xfff0_0000_0000_0000, 0x7ff8_0000_0000_0000, 0xfff8_0000_0000_0001,
    0x7ff0_0000_0000_0001, 0xfff4_0000_0000_0000, 0x41df_ffff_ffc0_0000, 0x41e0_0000_0000_0000,
    0xc1e0_0000_0000_0000, 0xc1e0_0000_0020_0000, 0x43e0_0000_0000_0000, 0xc3e0_0000_0000_0000,
    0x4330_0000_0000_0001, 0x3810_0000_0000_0000, 0x36a0_0000_0000_0000, 0x47ef_ffff_f000_0000,
    0x0180_0000_0000_0000, 0x7fd0_0000_0000_0000, 0x3fef_ffff_ffff_ffff,
  ]

  /// 64 bits: anything, or elements with something about them.
  mutating func element() -> UInt64 {
    let choice = next()
    switch choice & 7 {
    case 0, 1: return next()
    case 2:
      return UInt64(Self.singles[Int(choice >> 8 & 0xff) % Self.singles.count])
        | UInt64(Self.singles[Int(choice >> 16 & 0xff) % Self.singles.count]) << 32
    case 3: return Self.doubles[Int(choice >> 8 & 0xff) % Self.doubles.count]
    case 4:
      // Numbers of like magnitude.
      return Double(Int64(bitPattern: next()) >> Int64(choice >> 8 & 0x3f)).bitPattern
    case 5:
      let a = Float(Int32(truncatingIfNeeded: next()) >> Int32(choice >> 8 & 0x1f)) / 8
      let b = Float(Int32(truncatingIfNeeded: next()) >> Int32(choice >> 16 & 0x1f)) / 8
      return UInt64(a.bitPattern) | UInt64(b.bitPattern) << 32
    case 6: return next() & next() & next()
    default: return bytes(choice >> 8)
    }
  }

  /// Bytes from a small alphabet, so that equal ones are frequent.
  private mutating func bytes(_ choice: UInt64) -> UInt64 {
    let alphabet: [UInt64] = [0, 1, 0x7f, 0x80, 0x81, 0xff, 0x61, 0x62]
    let random = next()
    return (0..<8).reduce(0) { value, index in
      let pick = random >> UInt64(index * 3) & (choice & 1 == 0 ? 7 : 1)
      return value | alphabet[Int(pick)] << UInt64(index * 8)
    }
  }

  /// - Parameter modes: whether MXCSR takes all its modes, or those after reset.
  mutating func state(modes: Bool = false) -> VectorState {
    var state = VectorState()
    for index in 0..<4 {
      state.vectors[index] = SIMD2(element(), element())
      state.mmx[index] = element()
    }
    if next() & 7 == 0 {
      // Small counts, for shifts.
      state.vectors[2] = SIMD2(next() & 0x7f, element())
      state.mmx[2] = next() & 0x7f
    }
    if next() & 15 == 0 { state.vectors[2] = state.vectors[1] }
    state.rax = element()
    state.rcx = element()
    state.rdx = element()
    if next() & 3 == 0 {
      // Lengths, for explicit-length strings.
      state.rax = next() % 20
      state.rdx = next() % 20
    }
    state.flags = next() & VectorState.statusFlags
    if modes { state.mxcsr = 0x1f80 | UInt32(truncatingIfNeeded: next()) & 0xe07f }
    return state
  }
}
