#if arch(x86_64) && os(Linux)
  import ArchitectureX86
  import CProcessor
  import Memory
  import Testing

  @testable import SameISA
  @testable import X86Processor

  /// Every opcode with every prefix that could change what it is: as host code it does what it does interpreted, and the
  /// host never finds an instruction that it does not know.
  struct EncodingTests {
    private static let data: UInt64 = 0x3000

    /// The same processor twice.
    private struct Pair {
      let mode: CodeMode
      let translated: LongModeCore
      let interpreted: LongModeCore

      init(_ mode: CodeMode) throws {
        self.mode = mode
        translated = try LongModeCore.withAVX(translates: true, mode: mode)
        interpreted = try LongModeCore.withAVX(translates: false, mode: mode)
      }
    }

    /// Whether the translator has host code for an instruction that does not transfer control.
    private func isTranslated(_ decoded: Instruction) -> Bool {
      guard let host = SameISA.HostProcessor.features,
        let i = decoded.mode == .bits64 ? decoded : decoded.in64BitMode
      else { return false }
      let meaning = Meaning(
        i, next: Int(i.length), vectors: true, guest: X86.CPUModel.max.features, host: host)
      return switch meaning {
      case .foreign, .jump, .conditionalJump, .call, .jumpIndirect, .callIndirect, .returnNear:
        false
      default: true
      }
    }

    private func prepare(_ machine: LongModeCore) throws {
      let cpu = machine.cpu
      for number in 0..<16 as Range<UInt8> {
        // Pointers, but for what instructions count with.
        cpu.set(number * 8, Self.data + UInt64(number) * 0x40)
        let word = UInt64(number) &* 0x0101_0203_0507_0b0d
        cpu.setWide(number, SIMD4<UInt64>(word, ~word, word &* 3, word ^ 0x8000_0000))
      }
      (cpu.rax, cpu.rcx, cpu.rdx) = (0x1122_3344_5566_7788, 3, 0)
      cpu.statusFlags = X86.Flags.carry | X86.Flags.sign
      cpu.pointee.mxcsr = 0x1f80
      let words = (0..<512 as Range<UInt64>).map { $0 &* 0x0305_070b_0d11_1317 }
      for (number, word) in words.enumerated() {
        try machine.memory.store(word, at: GPA(Self.data + UInt64(8 * number)))
      }
    }

    private func compare(_ bytes: [UInt8], _ pair: Pair) throws {
      let (translated, interpreted) = (pair.translated, pair.interpreted)
      try prepare(translated)
      try prepare(interpreted)
      let exceptions = (
        try translated.run(bytes, mode: pair.mode), try interpreted.run(bytes, mode: pair.mode)
      )
      #expect(exceptions.0 == exceptions.1, "\(bytes)")
      let (a, b) = (translated.cpu, interpreted.cpu)
      for number in 0..<16 as Range<UInt8> {
        let values = (a.get(number * 8, UInt64.self), b.get(number * 8, UInt64.self))
        #expect(values.0 == values.1, "register \(number) after \(bytes)")
        #expect(
          (a.wide(number) as SIMD4<UInt64>) == b.wide(number), "vector \(number) after \(bytes)")
      }
      let memory = try [translated, interpreted].map {
        try $0.memory.bytes(at: GPA(Self.data), count: 4096)
      }
      #expect(memory[0] == memory[1], "memory after \(bytes)")
    }

    /// Checks an opcode with all forms of operands, and answers how many were translated.
    private func check(_ opcode: [UInt8], _ pair: Pair) throws -> Int {
      var count = 0
      var isWithoutOperands = false
      // A register, what EBX or RBX points to, and in 32-bit code an offset.
      let forms: [UInt8] = pair.mode == .bits64 ? [0xc1, 0x03] : [0xc1, 0x03, 0x05]
      for field in 0..<8 as Range<UInt8> where !isWithoutOperands {
        for modRM in forms {
          let whole = opcode + [modRM | field << 3, 0x13, 0x30, 0, 0, 0, 0, 0, 0, 0, 0]
          guard let i = try? whole.withUnsafeBytes({ try Decoder.decode($0, mode: pair.mode) }),
            isTranslated(i)
          else { continue }
          try compare(Array(whole.prefix(Int(i.length))), pair)
          count += 1
          isWithoutOperands = Int(i.length) == opcode.count
        }
      }
      return count
    }

    private static let prefixes: [[UInt8]] = [
      [], [0x66], [0xf3], [0xf2], [0x66, 0xf3], [0x64], [0xf0],
    ]
    private static let extensions: [[UInt8]] = [[], [0x48], [0x45]]

    @Test(arguments: [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]] as [[UInt8]])
    func `instructions with all prefixes`(map: [UInt8]) throws {
      let pair = try Pair(.bits64)
      var count = 0
      for prefix in Self.prefixes {
        for rex in Self.extensions {
          for opcode in 0...255 as ClosedRange<UInt8> {
            count += try check(prefix + rex + map + [opcode], pair)
          }
        }
      }
      #expect(count > 100)
    }

    @Test(arguments: [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]] as [[UInt8]])
    func `instructions of flat 32-bit code with all prefixes`(map: [UInt8]) throws {
      let pair = try Pair(.bits32)
      var count = 0
      for prefix in Self.prefixes {
        for opcode in 0...255 as ClosedRange<UInt8> {
          count += try check(prefix + map + [opcode], pair)
        }
      }
      #expect(count > 100)
    }

    @Test(arguments: [1, 2, 3] as [UInt8])
    func `instructions with all VEX prefixes`(map: UInt8) throws {
      let pair = try Pair(.bits64)
      var count = 0
      for last in [0x78, 0x28] as [UInt8] {
        for choice in 0..<16 as Range<UInt8> {
          let byte = choice << 7 | last | choice >> 1
          for opcode in 0...255 as ClosedRange<UInt8> {
            count += try check([0xc4, 0xe0 | map, byte, opcode], pair)
          }
        }
      }
      #expect(count > 100)
    }
  }
#endif
