import Testing

@testable import X86Processor

/// The register file: the stack and its faults, pending exceptions, images in memory, MMX.
@Suite struct X87ArithmeticStateTests {
  private static let two = ExtendedFloat(2)

  private func execute(
    _ state: inout X87State, _ opcode: UInt8, _ modrm: UInt8, _ operand: X87Bytes = X87Bytes()
  ) -> X87Outcome {
    state.execute(X87Instruction(opcode: opcode, modrm: modrm), operand: operand)
  }

  @Test func `the state can live in raw memory`() {
    func isPlain<T: BitwiseCopyable>(_: T.Type) -> Bool { true }
    #expect(isPlain(X87State.self))
    #expect(MemoryLayout<X87State>.stride <= 176)
  }

  // SDM Vol. 1 §8.5.1.1
  @Test func `a ninth push overflows the stack`() {
    var state = X87State.initial
    for _ in 0..<8 { _ = execute(&state, 0xd9, 0xe8) }  // FLD1
    #expect(state.status.rawValue & 0x2ff == 0)
    _ = execute(&state, 0xd9, 0xe8)
    #expect(state.status.rawValue & 0x2ff == 0x241, "IE, SF, and C1 for overflow")
    #expect(state[0] == .indefinite)
  }

  // SDM Vol. 1 §8.5.1.1
  @Test func `popping an empty stack underflows`() {
    var state = X87State.initial
    let outcome = execute(&state, 0xdd, 0x18)  // FSTP m64
    #expect(outcome.effect == .store && outcome.bytes.low == 0xfff8_0000_0000_0000)
    #expect(state.status.rawValue & 0x2ff == 0x041, "IE and SF without C1")
    #expect(state.status.top == 1)
  }

  // SDM Vol. 1 §8.6
  @Test func `an unmasked exception waits for the next waiting instruction`() {
    var state = X87State.initial
    state.control.masks = X87Exceptions.all.subtracting(.zeroDivide)
    state.push(.zero())
    state.push(.one)
    _ = execute(&state, 0xd8, 0xf1)  // FDIV ST, ST(1)
    #expect(state[0] == .one, "the destination stays")
    #expect(state.pendingException)
    #expect(execute(&state, 0xd9, 0xe8).effect == .mathFault)
    #expect(state.status.top == 6, "nothing was executed")
    #expect(execute(&state, 0xdf, 0xe0).effect == .accumulator, "FNSTSW does not wait")
    #expect(execute(&state, 0xdb, 0xe2).effect == .none, "nor does FNCLEX")
    #expect(!state.pendingException)
    #expect(execute(&state, 0xd9, 0xe8).effect == .none)
  }

  // SDM Vol. 1 §8.1.8, §8.1.9
  @Test func `pointers follow all but control instructions`() {
    var state = X87State.initial
    var load = X87Instruction(opcode: 0xd9, modrm: 0x03)
    load.address.offset = 0x1234_5678_9abc
    load.data = X87Pointer(offset: 0x8000, selector: 0x2b)
    _ = state.execute(load, operand: X87Bytes(0x3f80_0000))
    let store = X87Instruction(opcode: 0xd9, modrm: 0x3b)  // FNSTCW
    #expect(state.execute(store).bytes.low == 0x037f)
    #expect(state.lastInstruction.offset == 0x1234_5678_9abc)
    #expect(state.lastData == X87Pointer(offset: 0x8000, selector: 0x2b))
    #expect(state.lastOpcode == 0x103)
  }

  @Test func `reserved opcodes are undefined`() {
    var state = X87State.initial
    let reserved: [(UInt8, UInt8)] = [
      (0xd9, 0x08), (0xdb, 0x20), (0xdb, 0x30), (0xdd, 0x28), (0xd9, 0xd1), (0xd9, 0xe2),
      (0xd9, 0xe6), (0xd9, 0xef), (0xda, 0xe8), (0xda, 0xf0), (0xdb, 0xe5), (0xdb, 0xf8),
      (0xdd, 0xf0), (0xde, 0xd8), (0xdf, 0xe1), (0xdf, 0xf8),
    ]
    for (opcode, modrm) in reserved {
      #expect(execute(&state, opcode, modrm).effect == .undefinedOpcode)
    }
  }
}

// MARK: - Images

extension X87ArithmeticStateTests {
  private func sample() -> X87State {
    var state = X87State.initial
    state.push(Self.two)
    state.push(.zero())
    state.push(.infinity())
    state.lastOpcode = 0x5c1
    state.lastInstruction = X87Pointer(offset: 0x89ab_cdef, selector: 0x33)
    state.lastData = X87Pointer(offset: 0x0123_4567, selector: 0x2b)
    return state
  }

