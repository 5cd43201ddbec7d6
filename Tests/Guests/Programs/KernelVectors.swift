import Arch

/// What CPUID announces beyond the first x86-64 works in kernel mode: x86-64 psABI 1.0 §3.1.1.
enum KernelVectors {
  static func run() -> Never {
    let features = cpuid(1, 0).ecx
    if features & 1 << 13 != 0 { pairs() } else { skip("CMPXCHG16B") }
    if features & 1 << 20 != 0 { bitsAndTexts() } else { skip("SSE4.2") }
    if features & 1 << 19 != 0 { vectors() } else { skip("SSE4.1") }
    fxsaveArea()
    guard features & 1 << 26 != 0 else {
      skip("XSAVE")
      finish()
    }
    extendedControl()
    guard features & 1 << 28 != 0 else {
      skip("AVX")
      finish()
    }
    extendedArea()
    floats()
    let more = cpuid(7, 0).ebx
    if more & 1 << 5 != 0 { integers() } else { skip("AVX2") }
    if features & 1 << 12 != 0 { multiplyAdd() } else { skip("FMA") }
    if more & 1 << 8 != 0 { bitFields() } else { skip("BMI2") }
    finish()
  }

  /// Operands and results, 256 bytes each.
  private static let memory = Memory(start: Pool.pages())

  private struct Memory {
    let start: UInt64
    var a: UInt64 { start }
    var b: UInt64 { start + 0x100 }
    var result: UInt64 { start + 0x200 }
    /// 4 KiB-aligned, as is all of it: XSAVE wants 64.
    var area: UInt64 { start + 0x400 }

    func set(_ at: UInt64, _ words: UInt64...) {
      var place = at
      for word in words {
        store64(place, word)
        place += 8
      }
    }
  }

  private static func expectResult(_ what: Text, _ words: UInt64...) {
    var place = memory.result
    var isRight = true
    for word in words {
      if load64(place) != word {
        isRight = false
        line("     ", .hex(load64(place)), " instead of ", .hex(word))
      }
      place += 8
    }
    expect(what, isRight)
  }

  // MARK: - x86-64-v2

  private static func pairs() {
    memory.set(memory.a, 1, 2)
    memory.set(memory.b, 1, 2)
    expect("CMPXCHG16B of what is there", compare_exchange_pair(memory.a, memory.b, 3, 4), is: 1)
    expect("stores the low half", load64(memory.a), is: 3)
    expect("stores the high half", load64(memory.a + 8), is: 4)
    expect("CMPXCHG16B of something else", compare_exchange_pair(memory.a, memory.b, 5, 6), is: 0)
    expect("stores nothing", load64(memory.a), is: 3)
    expect("loads the low half", load64(memory.b), is: 3)
    expect("loads the high half", load64(memory.b + 8), is: 4)
    locked_increment_pair(memory.a)
    expect("LOCK CMPXCHG16B", load64(memory.a + 8), is: 5)
    let fault = attempted(memory.a + 8) { _ = compare_exchange_pair($0, $0, 0, 0) }
    expect("CMPXCHG16B of 8-byte alignment", fault, vector: 13, error: 0)
  }

  private static func bitsAndTexts() {
    expect("POPCNT", count_bits(0xf0f0_0000_0000_0101), is: 10)
    expect("POPCNT of zero", count_bits(0), is: 0)
    // The check value of CRC-32C: that of "123456789".
    var crc: UInt32 = .max
    for digit in 0x31...0x39 as ClosedRange<UInt8> { crc = crc32_byte(crc, digit) }
    expect("CRC32", ~crc, is: 0xe306_9283)
    memory.set(memory.a, 0x6867_6665_6463_6261, 0x706f_6e6d_6c6b_6a69)
    memory.set(memory.b, 0x6800_6665_2020_2020, 0)
    expect("PCMPISTRI", find_equal(memory.a, memory.b), is: 4)
  }

