import ArchitectureX86
import Memory
import Testing

@testable import X86Processor

/// Instructions with a VEX prefix, and the few without one that came with them, run by the host's processor and by
/// ours on random operands, in registers and in memory.
@Suite(
  .enabled(
    if: hostHasAVX2, "compares with the host's own processor, which must have AVX2, FMA and BMI"))
struct VEXDifferentialTests {
  private static let samples = 60

  @Test(arguments: VEXInstructions.all)
  func `agrees with the host`(group: VEXInstructions) throws {
    let machine = try LongModeCore.withAVX()
    for encoding in group.encodings {
      let count = group.immediates.count > 40 ? Self.samples / 4 : Self.samples
      let mismatch = try Self.firstMismatch(encoding, machine, group, samples: count)
      #expect(mismatch == nil)
      if mismatch != nil { return }
    }
  }

  @Test(
    .enabled(
      if: hostHasCiphers,
      "compares with the host's own processor, which must have AES, PCLMULQDQ, SHA, ADX and VAES"),
    arguments: VEXInstructions.ciphers)
  func `agrees with the host on ciphers`(group: VEXInstructions) throws {
    try `agrees with the host`(group: group)
  }

  /// Where a state lies: its memory operand aligned, not aligned, across two pages.
  private static let bases: [UInt64] = [0x3040, 0x3071, 0x3ff5 - WideState.memoryOffset]

  static func firstMismatch(
    _ encoding: VEXInstructions.Encoding, _ machine: LongModeCore, _ group: VEXInstructions,
    samples count: Int, seed: UInt64 = 42
  ) throws -> String? {
    let code = encoding.code
    let name = code.map { String($0, radix: 16) }.joined(separator: " ")
    let native = WideNativeProcessor(code)
    var samples = VectorSamples(seed: seed)
    let bases = encoding.isMemory && !group.isAligned ? Self.bases : [Self.bases[0]]
    for turn in 0..<count {
      let state = samples.wideState(modes: group.isFloat)
      var expected = native.run(state)
      var (result, exception) = try machine.run(code, on: state, at: bases[turn % bases.count])
      if let exception { return "\(name) raised \(exception)" }
      expected.flags &= ~group.undefined
      result.flags &= ~group.undefined
      if result != expected {
        return "\(name)\n from \(state)\n host \(expected)\n ours \(result)"
      }
    }
    return nil
  }

  @Test func `VZEROUPPER and VZEROALL clear what they should`() throws {
    let machine = try LongModeCore.withAVX()
    var samples = VectorSamples(seed: 1)
    for code in [[0xc5, 0xf8, 0x77], [0xc5, 0xfc, 0x77]] as [[UInt8]] {
      let state = samples.wideState(modes: false)
      machine.cpu.setWide(15, state.vectors[0])
      let (result, exception) = try machine.run(code, on: state, at: Self.bases[0])
      #expect(exception == nil && result == WideNativeProcessor(code).run(state))
      let low = code[1] == 0xf8 ? state.vectors[0].lowHalf : .zero
      #expect(machine.cpu.wide(15, as: SIMD4<UInt64>.self) == .init(lowHalf: low, highHalf: .zero))
    }
  }

  @Test func `older instructions leave the upper halves alone`() throws {
    let machine = try LongModeCore.withAVX()
    var samples = VectorSamples(seed: 2)
    let codes: [[UInt8]] = [
      [0x0f, 0x58, 0xca], [0x66, 0x0f, 0xef, 0xca], [0xf3, 0x0f, 0x10, 0xca], [0x0f, 0x28, 0xca],
      [0x66, 0x0f, 0x6e, 0xca], [0x66, 0x0f, 0x38, 0x00, 0xca],
    ]
    for code in codes {
      for _ in 0..<200 {
        let state = samples.wideState(modes: false)
        let (result, _) = try machine.run(code, on: state, at: Self.bases[0])
        #expect(result == WideNativeProcessor(code).run(state))
      }
    }
  }

  /// Base RBX, indices in YMM3, the mask in YMM2, into YMM1.
  @Test(arguments: [0x90, 0x91, 0x92, 0x93] as [UInt8])
  func `gathers agree with the host`(opcode: UInt8) throws {
    let machine = try LongModeCore.withAVX()
    var samples = VectorSamples(seed: 3)
    for w in 0...1 as ClosedRange<UInt8> {
      for length in 0...1 as ClosedRange<UInt8> {
        for scale in 0...3 as ClosedRange<UInt8> {
          let code: [UInt8] = [
            0xc4, 0xe2, w << 7 | 0x69 | length << 2, opcode, 0x8c, scale << 6 | 3 << 3 | 3,
            0x08, 0, 0, 0,
          ]
          let native = WideNativeProcessor(code)
          for _ in 0..<300 {
            var state = samples.wideState(modes: false)
            for element in 0..<4 {
              // Distances of -8 to 143, and masks of either sign.
              let random = samples.next()
              let (a, b) = (random & 0xffff % 151, random >> 16 & 0xffff % 151)
              let range: UInt64 = 151 >> UInt64(scale)
              let first = Int64(a % range) - Int64(8 >> UInt64(scale))
              let second = Int32(b % range) - Int32(8 >> UInt64(scale))
              state.vectors[3][element] =
                opcode & 1 != 0
                ? UInt64(bitPattern: first)
                : UInt64(UInt32(bitPattern: Int32(first)))
                  | UInt64(UInt32(bitPattern: second)) << 32
            }
            let expected = native.run(state)
            let (result, exception) = try machine.run(code, on: state, at: Self.bases[1])
            #expect(exception == nil)
            if result != expected {
              Issue.record("\(code)\n from \(state)\n host \(expected)\n ours \(result)")
              return
            }
          }
        }
      }
    }
  }
}
