import CFloat
import Testing

/// What stands in for the host's FMA and F16C where it has neither, compared with them.
@Suite(
  .enabled(if: hostHasAVX2, "compares with the host's own processor, which must have FMA and F16C"))
struct HostFallbackTests {
  @Test func `every number of half precision becomes the same single`() {
    for first in stride(from: 0 as UInt16, to: 0xfffc, by: 4) {
      var words = SIMD8<UInt16>()
      for index in 0..<4 { words[index] = first + UInt16(index) }
      let expected = x86_cvtph2ps(words)
      for index in 0..<4 {
        #expect(x86_half_to_float(words[index]).bitPattern == expected[index].bitPattern)
      }
    }
  }

  @Test(arguments: 0...4 as ClosedRange<UInt8>)
  func `singles are rounded to half precision alike`(rounding: UInt8) {
    var samples = VectorSamples(seed: 7)
    for turn in 0..<100_000 {
      let bits = samples.next()
      // Every other one in the range where half precision has numbers.
      let exponent = turn & 1 == 0 ? bits >> 23 & 0xff : 100 + bits >> 32 % 48
      let pattern = UInt32(truncatingIfNeeded: bits & 0x807f_ffff | exponent << 23)
      let value = Float(bitPattern: turn & 3 == 3 ? pattern & 0xffff_f000 : pattern)
      let expected = x86_cvtps2ph(SIMD4(value, 0, 0, 0), rounding)[0]
      let found = x86_float_to_half(value, rounding)
      #expect(found == expected, "\(String(value.bitPattern, radix: 16))")
      if found != expected { return }
    }
  }

  /// Others that run meanwhile have the same results either way, which is what is shown here.
  @Test(.enabled(if: hostHasCiphers, "compares with the host's AES, PCLMULQDQ and SHA"))
  func `ciphers are computed alike`() {
    var samples = VectorSamples(seed: 9)
    func block() -> SIMD16<UInt8> {
      unsafeBitCast(SIMD2(samples.element(), samples.element()), to: SIMD16<UInt8>.self)
    }
    for turn in 0..<20_000 {
      let (a, b, c) = (block(), block(), block())
      let immediate = UInt8(truncatingIfNeeded: turn)
      func all() -> [SIMD16<UInt8>] {
        [
          x86_aesenc(a, b), x86_aesenclast(a, b), x86_aesdec(a, b), x86_aesdeclast(a, b),
          x86_aesimc(a), x86_aeskeygenassist(a, immediate), x86_pclmulqdq(a, b, immediate),
          x86_sha1rnds4(a, b, immediate), x86_sha1nexte(a, b), x86_sha1msg1(a, b),
          x86_sha1msg2(a, b), x86_sha256rnds2(a, b, c), x86_sha256msg1(a, b), x86_sha256msg2(a, b),
        ]
      }
      x86_use_host_ciphers(true)
      let expected = all()
      x86_use_host_ciphers(false)
      let found = all()
      x86_use_host_ciphers(true)
      #expect(found == expected)
      if found != expected { return }
    }
  }

  @Test func `elements are multiplied and added alike, NaNs among them`() {
    var samples = VectorSamples(seed: 8)
    for _ in 0..<100_000 {
      let (x, y, z) = (samples.element(), samples.element(), samples.element())
      let doubles = [x, y, z].map(Double.init(bitPattern:))
      let wide = x86_fmaddsd(SIMD2(doubles[0], 0), SIMD2(doubles[1], 0), SIMD2(doubles[2], 0))
      #expect(
        x86_fused_double(doubles[0], doubles[1], doubles[2]).bitPattern == wide[0].bitPattern)
      let singles = [x, y, z].map { Float(bitPattern: UInt32(truncatingIfNeeded: $0)) }
      let narrow = x86_fmaddss(
        SIMD4(singles[0], 0, 0, 0), SIMD4(singles[1], 0, 0, 0), SIMD4(singles[2], 0, 0, 0))
      #expect(
        x86_fused_float(singles[0], singles[1], singles[2]).bitPattern == narrow[0].bitPattern)
    }
  }
}
