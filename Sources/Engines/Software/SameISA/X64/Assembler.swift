/// A general register of the host, by its number in encodings: SDM Vol. 2A Table 2-2, Vol. 1 §3.7.2.1.
enum Register: UInt8 {
  case rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
}

/// A memory operand.
struct Address {
  var base: Register?
  var index: Register?
  /// Left shift of the index, 0 to 3.
  var scale: UInt8 = 0
  var displacement: Int32 = 0

  init(_ base: Register?, _ displacement: Int = 0) {
    self.base = base
    self.displacement = Int32(truncatingIfNeeded: displacement)
  }

  init(_ base: Register?, index: Register?, scale: UInt8 = 0, _ displacement: Int = 0) {
    self.init(base, displacement)
    self.index = index
    self.scale = scale
  }
}

/// The operand that ModRM.rm names.
enum RegisterOrMemory {
  case register(UInt8)
  case memory(Address)
}

/// What a Jcc or SETcc looks at, by the low four bits of its opcode: SDM Vol. 1 Appendix B.
struct Condition: RawRepresentable {
  let rawValue: UInt8

  static let overflow = Condition(rawValue: 0)
  static let carry = Condition(rawValue: 2)
  static let notCarry = Condition(rawValue: 3)
  static let zero = Condition(rawValue: 4)
  static let notZero = Condition(rawValue: 5)
  /// Below or equal, of numbers without a sign; and above.
  static let notAbove = Condition(rawValue: 6)
  static let above = Condition(rawValue: 7)
  static let parity = Condition(rawValue: 10)

  static prefix func ! (condition: Condition) -> Condition {
    Condition(rawValue: condition.rawValue ^ 1)
  }
}

/// Operand sizes of the assembler's own instructions.
enum Size {
  case byte, word, doubleword, quadword
}

/// Writes x86-64 instructions of 64-bit mode: SDM Vol. 2A §2.1, §2.2 "IA-32e Mode", §2.3 for VEX.
///
/// It writes through one mapping what will run from another. Who uses it sees to it that there is room.
struct Assembler {
  /// Where the next byte goes.
  private(set) var cursor: UnsafeMutablePointer<UInt8>
  /// From where code is written to where it runs.
  let distance: Int

  init(at cursor: UnsafeMutablePointer<UInt8>, distance: Int) {
    self.cursor = cursor
    self.distance = distance
  }

  /// The address at which the next instruction will run.
  var here: UInt64 { UInt64(UInt(bitPattern: cursor)) &+ UInt64(bitPattern: Int64(distance)) }

  // MARK: - Bytes

  @inline(__always)
  mutating func byte(_ value: UInt8) {
    cursor.pointee = value
    cursor += 1
  }

  mutating func word(_ value: UInt16) {
    UnsafeMutableRawPointer(cursor).storeBytes(of: value, as: UInt16.self)
    cursor += 2
  }

  mutating func doubleword(_ value: Int32) {
    UnsafeMutableRawPointer(cursor).storeBytes(of: value, as: Int32.self)
    cursor += 4
  }

  mutating func quadword(_ value: UInt64) {
    UnsafeMutableRawPointer(cursor).storeBytes(of: value, as: UInt64.self)
    cursor += 8
  }

  // MARK: - Any instruction

  /// What an instruction consists of beside its operands.
  struct Encoding {
    /// Legacy prefixes, in the order in which they are written: 66, F2 or F3, F0.
    var prefixes: (UInt8, UInt8) = (0, 0)
    var isW = false
    /// 0 one byte, 1 0F, 2 0F 38, 3 0F 3A.
    var map: UInt8 = 0
    var opcode: UInt8
    /// Whether registers 4 to 7 are SPL, BPL, SIL and DIL, which takes a REX prefix.
    var needsREX = false

    init(_ opcode: UInt8, map: UInt8 = 0, isW: Bool = false) {
      self.opcode = opcode
      self.map = map
      self.isW = isW
    }
  }