  private func isEqual(_ a: X87State, _ b: X87State) -> Bool {
    a.control == b.control && a.status == b.status && a.tags == b.tags
      && (0..<8).allSatisfy { a.registers[$0] == b.registers[$0] }
  }

  // SDM Vol. 1 Figure 8-9
  @Test func `the protected-mode environment of 28 bytes has every field in place`() {
    var words = [UInt32](repeating: 0, count: 7)
    var state = sample()
    words.withUnsafeMutableBytes { state.storeEnvironment(to: $0.baseAddress!, .protected32) }
    #expect(
      words == [
        0xffff_037f, 0xffff_2800, 0xffff_1bff, 0x89ab_cdef, 0x05c1_0033, 0x0123_4567, 0xffff_002b,
      ])
  }

  // SDM Vol. 1 Figure 8-12
  @Test func `the real-mode environment of 14 bytes holds linear addresses`() {
    var words = [UInt16](repeating: 0, count: 7)
    var state = sample()
    words.withUnsafeMutableBytes { state.storeEnvironment(to: $0.baseAddress!, .real16) }
    #expect(words == [0x037f, 0x2800, 0x1bff, 0xcdef, 0xb5c1, 0x4567, 0x3000])
  }

  @Test(arguments: [X87EnvironmentFormat.protected16, .protected32, .real16, .real32])
  func `what FNSAVE writes FRSTOR reads`(format: X87EnvironmentFormat) {
    let before = sample()
    var bytes = [UInt8](repeating: 0xa5, count: 108)
    var state = before
    bytes.withUnsafeMutableBytes { state.storeState(to: $0.baseAddress!, format) }
    #expect(state.tags == 0 && state.control == .initial && state.status.rawValue == 0)
    #expect(bytes[format.stateSize...].allSatisfy { $0 == 0xa5 })
    bytes.withUnsafeBytes { state.loadState(from: $0.baseAddress!, format) }
    #expect(isEqual(state, before))
    if format == .protected32 || format == .real32 {
      #expect(state.lastInstruction.offset == before.lastInstruction.offset)
      #expect(state.lastData.offset == before.lastData.offset)
      #expect(state.lastOpcode == before.lastOpcode)
    }
  }

  // SDM Vol. 1 §10.5.1
  @Test(arguments: [false, true])
  func `what FXSAVE writes FXRSTOR reads`(wide: Bool) {
    let before = sample()
    var bytes = [UInt8](repeating: 0xa5, count: 512)
    bytes.withUnsafeMutableBytes { before.storeFXSAVE(to: $0.baseAddress!, wide: wide) }
    #expect(bytes[4] == 0xe0 && bytes[5] == 0, "the abridged tag word, by physical register")
    #expect(bytes[24..<32].allSatisfy { $0 == 0xa5 }, "MXCSR is not ours")
    #expect(bytes[160...].allSatisfy { $0 == 0xa5 }, "nor are the XMM registers")
    var state = X87State.initial
    bytes.withUnsafeBytes { state.loadFXSAVE(from: $0.baseAddress!, wide: wide) }
    #expect(isEqual(state, before))
    #expect(state.lastInstruction.selector == (wide ? 0 : 0x33))
  }

  // SDM Vol. 2 "FSTENV/FNSTENV"
  @Test func `FNSTENV masks all exceptions, and FLDENV finds pending ones`() {
    var state = X87State.initial
    state.control.masks = []
    _ = execute(&state, 0xd9, 0xe0)  // FCHS of nothing
    #expect(state.pendingException)
    var bytes = [UInt8](repeating: 0, count: 28)
    bytes.withUnsafeMutableBytes { state.storeEnvironment(to: $0.baseAddress!, .protected32) }
    #expect(state.control.masks == .all && !state.pendingException)
    bytes.withUnsafeBytes { state.loadEnvironment(from: $0.baseAddress!, .protected32) }
    #expect(state.control.masks.isEmpty && state.pendingException)
  }
}

// MARK: - MMX

extension X87ArithmeticStateTests {
  // SDM Vol. 3A §13.2
  @Test func `MMX registers are the significands by physical number`() {
    var state = X87State.initial
    state.push(Self.two)
    #expect(state[mmx: 7] == 1 << 63)
    state.enterMMX()
    state[mmx: 3] = 0x0123_4567_89ab_cdef
    #expect(state.status.top == 0 && state.tags == 0xff)
    #expect(state[3] == ExtendedFloat(significand: 0x0123_4567_89ab_cdef, signExponent: 0xffff))
    state.status.top = 5
    state.emptyMMX()
    #expect(state.status.top == 0 && state.tagWord == 0xffff)
  }
}
