#if arch(x86_64) && os(Linux)
  import Testing
  @testable import X86Processor

  /// Our FPU against the host's, instruction by instruction, whatever the rounding, the precision,
  /// the masks, the tags and the operands.
  @Suite struct X87ArithmeticHostTests {
    @Test(arguments: UInt8(0xd8)...0xdf)
    func `every instruction leaves what the host's leaves`(opcode: UInt8) {
      var bits = RandomBits(seed: UInt64(opcode))
      for instruction in X87Trial.instructions where instruction.opcode == opcode {
        agree(instruction, trials: instruction.readsOrWritesMemory ? 10_000 : 3000, &bits)
      }
    }

    /// The forms that matter most, with many operands.
    @Test(arguments: [0xc1, 0xc9, 0xe1, 0xe9, 0xf1, 0xf9] as [UInt8])
    func `basic arithmetic agrees with the host's`(modrm: UInt8) {
      var bits = RandomBits(seed: UInt64(modrm))
      agree(X87Instruction(opcode: 0xd8, modrm: modrm), trials: 60_000, &bits)
    }

    /// What stands in for the host's transcendental functions on hosts without an x87 FPU.
    @Test(arguments: X87Trial.transcendental)
    func `our own functions are the host's but for the last bit`(modrm: UInt8) {
      var bits = RandomBits(seed: UInt64(modrm))
      let instruction = X87Instruction(opcode: 0xd9, modrm: modrm)
      if let difference = X87Trial.firstDifference(
        instruction, trials: 10_000, &bits, onHost: false)
      {
        Issue.record(Comment(rawValue: difference))
      }
    }

    private func agree(_ instruction: X87Instruction, trials: Int, _ bits: inout RandomBits) {
      if let difference = X87Trial.firstDifference(instruction, trials: trials, &bits) {
        Issue.record(Comment(rawValue: difference))
      }
    }
  }

  /// One instruction on one state.
  struct X87Trial {
    let instruction: X87Instruction
    let before: X87State
    let operand: X87Bytes
    /// Whether we leave transcendental functions to the host, too.
    let isOnHost: Bool

    init(_ form: X87Instruction, _ bits: inout RandomBits, onHost: Bool = true) {
      isOnHost = onHost
      var instruction = form
      instruction.flags = bits.next() & 0x45 | 0x202
      self.instruction = instruction
      before = X87State.random(&bits)
      operand = Self.operand(form, &bits)
    }

    static func firstDifference(
      _ instruction: X87Instruction, trials: Int, _ bits: inout RandomBits, onHost: Bool = true
    ) -> String? {
      let host = HostX87(instruction)
      for _ in 0..<trials {
        let trial = X87Trial(instruction, &bits, onHost: onHost)
        if let complaint = trial.disagreement(with: host) {
          return "\(trial.description): \(complaint)"
        }
      }
      return nil
    }

    /// Every instruction that the routine of machine code can carry out.
    static let instructions: [X87Instruction] = (UInt8(0xd8)...0xdf).flatMap { opcode in
      (0..<8).map { X87Instruction(opcode: opcode, modrm: $0 << 3) }
        .filter { $0.memoryOperand != .undefined && $0.memoryOperand.size != 0 }
        + (UInt8(0xc0)...0xff).map { X87Instruction(opcode: opcode, modrm: $0) }
        .filter(isDefined)
    }

    static func isDefined(_ instruction: X87Instruction) -> Bool {
      // D9 D8 to D9 DF is an alias of FSTP that need not look at tags.
      if instruction.opcode == 0xd9 && instruction.modrm & 0xf8 == 0xd8 { return false }
      var state = X87State.initial
      return state.execute(instruction).effect != .undefinedOpcode
    }

    private static func operand(
      _ instruction: X87Instruction, _ bits: inout RandomBits
    ) -> X87Bytes {
      let value = ExtendedFloat.random(&bits)
      var environment = X87Environment(.initial)
      switch instruction.memoryOperand {
      case .loadSingle: return X87Bytes(value.narrowed(to: .single, &environment))
      case .loadDouble: return X87Bytes(value.narrowed(to: .double, &environment))
      case .loadDecimal:
        let decimal = value.packedDecimal(&environment)
        return X87Bytes(decimal.low, decimal.high)
      case .loadExtended: return X87Bytes(value.significand, value.signExponent)
      default: return X87Bytes(bits.next())
      }
    }

    var description: String {
      let code = String(instruction.opcode, radix: 16) + " " + String(instruction.modrm, radix: 16)
      let stack = "\(hex(before[0])) \(hex(before[1])) \(hex(before[instruction.modrm & 7]))"
      return "\(code) on \(stack), memory \(hex(operand)), control "
        + "\(String(before.control.rawValue, radix: 16)), status "
        + "\(String(before.status.rawValue, radix: 16)), tags \(String(before.tags, radix: 2))"
    }
  }

  // MARK: - Comparing

  extension X87Trial {
    func disagreement(with host: HostX87) -> String? {
      if isUndefined { return nil }
      var ours = before
      var theirs = before
      let outcome = execute(on: &ours)
      let after = host.execute(on: &theirs, operand: operand, flags: instruction.flags)

      if (ours.status.rawValue ^ theirs.status.rawValue) & ~undefinedStatus(ours) != 0 {
        return "status \(String(ours.status.rawValue, radix: 16)), "
          + "not \(String(theirs.status.rawValue, radix: 16))"
      }
      if ours.control != theirs.control || ours.tagWord != theirs.tagWord {
        return "control or tag word"
      }
      for number in 0..<8 where !agree(ours.registers[number], theirs.registers[number]) {
        return "R\(number) \(hex(ours.registers[number])), not \(hex(theirs.registers[number]))"
      }
      if instruction.readsOrWritesMemory, memory(after: outcome) != after.memory {
        return "stored \(hex(memory(after: outcome))), not \(hex(after.memory))"
      }
      if !isStopped(ours), (flags(after: outcome) ^ after.flags) & Self.arithmeticFlags != 0 {
        return "flags"
      }
      return nil
    }

    private func execute(on state: inout X87State) -> X87Outcome {
      if isApproximate, !state.pendingException {
        state.executeFunction(instruction.modrm & 0xf, onHost: false)
        return .none
      }
      return state.execute(instruction, operand: operand)
    }

    /// CF, PF, AF, ZF, SF and OF.
    private static var arithmeticFlags: UInt64 { 0x8d5 }

    private func flags(after outcome: X87Outcome) -> UInt64 {
      guard outcome.effect == .flags else { return instruction.flags }
      return instruction.flags & ~Self.arithmeticFlags | outcome.bytes.low
    }

    private func memory(after outcome: X87Outcome) -> X87Bytes {
      guard outcome.effect == .store else { return operand }
      let size = UInt64(instruction.memoryOperand.size)
      if size > 8 { return outcome.bytes }
      let mask = UInt64.max >> (64 - 8 * size)
      return X87Bytes(operand.low & ~mask | outcome.bytes.low & mask, operand.high)
    }

    /// Whether two results are the same, or, of a transcendental function of our own, neighbours.
    private func agree(_ a: ExtendedFloat, _ b: ExtendedFloat) -> Bool {
      if a == b { return true }
      guard isApproximate, a.isNegative == b.isNegative else { return false }
      let (a, b) = (a.magnitude.ordinal, b.magnitude.ordinal)
      return max(a, b) - min(a, b) <= 1
    }
  }

  // MARK: - What the manual leaves open

  extension X87Trial {
    /// F2XM1, FYL2X, FPTAN, FPATAN, FYL2XP1, FSINCOS, FSIN and FCOS.
    static let transcendental: [UInt8] = [0xf0, 0xf1, 0xf2, 0xf3, 0xf9, 0xfb, 0xfe, 0xff]

    private var isTranscendental: Bool {
      instruction.opcode == 0xd9 && Self.transcendental.contains(instruction.modrm)
    }

    private var isApproximate: Bool { isTranscendental && !isOnHost }

    /// Whether an unmasked exception has stopped the instruction.
    private func isStopped(_ after: X87State) -> Bool {
      !after.status.exceptions.subtracting(before.control.masks).isDisjoint(with: .beforeResult)
    }

    /// Operands outside a function's domain, and loads of denormals that the host does not stop.
    private var isUndefined: Bool {
      switch (instruction.opcode, instruction.modrm) {
      case (0xd9, 0xf0) where !isOnHost:
        return before[0].magnitude.ordinal > ExtendedFloat.one.ordinal
      case (0xd9, 0xf9) where !isOnHost: return before[0].exponent >= 0x3ffd
      // Of a power of two the host's logarithm is not exact.
      case (0xd9, 0xf1) where !isOnHost:
        return before[0].significand.nonzeroBitCount == 1 && before[1].exponent == 0
      case (0xd9, 0x00), (0xdd, 0x00):
        let format: ExtendedFloat.Format = instruction.opcode == 0xd9 ? .single : .double
        var wasDenormal = false
        _ = ExtendedFloat(widening: operand.low, from: format, wasDenormal: &wasDenormal)
        return wasDenormal && !before.control.masks.contains(.denormal)
      default: return false
      }
    }

    /// Bits of the status word: conditions nobody sets, and how exact a transcendental result was.
    private func undefinedStatus(_ after: X87State) -> UInt16 {
      let conditions = X87Status.c0 | X87Status.c2 | X87Status.c3
      if isStopped(after) { return conditions | X87Status.c1 }
      if isApproximate {
        return conditions & ~X87Status.c2 | X87Status.c1
          | UInt16(X87Exceptions.precision.rawValue) | (isPrecisionUnmasked ? X87Status.summary : 0)
      }
      switch (instruction.opcode, instruction.modrm) {
      case (0xdb, 0xe8...0xf7), (0xdf, 0xe8...0xf7): return X87Status.c1  // FCOMI leaves it here.
      case (0xdd, 0xc0...0xc7), (0xdf, 0xc0...0xc7): return conditions | X87Status.c1  // FFREE
      default: return 0
      }
    }

    private var isPrecisionUnmasked: Bool { !before.control.masks.contains(.precision) }
  }

  extension ExtendedFloat {
    /// Counts positive numbers from zero on.
    fileprivate var ordinal: UInt128 {
      UInt128(exponent) << 63 | UInt128(significand & ~Self.integerBit)
    }
  }

  private func hex(_ value: ExtendedFloat) -> String {
    hex(X87Bytes(value.significand, value.signExponent))
  }

  private func hex(_ bytes: X87Bytes) -> String {
    String(bytes.high, radix: 16) + ":" + String(bytes.low, radix: 16)
  }
#endif