  private static func vectors() {
    memory.set(memory.a, 0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908)
    memory.set(memory.b, 0x0809_0a0b_0c0d_0e0f, 0x8080_8080_0302_0100)
    shuffle_bytes(memory.result, memory.a, memory.b)
    expectResult("PSHUFB", 0x0809_0a0b_0c0d_0e0f, 0x0302_0100)
    memory.set(memory.a, 0x0001_0000_0000_0007, 0xffff_ffff_0000_0003)
    memory.set(memory.b, 0x0001_0001_0000_0006, 0x0000_0002_ffff_ffff)
    multiply_doublewords(memory.result, memory.a, memory.b)
    expectResult("PMULLD", 0x0001_0000_0000_002a, 0xffff_fffe_ffff_fffd)
    memory.set(memory.a, 5, 0x8000_0000_0000_0000)
    memory.set(memory.b, 4, 4)
    compare_quadwords(memory.result, memory.a, memory.b)
    expectResult("PCMPGTQ", .max, 0)
    memory.set(memory.b, (2.75).bitPattern, (-2.25).bitPattern)
    round_down(memory.result, memory.a, memory.b)
    expectResult("ROUNDPD", (2.0).bitPattern, (-3.0).bitPattern)
  }

  private static func fxsaveArea() {
    fxsave_round_trip(memory.area, 0x1234_5678_9abc_def0)
    expect("FXSAVE stores XMM7", load64(memory.area + 160 + 7 * 16), is: 0x1234_5678_9abc_def0)
    expect("FXSAVE stores FCW", load16(memory.area), is: 0x37f)
    // Its lower six bits say what has happened so far.
    expect("FXSAVE stores MXCSR", load32(memory.area + 24) & ~0x3f, is: 0x1f80)
    expect("FXSAVE stores ST0", load64(memory.area + 32), is: 0xc90f_daa2_2168_c235)
    expect("FXRSTOR loads XMM7", load64(memory.area + 512), is: 0x1234_5678_9abc_def0)
    expect("FXRSTOR loads ST0", load64(memory.area + 528), is: 0xc90f_daa2_2168_c235)
    expect("FXRSTOR loads MXCSR", load32(memory.area + 544) & ~0x3f, is: 0x1f80)
  }

  // MARK: - Extended state: SDM Vol. 1 chapter 13

  private static func extendedControl() {
    let fault = attempted { _ in _ = xgetbv(0) }
    expect("XGETBV without CR4.OSXSAVE", fault, vector: 6, error: 0)
    write_cr4(read_cr4() | 1 << 18)
    expect("CPUID shows CR4.OSXSAVE", cpuid(1, 0).ecx >> 27 & 1, is: 1)
    let offered = UInt64(cpuid(0xd, 0).eax)
    expect("x87 and SSE state can be switched on", offered & 3, is: 3)
    xsetbv(0, 3)
    expect("XGETBV reads what XSETBV wrote", xgetbv(0), is: 3)
    expect(
      "XSETBV without x87 state", attempted { _ in xsetbv(0, 2) }, vector: 13, error: 0)
    expect(
      "XSETBV of AVX without SSE state", attempted { _ in xsetbv(0, 5) }, vector: 13, error: 0)
    expect("XSETBV of another register", attempted { _ in xsetbv(1, 3) }, vector: 13, error: 0)
    if offered & 4 != 0 {
      xsetbv(0, 7)
      expect("AVX state is switched on", xgetbv(0), is: 7)
    }
  }