  /// Writes an instruction with ModRM, up to its immediate.
  mutating func instruction(_ e: Encoding, reg: UInt8, _ rm: RegisterOrMemory) {
    if e.prefixes.0 != 0 { byte(e.prefixes.0) }
    if e.prefixes.1 != 0 { byte(e.prefixes.1) }
    var rex: UInt8 = (e.isW ? 8 : 0) | (reg & 8) >> 1
    switch rm {
    case .register(let number): rex |= number >> 3
    case .memory(let address):
      rex |= (address.index?.rawValue ?? 0) >> 2 & 2 | (address.base?.rawValue ?? 0) >> 3
    }
    if rex != 0 || e.needsREX { byte(0x40 | rex) }
    if e.map > 0 { byte(0x0f) }
    if e.map == 2 { byte(0x38) }
    if e.map == 3 { byte(0x3a) }
    byte(e.opcode)
    modRM(reg, rm)
  }

  /// Writes an instruction with a VEX prefix of three bytes, up to its immediate.
  ///
  /// - Parameter pp: the prefix that it implies: none, 66, F3, F2.
  mutating func vexInstruction(
    map: UInt8, pp: UInt8, isW: Bool, isWide: Bool, opcode: UInt8, reg: UInt8, vvvv: UInt8,
    _ rm: RegisterOrMemory
  ) {
    var x: UInt8 = 0
    var b: UInt8 = 0
    switch rm {
    case .register(let number): b = number >> 3
    case .memory(let address):
      x = (address.index?.rawValue ?? 0) >> 3
      b = (address.base?.rawValue ?? 0) >> 3
    }
    byte(0xc4)
    byte(~((reg & 8) << 4 | x << 6 | b << 5) & 0xe0 | map)
    byte((isW ? 0x80 : 0) | (~vvvv & 15) << 3 | (isWide ? 4 : 0) | pp)
    byte(opcode)
    modRM(reg, rm)
  }

  private mutating func modRM(_ reg: UInt8, _ rm: RegisterOrMemory) {
    let field = (reg & 7) << 3
    switch rm {
    case .register(let number): byte(0xc0 | field | number & 7)
    case .memory(let address): memory(field, address)
    }
  }

  private mutating func memory(_ field: UInt8, _ address: Address) {
    let displacement = address.displacement
    let index = address.index.map { ($0.rawValue & 7) << 3 } ?? 0x20
    guard let base = address.base?.rawValue else {
      // No base: SIB with base 5 and a displacement of 32 bits.
      byte(field | 4)
      byte(address.scale << 6 | index | 5)
      doubleword(displacement)
      return
    }
    // RBP and R13 as a base always have a displacement.
    let isShort = displacement == Int32(Int8(truncatingIfNeeded: displacement))
    let mod: UInt8 = displacement == 0 && base & 7 != 5 ? 0 : isShort ? 0x40 : 0x80
    if address.index != nil || base & 7 == 4 {
      byte(mod | field | 4)
      byte(address.scale << 6 | index | base & 7)
    } else {
      byte(mod | field | base & 7)
    }
    if mod == 0x40 { byte(UInt8(truncatingIfNeeded: displacement)) }
    if mod == 0x80 { doubleword(displacement) }
  }

  // MARK: - Moves

  /// An opcode whose lowest bit says that the operand is wider than a byte.
  private func sized(_ opcode: UInt8, _ size: Size) -> Encoding {
    var e = Encoding(size == .byte ? opcode & ~1 : opcode | 1, isW: size == .quadword)
    if size == .word { e.prefixes.0 = 0x66 }
    if size == .byte { e.needsREX = true }
    return e
  }

  mutating func move(_ to: Register, _ from: Register, _ size: Size = .quadword) {
    instruction(sized(0x8b, size), reg: to.rawValue, .register(from.rawValue))
  }

  mutating func load(_ to: Register, _ from: Address, _ size: Size = .quadword) {
    instruction(sized(0x8b, size), reg: to.rawValue, .memory(from))
  }

  mutating func store(_ to: Address, _ from: Register, _ size: Size = .quadword) {
    instruction(sized(0x89, size), reg: from.rawValue, .memory(to))
  }

