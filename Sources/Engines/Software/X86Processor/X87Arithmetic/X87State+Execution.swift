/// What the opcodes D8 to DF mean: SDM Vol. 2D §A.5 "Escape Opcode Instructions".
extension X87State {
  /// Executes an instruction, whose memory operand to be loaded, if any, is `operand`.
  ///
  /// The caller has checked CR0.EM and CR0.TS, and that a store will not fault. FLDENV, FNSTENV,
  /// FRSTOR and FNSAVE are not for here but for `loadEnvironment` and its kin.
  mutating func execute(
    _ instruction: X87Instruction, operand: X87Bytes = X87Bytes()
  ) -> X87Outcome {
    if _slowPath(pendingException), instruction.waits { return X87Outcome(.mathFault) }
    let outcome =
      instruction.readsOrWritesMemory
      ? executeMemory(instruction, operand) : executeRegister(instruction)
    if !instruction.isControl, outcome.effect != .undefinedOpcode { record(instruction) }
    return outcome
  }

  @inline(__always)
  private mutating func record(_ instruction: X87Instruction) {
    lastOpcode = UInt16(instruction.opcode & 7) << 8 | UInt16(instruction.modrm)
    lastInstruction = instruction.address
    if instruction.readsOrWritesMemory { lastData = instruction.data }
  }
}

// MARK: - With a memory operand

extension X87State {
  private mutating func executeMemory(
    _ instruction: X87Instruction, _ operand: X87Bytes
  ) -> X87Outcome {
    let digit = instruction.digit
    switch instruction.opcode {
    case 0xd8: operate(digit, with: operand.low, .single)
    case 0xd9: return executeD9(digit, operand)
    case 0xda: operate(digit, with: ExtendedFloat(operand.int32))
    case 0xdb: return executeDB(digit, operand)
    case 0xdc: operate(digit, with: operand.low, .double)
    case 0xdd: return executeDD(digit, operand)
    case 0xde: operate(digit, with: ExtendedFloat(operand.int16))
    default: return executeDF(digit, operand)
    }
    return .none
  }

  /// FADD to FDIVR of ST(0) and a shorter number in memory, FCOM and FCOMP.
  mutating func operate(
    _ digit: UInt8, with bits: UInt64, _ format: ExtendedFloat.Format
  ) {
    var wasDenormal = false
    let other = ExtendedFloat(widening: bits, from: format, wasDenormal: &wasDenormal)
    operate(digit, with: other, wasDenormal: wasDenormal)
  }

  private mutating func executeD9(_ digit: UInt8, _ operand: X87Bytes) -> X87Outcome {
    switch digit {
    case 0: load(operand.low, .single)
    case 2, 3: return storeFloat(.single, popping: digit == 3)
    case 5:
      control = X87Control(loading: operand.low)
      summarize()
    case 7: return X87Outcome(.store, X87Bytes(UInt64(control.rawValue)))
    default: return X87Outcome(.undefinedOpcode)
    }
    return .none
  }

  private mutating func executeDB(_ digit: UInt8, _ operand: X87Bytes) -> X87Outcome {
    switch digit {
    case 0: load(ExtendedFloat(operand.int32))
    case 1: return storeInteger(32, truncating: true, popping: true)
    case 2, 3: return storeInteger(32, popping: digit == 3)
    case 5: load(ExtendedFloat(significand: operand.low, signExponent: operand.high))
    case 7: return store(popping: true) { value, _ in X87Bytes(value) }
    default: return X87Outcome(.undefinedOpcode)
    }
    return .none
  }

  private mutating func executeDD(_ digit: UInt8, _ operand: X87Bytes) -> X87Outcome {
    switch digit {
    case 0: load(operand.low, .double)
    case 1: return storeInteger(64, truncating: true, popping: true)
    case 2, 3: return storeFloat(.double, popping: digit == 3)
    case 7: return X87Outcome(.store, X87Bytes(UInt64(status.rawValue)))
    default: return X87Outcome(.undefinedOpcode)
    }
    return .none
  }