  private static func extendedArea() {
    fill_bytes(memory.area, 0, 0x800)
    memory.set(memory.a, 0x11, 0x22, 0x33, 0x44)
    xsave_round_trip(memory.area, memory.a, 7)
    expect("XSAVE says what it stored", load64(memory.area + 1088) & 6, is: 6)
    expect("XSAVE stores the low half", load64(memory.area + 160 + 7 * 16), is: 0x11)
    expect("XSAVE stores the high half", load64(memory.area + 576 + 7 * 16 + 8), is: 0x44)
    copy_bytes(memory.result, memory.area + 1024, 32)
    expectResult("XRSTOR loads both", 0x11, 0x22, 0x33, 0x44)
    copy_bytes(memory.result, memory.area + 1056, 32)
    expectResult("XRSTOR of no component clears both", 0, 0, 0, 0)
    store64(memory.area + 512 + 16, 1)
    let fault = attempted(memory.area) { xrstor($0, 7) }
    expect("XRSTOR of a header with reserved bits", fault, vector: 13, error: 0)
    store64(memory.area + 512 + 16, 0)
  }

  // MARK: - x86-64-v3

  private static func floats() {
    // 1.5 and 2.25 in each half of a quadword.
    let (a, b, sum) = (0x3fc0_0000, 0x4010_0000, 0x4070_0000) as (UInt64, UInt64, UInt64)
    memory.set(memory.a, a << 32 | a, a << 32 | a, a << 32 | a, a << 32 | a)
    memory.set(memory.b, b << 32 | b, b << 32 | b, b << 32 | b, b << 32 | b)
    vector_add_floats(memory.result, memory.a, memory.b)
    let both = sum << 32 | sum
    expectResult("VADDPS", both, both, both, both)
    memory.set(memory.a, 1, 2, 3, 4)
    vector_swap_halves(memory.result, memory.a, memory.a)
    expectResult("VPERM2F128", 3, 4, 1, 2)
    memory.set(memory.result, .max, .max, .max, .max)
    memory.set(memory.a, (1.0).bitPattern, (2.0).bitPattern)
    memory.set(memory.b, (0.5).bitPattern, (0.25).bitPattern)
    vector_add_low(memory.result, memory.a, memory.b)
    expectResult(
      "VADDPD of 16 bytes clears the rest", (1.5).bitPattern, (2.25).bitPattern, 0, 0)
  }

  private static func integers() {
    memory.set(memory.a, 1, 2, 3, .max)
    memory.set(memory.b, 10, 20, 30, 2)
    vector_add_quadwords(memory.result, memory.a, memory.b)
    expectResult("VPADDQ", 11, 22, 33, 1)
    vector_reverse_quadwords(memory.result, memory.a, memory.b)
    expectResult("VPERMQ", .max, 3, 2, 1)
    memory.set(memory.b, 0, 1, 63, 64)
    vector_shift_each(memory.result, memory.a, memory.b)
    expectResult("VPSLLVQ", 1, 4, 1 << 63, 0)
    memory.set(memory.a, 100, 101, 102, 103, 104, 105)
    memory.set(memory.b, 3 << 32 | 5, 1 << 32 | 0)
    vector_gather(memory.result, memory.a, memory.b)
    expectResult("VPGATHERDQ", 105, 103, 100, 101)
  }

  private static func multiplyAdd() {
    // (1 + 2⁻³⁰)² - 1 needs 61 bits: rounded after the product it would lose the last.
    let near = (1.0).bitPattern | 1 << 22
    memory.set(memory.a, near, near, (3.0).bitPattern, (4.0).bitPattern)
    memory.set(memory.b, near, near, (5.0).bitPattern, (0.5).bitPattern)
    memory.set(
      memory.result, (-1.0).bitPattern, (-1.0).bitPattern, (1.0).bitPattern, (2.0).bitPattern)
    vector_multiply_add(memory.result, memory.a, memory.b)
    let exact = (0x1p-29 + 0x1p-60).bitPattern
    expectResult("VFMADD231PD rounds once", exact, exact, (16.0).bitPattern, (4.0).bitPattern)
  }

  private static func bitFields() {
    expect("PDEP", deposit_bits(0b1011, 0xf0f0), is: 0xb0)
    expect("PEXT", extract_bits(0xa5_0000, 0xf0_0000), is: 0xa)
    expect("ANDN", and_not(0xff00, 0x0ff0), is: 0x00f0)
  }
}