  /// MOVZX from a byte or word.
  mutating func loadZeroExtended(_ to: Register, _ from: Address, _ size: Size) {
    instruction(
      Encoding(size == .byte ? 0xb6 : 0xb7, map: 1), reg: to.rawValue, .memory(from))
  }

  mutating func zeroExtendByte(_ to: Register, _ from: Register) {
    var e = Encoding(0xb6, map: 1)
    e.needsREX = true
    instruction(e, reg: to.rawValue, .register(from.rawValue))
  }

  /// MOVZX from AH, CH, DH or BH, of which `from` names the whole register.
  mutating func zeroExtendSecondByte(_ to: Register, of from: Register) {
    precondition(to.rawValue < 8 && from.rawValue < 4)
    instruction(Encoding(0xb6, map: 1), reg: to.rawValue, .register(from.rawValue + 4))
  }

  /// Loads a constant in its shortest encoding.
  mutating func loadConstant(_ to: Register, _ value: UInt64) {
    if value <= UInt64(UInt32.max) {
      if to.rawValue > 7 { byte(0x41) }
      byte(0xb8 | to.rawValue & 7)
      doubleword(Int32(bitPattern: UInt32(value)))
    } else if Int64(bitPattern: value) == Int64(Int32(truncatingIfNeeded: value)) {
      instruction(Encoding(0xc7, isW: true), reg: 0, .register(to.rawValue))
      doubleword(Int32(truncatingIfNeeded: value))
    } else {
      byte(0x48 | to.rawValue >> 3)
      byte(0xb8 | to.rawValue & 7)
      quadword(value)
    }
  }

  /// Stores a constant, sign-extended.
  mutating func storeConstant(_ to: Address, _ value: Int32, _ size: Size = .quadword) {
    instruction(sized(0xc7, size), reg: 0, .memory(to))
    switch size {
    case .byte: byte(UInt8(truncatingIfNeeded: value))
    case .word: word(UInt16(truncatingIfNeeded: value))
    default: doubleword(value)
    }
  }

  mutating func loadAddress(_ to: Register, _ address: Address, _ size: Size = .quadword) {
    instruction(sized(0x8d, size), reg: to.rawValue, .memory(address))
  }

  // MARK: - Arithmetic

  /// The eight operations of 00 to 3D and of group 1.
  enum Operation: UInt8 {
    case add, or, adc, sbb, and, sub, xor, cmp
  }

  mutating func arithmetic(
    _ operation: Operation, _ to: Register, _ from: Register, _ size: Size = .quadword
  ) {
    instruction(
      sized(operation.rawValue << 3 | 3, size), reg: to.rawValue, .register(from.rawValue))
  }

  mutating func arithmetic(
    _ operation: Operation, _ to: Register, _ from: Address, _ size: Size = .quadword
  ) {
    instruction(sized(operation.rawValue << 3 | 3, size), reg: to.rawValue, .memory(from))
  }

  mutating func arithmetic(
    _ operation: Operation, _ to: Register, constant: Int32, _ size: Size = .quadword
  ) {
    constantArithmetic(operation, .register(to.rawValue), constant, size)
  }

  mutating func arithmetic(
    _ operation: Operation, _ to: Address, constant: Int32, _ size: Size = .quadword
  ) {
    constantArithmetic(operation, .memory(to), constant, size)
  }

  private mutating func constantArithmetic(
    _ operation: Operation, _ to: RegisterOrMemory, _ constant: Int32, _ size: Size
  ) {
    if size == .byte {
      instruction(sized(0x80, size), reg: operation.rawValue, to)
      byte(UInt8(truncatingIfNeeded: constant))
    } else if constant == Int32(Int8(truncatingIfNeeded: constant)) {
      var e = sized(0x83, size)
      e.opcode = 0x83
      instruction(e, reg: operation.rawValue, to)
      byte(UInt8(truncatingIfNeeded: constant))
    } else {
      instruction(sized(0x81, size), reg: operation.rawValue, to)
      if size == .word {
        word(UInt16(truncatingIfNeeded: constant))
      } else {
        doubleword(constant)
      }
    }
  }