  private mutating func executeDF(_ digit: UInt8, _ operand: X87Bytes) -> X87Outcome {
    switch digit {
    case 0: load(ExtendedFloat(operand.int16))
    case 1: return storeInteger(16, truncating: true, popping: true)
    case 2, 3: return storeInteger(16, popping: digit == 3)
    case 4: load(ExtendedFloat(packedDecimal: operand.low, operand.high))
    case 5: load(ExtendedFloat(Int64(bitPattern: operand.low)))
    case 6:
      return store(popping: true) { value, environment in
        let decimal = value.packedDecimal(&environment)
        return X87Bytes(decimal.low, decimal.high)
      }
    default: return storeInteger(64, popping: true)
    }
    return .none
  }

  /// FST and FSTP of single or double precision.
  mutating func storeFloat(
    _ format: ExtendedFloat.Format, popping: Bool
  ) -> X87Outcome {
    store(popping: popping) { value, environment in
      X87Bytes(value.narrowed(to: format, &environment))
    }
  }

  private mutating func storeInteger(
    _ width: UInt64, truncating: Bool = false, popping: Bool
  ) -> X87Outcome {
    store(popping: popping) { value, environment in
      guard truncating else {
        return X87Bytes(UInt64(bitPattern: value.integer(width: width, &environment)))
      }
      var control = environment.control
      control.rounding = .towardZero
      var truncation = X87Environment(control)
      let integer = value.integer(width: width, &truncation)
      environment.raise(truncation.raised)
      return X87Bytes(UInt64(bitPattern: integer))
    }
  }
}

extension X87Bytes {
  fileprivate init(_ value: ExtendedFloat) { self.init(value.significand, value.signExponent) }
  fileprivate var int16: Int64 { Int64(Int16(truncatingIfNeeded: low)) }
  fileprivate var int32: Int64 { Int64(Int32(truncatingIfNeeded: low)) }
}

// MARK: - Between registers

extension X87State {
  private mutating func executeRegister(_ instruction: X87Instruction) -> X87Outcome {
    let index = instruction.modrm & 7
    let digit = instruction.digit
    switch instruction.opcode {
    case 0xd8: arithmetic(digit, index, to: 0, popping: false)
    case 0xd9: return executeD9(digit, index)
    case 0xda: return executeDA(digit, index, flags: instruction.flags)
    case 0xdb: return executeDB(digit, index, flags: instruction.flags)
    case 0xdc: arithmetic(digit, index, to: index, popping: false)
    case 0xdd: return executeDD(digit, index)
    case 0xde:
      if digit == 3 {
        guard index == 1 else { return X87Outcome(.undefinedOpcode) }
        compare(index, pops: 2)
      } else {
        arithmetic(digit, index, to: index, popping: true)
      }
    default: return executeDF(digit, index)
    }
    return .none
  }

  /// FADD to FDIVR of ST(0) and ST(`index`), FCOM and FCOMP.
  mutating func arithmetic(
    _ digit: UInt8, _ index: UInt8, to destination: UInt8, popping: Bool
  ) {
    if digit & 6 == 2 {
      compare(index, pops: popping ? 1 : digit & 1)
    } else {
      binary(index, to: destination, popping: popping) { a, b, environment in
        a.arithmetic(digit, b, &environment)
      }
    }
  }

  private mutating func compare(_ index: UInt8, quiet: Bool = false, pops: UInt8) {
    compare(with: self[index], missing: isEmpty(0) || isEmpty(index), quiet: quiet, pops: pops)
  }

  private mutating func executeD9(_ digit: UInt8, _ index: UInt8) -> X87Outcome {
    switch digit {
    case 0: loadRegister(index)
    case 1: exchange(index)
    case 2 where index == 0: break  // FNOP
    case 3: storeRegister(index, popping: true)
    case 4: return executeSigns(index)
    case 5:
      guard let constant = ExtendedFloat.Constant(rawValue: index) else {
        return X87Outcome(.undefinedOpcode)
      }
      load(ExtendedFloat(constant, rounding: control.rounding))
    case 6, 7: executeFunction(digit << 3 & 8 | index)
    default: return X87Outcome(.undefinedOpcode)
    }
    return .none
  }

