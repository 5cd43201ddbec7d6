/// The forms that x87 instructions take: how operands come off the stack and results go onto it.
///
/// A missing operand or an unmasked exception ends an instruction here, so that its arithmetic need
/// not know of either.
extension X87State {
  typealias Unary = (ExtendedFloat, inout X87Environment) -> ExtendedFloat
  typealias Binary = (ExtendedFloat, ExtendedFloat, inout X87Environment) -> ExtendedFloat

  /// ST(0) becomes `operation` of it.
  @inline(__always)
  mutating func unary(_ operation: Unary) {
    guard !isEmpty(0) else {
      if stackFault(overflow: false) { self[0] = .indefinite }
      return
    }
    var environment = X87Environment(control)
    let result = operation(self[0], &environment)
    if settle(environment) { self[0] = result }
  }

  /// ST(`destination`) becomes `operation` of ST(0) and ST(`index`).
  @inline(__always)
  mutating func binary(
    _ index: UInt8, to destination: UInt8, popping: Bool, _ operation: Binary
  ) {
    if isEmpty(0) || isEmpty(index) {
      guard stackFault(overflow: false) else { return }
      self[destination] = .indefinite
    } else {
      var environment = X87Environment(control)
      let result = operation(self[0], self[index], &environment)
      guard settle(environment) else { return }
      self[destination] = result
    }
    if popping { pop() }
  }

  /// ST(0) becomes the first of two results, then the second is pushed; `nil` is an operand out of
  /// range, which C2 reports.
  @inline(__always)
  mutating func twofold(
    _ operation: (ExtendedFloat, inout X87Environment) -> (ExtendedFloat, ExtendedFloat)?
  ) {
    guard !isEmpty(0), isEmpty(7) else {
      guard stackFault(overflow: !isEmpty(0)) else { return }
      self[0] = .indefinite
      push(.indefinite)
      return
    }
    var environment = X87Environment(control)
    guard let (first, second) = operation(self[0], &environment) else {
      status.set(X87Status.c1, to: false)
      status.set(X87Status.c2, to: true)
      return
    }
    guard settle(environment) else { return }
    self[0] = first
    push(second)
  }
}

// MARK: - Loads and stores

extension X87State {
  /// Pushes a value from memory.
  @inline(__always)
  mutating func load(_ value: ExtendedFloat) {
    status.set(X87Status.c1, to: false)
    if hasRoom() { push(value) }
  }

  /// Pushes a value widened from a shorter format.
  @inline(__always)
  mutating func load(_ bits: UInt64, _ format: ExtendedFloat.Format) {
    guard hasRoom() else { return }
    var environment = X87Environment(control)
    let widened = ExtendedFloat(
      widening: bits, from: format, wasDenormal: &environment.widenedDenormal)
    let value = widened.loaded(&environment)
    if settle(environment) { push(value) }
  }

  /// Pushes a copy of ST(`index`).
  mutating func loadRegister(_ index: UInt8) {
    let isMissing = isEmpty(index)
    let value = self[index]
    guard isEmpty(7) || isMissing else {
      _ = hasRoom()
      return
    }
    if isMissing {
      if stackFault(overflow: false) { push(.indefinite) }
    } else {
      load(value)
    }
  }

  /// Stores ST(0), converted.
  @inline(__always)
  mutating func store(
    popping: Bool, _ convert: (ExtendedFloat, inout X87Environment) -> X87Bytes
  ) -> X87Outcome {
    var environment = X87Environment(control)
    let bytes: X87Bytes
    if isEmpty(0) {
      guard stackFault(overflow: false) else { return .none }
      bytes = convert(.indefinite, &environment)
    } else {
      bytes = convert(self[0], &environment)
      guard settle(environment, unless: [.beforeResult, .overflow, .underflow]) else {
        return .none
      }
    }
    if popping { pop() }
    return X87Outcome(.store, bytes)
  }