  mutating func test(_ register: Register, constant: Int32, _ size: Size) {
    instruction(sized(0xf7, size), reg: 0, .register(register.rawValue))
    switch size {
    case .byte: byte(UInt8(truncatingIfNeeded: constant))
    case .word: word(UInt16(truncatingIfNeeded: constant))
    default: doubleword(constant)
    }
  }

  mutating func test(_ a: Register, _ b: Register, _ size: Size = .quadword) {
    instruction(sized(0x85, size), reg: a.rawValue, .register(b.rawValue))
  }

  enum Shift: UInt8 {
    case left = 4
    case right = 5
    case arithmeticRight = 7
  }

  mutating func shift(
    _ direction: Shift, _ register: Register, _ count: UInt8, _ size: Size = .quadword
  ) {
    instruction(sized(0xc1, size), reg: direction.rawValue, .register(register.rawValue))
    byte(count)
  }

  mutating func not(_ register: Register, _ size: Size = .quadword) {
    instruction(sized(0xf7, size), reg: 2, .register(register.rawValue))
  }

  // MARK: - Flags

  mutating func loadFlags() { byte(0x9f) }  // LAHF
  mutating func storeFlags() { byte(0x9e) }  // SAHF

  /// SETcc of a register's low byte.
  mutating func set(_ register: Register, if condition: Condition) {
    var e = Encoding(0x90 | condition.rawValue, map: 1)
    e.needsREX = true
    instruction(e, reg: 0, .register(register.rawValue))
  }

  // MARK: - Stack

  mutating func push(_ register: Register) {
    if register.rawValue > 7 { byte(0x41) }
    byte(0x50 | register.rawValue & 7)
  }

  mutating func pop(_ register: Register) {
    if register.rawValue > 7 { byte(0x41) }
    byte(0x58 | register.rawValue & 7)
  }

  // MARK: - Control transfer

  /// A jump or call whose distance is still to be filled in.
  struct Fixup {
    fileprivate let place: UnsafeMutablePointer<UInt8>
  }

  /// Jcc, its distance of 32 bits open.
  mutating func jump(if condition: Condition) -> Fixup {
    byte(0x0f)
    byte(0x80 | condition.rawValue)
    return open()
  }

  mutating func jump() -> Fixup {
    byte(0xe9)
    return open()
  }

  mutating func jump(to target: UInt64) { jump().set(target, distance) }

  mutating func jump(if condition: Condition, to target: UInt64) {
    jump(if: condition).set(target, distance)
  }

  mutating func call(_ target: UInt64) {
    byte(0xe8)
    open().set(target, distance)
  }

  private mutating func open() -> Fixup {
    defer { cursor += 4 }
    return Fixup(place: cursor)
  }

  /// JMP to the address that memory holds.
  mutating func jump(through address: Address) {
    instruction(Encoding(0xff), reg: 4, .memory(address))
  }

  mutating func jump(through register: Register) {
    instruction(Encoding(0xff), reg: 4, .register(register.rawValue))
  }

  mutating func returnNear() { byte(0xc3) }

  /// Fills in a distance: to where the next instruction goes.
  func bind(_ fixup: Fixup) { fixup.set(here, distance) }

  func bind(_ fixup: Fixup, to target: UInt64) { fixup.set(target, distance) }
}

extension Assembler.Fixup {
  /// The one that was so many bytes from `start`.
  init(_ offset: Int, from start: UnsafeMutableRawPointer) {
    place = (start + offset).assumingMemoryBound(to: UInt8.self)
  }

  /// Where the distance lies, as a number of bytes from `start`.
  func offset(from start: UnsafeMutableRawPointer) -> Int { UnsafeMutableRawPointer(place) - start }

  /// Makes the instruction lead to a target.
  fileprivate func set(_ target: UInt64, _ distance: Int) {
    let end = UInt64(UInt(bitPattern: place)) &+ UInt64(bitPattern: Int64(distance)) &+ 4
    let value = Int64(bitPattern: target &- end)
    precondition(value == Int64(Int32(truncatingIfNeeded: value)), "a jump beyond 2 GiB")
    UnsafeMutableRawPointer(place).storeBytes(of: Int32(truncatingIfNeeded: value), as: Int32.self)
  }
}