  /// FCMOVB, FCMOVE, FCMOVBE, FCMOVU; FUCOMPP.
  private mutating func executeDA(
    _ digit: UInt8, _ index: UInt8, flags: UInt64
  ) -> X87Outcome {
    if digit < 4 {
      move(index, if: Self.holds(digit, flags))
    } else if digit == 5 && index == 1 {
      compare(index, quiet: true, pops: 2)
    } else {
      return X87Outcome(.undefinedOpcode)
    }
    return .none
  }

  /// FCMOVNB, FCMOVNE, FCMOVNBE, FCMOVNU; FNCLEX, FNINIT and forgotten ones; FUCOMI, FCOMI.
  private mutating func executeDB(
    _ digit: UInt8, _ index: UInt8, flags: UInt64
  ) -> X87Outcome {
    switch (digit, index) {
    case (0..<4, _): move(index, if: !Self.holds(digit, flags))
    case (4, 0), (4, 1), (4, 4): break  // FNENI, FNDISI and FNSETPM do nothing any more.
    case (4, 2): status.rawValue &= ~(X87Status.summary | 0x7f)
    case (4, 3): initialize()
    case (5, _), (6, _): return compareIntoFlags(index, quiet: digit == 5, popping: false)
    default: return X87Outcome(.undefinedOpcode)
    }
    return .none
  }

  private mutating func executeDD(_ digit: UInt8, _ index: UInt8) -> X87Outcome {
    switch digit {
    case 0:
      free(index)
      status.set(X87Status.c1, to: false)
    case 1: exchange(index)
    case 2, 3: storeRegister(index, popping: digit == 3)
    case 4, 5: compare(index, quiet: true, pops: digit & 1)
    default: return X87Outcome(.undefinedOpcode)
    }
    return .none
  }

  private mutating func executeDF(_ digit: UInt8, _ index: UInt8) -> X87Outcome {
    switch (digit, index) {
    case (0, _):  // FFREEP
      free(index)
      pop()
      status.set(X87Status.c1, to: false)
    case (1, _): exchange(index)
    case (2, _), (3, _): storeRegister(index, popping: true)
    case (4, 0): return X87Outcome(.accumulator, X87Bytes(UInt64(status.rawValue)))
    case (5, _), (6, _): return compareIntoFlags(index, quiet: digit == 5, popping: true)
    default: return X87Outcome(.undefinedOpcode)
    }
    return .none
  }
}

// MARK: - Conditions

extension X87State {
  /// The conditions B, E, BE and U of FCMOVcc.
  private static func holds(_ condition: UInt8, _ flags: UInt64) -> Bool {
    switch condition {
    case 0: flags & carryFlag != 0
    case 1: flags & zeroFlag != 0
    case 2: flags & (carryFlag | zeroFlag) != 0
    default: flags & parityFlag != 0
    }
  }

  private mutating func move(_ index: UInt8, if condition: Bool) {
    if isEmpty(0) || isEmpty(index) {
      if stackFault(overflow: false) { self[0] = .indefinite }
    } else if condition {
      self[0] = self[index]
    }
  }
}

// MARK: - Control

extension X87State {
  /// FNINIT: SDM Vol. 2 "FINIT/FNINIT—Initialize Floating-Point Unit".
  mutating func initialize() {
    let registers = registers
    self = .initial
    self.registers = registers
  }
}

extension X87Control {
  /// What FLDCW makes of a word: the reserved bits cannot be written, and bit 6 reads as one.
  init(loading word: UInt64) {
    self.init(rawValue: UInt16(truncatingIfNeeded: word) & 0x1f3f | 0x0040)
  }
}