  /// Copies ST(0) to ST(`index`).
  mutating func storeRegister(_ index: UInt8, popping: Bool) {
    binary(0, to: index, popping: popping) { value, _, _ in value }
  }

  mutating func exchange(_ index: UInt8) {
    status.set(X87Status.c1, to: false)
    if isEmpty(0) || isEmpty(index) {
      guard stackFault(overflow: false) else { return }
      if isEmpty(0) { self[0] = .indefinite }
      if isEmpty(index) { self[index] = .indefinite }
    }
    let value = self[0]
    self[0] = self[index]
    self[index] = value
  }
}

// MARK: - Arithmetic and comparison

extension ExtendedFloat {
  /// The arithmetic of ModR/M digits 0, 1 and 4 to 7: FADD, FMUL, FSUB, FSUBR, FDIV, FDIVR.
  @inline(__always)
  func arithmetic(
    _ digit: UInt8, _ other: ExtendedFloat, _ environment: inout X87Environment
  ) -> ExtendedFloat {
    switch digit {
    case 0: adding(other, &environment)
    case 1: multiplied(by: other, &environment)
    case 4: subtracting(other, &environment)
    case 5: other.subtracting(self, &environment)
    case 6: divided(by: other, &environment)
    default: other.divided(by: self, &environment)
    }
  }
}

extension X87State {
  /// ST(0) and an operand from memory: FADD to FDIVR, FCOM and FCOMP.
  mutating func operate(_ digit: UInt8, with other: ExtendedFloat, wasDenormal: Bool = false) {
    if digit & 6 == 2 {
      compare(with: other, missing: isEmpty(0), wasDenormal: wasDenormal, pops: digit & 1)
      return
    }
    unary { value, environment in
      environment.widenedDenormal = wasDenormal
      return value.arithmetic(digit, other, &environment)
    }
  }

  /// Compares ST(0) with `other` into C3, C2 and C0, and pops `pops` times.
  mutating func compare(
    with other: ExtendedFloat, missing: Bool, quiet: Bool = false, wasDenormal: Bool = false,
    pops: UInt8
  ) {
    guard
      let ordering = ordering(
        to: other, missing: missing, quiet: quiet, wasDenormal: wasDenormal)
    else { return }
    switch ordering {
    case .greater: status.setConditions(0b000)
    case .less: status.setConditions(0b001)
    case .equal: status.setConditions(0b100)
    case .unordered: status.setConditions(0b111)
    }
    for _ in 0..<pops { pop() }
  }

  /// Compares ST(0) with ST(`index`) into ZF, PF and CF: FCOMI and its kin.
  mutating func compareIntoFlags(_ index: UInt8, quiet: Bool, popping: Bool) -> X87Outcome {
    guard
      let ordering = ordering(
        to: self[index], missing: isEmpty(0) || isEmpty(index), quiet: quiet, wasDenormal: false)
    else { return .none }
    if popping { pop() }
    let flags: UInt64 =
      switch ordering {
      case .greater: 0
      case .less: Self.carryFlag
      case .equal: Self.zeroFlag
      case .unordered: Self.zeroFlag | Self.parityFlag | Self.carryFlag
      }
    return X87Outcome(.flags, X87Bytes(flags))
  }

  private mutating func ordering(
    to other: ExtendedFloat, missing: Bool, quiet: Bool, wasDenormal: Bool
  ) -> ExtendedFloat.Ordering? {
    if missing { return stackFault(overflow: false) ? .unordered : nil }
    var environment = X87Environment(control)
    environment.widenedDenormal = wasDenormal
    let ordering = self[0].compared(to: other, quiet: quiet, &environment)
    return settle(environment) ? ordering : nil
  }

  /// Bits of RFLAGS: SDM Vol. 1 §3.4.3.
  static var carryFlag: UInt64 { 1 << 0 }
  static var parityFlag: UInt64 { 1 << 2 }
  static var zeroFlag: UInt64 { 1 << 6 }
}
