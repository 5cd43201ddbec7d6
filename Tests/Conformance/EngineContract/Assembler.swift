import ArchitectureX86

/// Writes small programs for 64-bit mode: the instructions that the suite needs, one method each, named as in SDM
/// Vol. 2. Jumps have 32-bit displacements; operands in memory are a register and a displacement of 32 bits.
struct Assembler {
  typealias Register = X86.Register

  /// How many bytes an instruction moves.
  enum Size: Int, CaseIterable, Sendable { case byte = 1, word = 2, doubleword = 4, quadword = 8 }

  /// `[base + displacement]`.
  struct Memory {
    let base: Register
    var displacement: Int32 = 0
  }

  /// A place in the program.
  struct Label { fileprivate let index: Int }

  /// A condition, by its encoding.
  enum Condition: UInt8 { case below = 2, notBelow, zero, notZero }

  /// Arithmetic by its encoding in the group of `80` to `83`.
  enum Arithmetic: UInt8 {
    case add, or, addWithCarry, subtractWithBorrow, and, subtract, xor, compare
  }

  /// Where the program lies.
  let origin: UInt64
  private(set) var bytes: [UInt8] = []
  private var places: [Int?] = []
  private var references: [(at: Int, label: Int)] = []

  init(at origin: UInt64) { self.origin = origin }

  /// The address of the next instruction.
  var here: UInt64 { origin + UInt64(bytes.count) }

  mutating func emit(_ bytes: UInt8...) { self.bytes += bytes }

  private mutating func immediate<T: FixedWidthInteger>(_ value: T) {
    withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
  }

  // MARK: - Labels

  func address(of label: Label) -> UInt64 { origin + UInt64(places[label.index] ?? 0) }

  mutating func label() -> Label {
    places.append(nil)
    return Label(index: places.count - 1)
  }

  mutating func place(_ label: Label) {
    places[label.index] = bytes.count
    for reference in references where reference.label == label.index { resolve(reference) }
  }

  /// A label that stands here.
  mutating func placed() -> Label {
    let label = label()
    place(label)
    return label
  }

  private mutating func refer(to label: Label) {
    references.append((bytes.count, label.index))
    immediate(Int32(0))
    resolve(references[references.count - 1])
  }

  private mutating func resolve(_ reference: (at: Int, label: Int)) {
    guard let place = places[reference.label] else { return }
    let distance = Int32(place - reference.at - 4)
    withUnsafeBytes(of: distance.littleEndian) {
      bytes.replaceSubrange(reference.at..<reference.at + 4, with: $0)
    }
  }

  // MARK: - Encoding

  /// Prefixes, opcode and ModRM of an instruction with a register and memory.
  private mutating func instruction(
    _ opcode: [UInt8], _ size: Size, _ register: UInt8, _ memory: Memory, prefix: UInt8? = nil
  ) {
    let base = UInt8(memory.base.rawValue)
    if let prefix { emit(prefix) }
    if size == .word { emit(0x66) }
    emit(0x40 | (size == .quadword ? 8 : 0) | (register >> 3) << 2 | base >> 3)
    bytes += opcode
    emit(0x80 | (register & 7) << 3 | base & 7)
    if base & 7 == 4 { emit(0x24) }
    immediate(memory.displacement)
  }

  private mutating func instruction(
    _ opcode: [UInt8], _ size: Size, _ register: UInt8, _ other: Register
  ) {
    let base = UInt8(other.rawValue)
    if size == .word { emit(0x66) }
    emit(0x40 | (size == .quadword ? 8 : 0) | (register >> 3) << 2 | base >> 3)
    bytes += opcode
    emit(0xc0 | (register & 7) << 3 | base & 7)
  }

  private func number(_ register: Register) -> UInt8 { UInt8(register.rawValue) }

  // MARK: - Moves

  mutating func move(_ to: Register, _ value: UInt64) {
    if let value = UInt32(exactly: value) {
      if to.rawValue >= 8 { emit(0x41) }
      emit(0xb8 | number(to) & 7)
      immediate(value)
    } else {
      emit(0x48 | number(to) >> 3, 0xb8 | number(to) & 7)
      immediate(value)
    }
  }

  mutating func move(_ to: Register, _ from: Register) {
    instruction([0x89], .quadword, number(from), to)
  }

  mutating func load(_ to: Register, _ from: Memory, _ size: Size = .quadword) {
    instruction([size == .byte ? 0x8a : 0x8b], size, number(to), from)
  }

  /// MOV register, GS:[0].
  mutating func loadOwn(_ to: Register) {
    emit(0x65, 0x48 | (number(to) >> 3) << 2, 0x8b, 0x04 | (number(to) & 7) << 3, 0x25, 0, 0, 0, 0)
  }

  mutating func store(_ from: Register, _ to: Memory, _ size: Size = .quadword) {
    instruction([size == .byte ? 0x88 : 0x89], size, number(from), to)
  }

  mutating func store(_ value: Int32, _ to: Memory, _ size: Size = .doubleword) {
    instruction([size == .byte ? 0xc6 : 0xc7], size, 0, to)
    switch size {
    case .byte: immediate(UInt8(truncatingIfNeeded: value))
    case .word: immediate(UInt16(truncatingIfNeeded: value))
    case .doubleword, .quadword: immediate(value)
    }
  }

  /// MOVZX or MOVSX from a byte or word to 64 bits; MOVSXD from a doubleword.
  mutating func extend(_ to: Register, _ from: Memory, _ size: Size, signed: Bool) {
    switch size {
    case .byte: instruction([0x0f, signed ? 0xbe : 0xb6], .quadword, number(to), from)
    case .word: instruction([0x0f, signed ? 0xbf : 0xb7], .quadword, number(to), from)
    case .doubleword where signed: instruction([0x63], .quadword, number(to), from)
    case .doubleword, .quadword: load(to, from, size)
    }
  }

  mutating func exchange(_ register: Register, _ memory: Memory, _ size: Size = .quadword) {
    instruction([size == .byte ? 0x86 : 0x87], size, number(register), memory)
  }

  mutating func push(_ register: Register) {
    emit(0x40 | number(register) >> 3, 0x50 | number(register) & 7)
  }

  mutating func pop(_ register: Register) {
    emit(0x40 | number(register) >> 3, 0x58 | number(register) & 7)
  }

  // MARK: - Arithmetic

  mutating func compute(_ operation: Arithmetic, _ to: Register, _ value: Int32) {
    instruction([0x81], .quadword, operation.rawValue, to)
    immediate(value)
  }

  mutating func compute(_ operation: Arithmetic, _ to: Register, _ from: Register) {
    instruction([operation.rawValue << 3 | 1], .quadword, number(from), to)
  }

  mutating func compute(
    _ operation: Arithmetic, _ to: Memory, _ from: Register, _ size: Size = .quadword,
    locked: Bool = false
  ) {
    instruction(
      [operation.rawValue << 3 | (size == .byte ? 0 : 1)], size, number(from), to,
      prefix: locked ? 0xf0 : nil)
  }

  mutating func compute(
    _ operation: Arithmetic, _ to: Register, _ from: Memory, _ size: Size = .quadword
  ) {
    instruction([operation.rawValue << 3 | (size == .byte ? 2 : 3)], size, number(to), from)
  }

  mutating func increment(_ memory: Memory, _ size: Size = .quadword, locked: Bool = false) {
    instruction([size == .byte ? 0xfe : 0xff], size, 0, memory, prefix: locked ? 0xf0 : nil)
  }

  mutating func rotateLeft(_ register: Register, by count: UInt8) {
    instruction([0xc1], .quadword, 0, register)
    emit(count)
  }

  mutating func multiply(_ to: Register, by value: Int32) {
    let register = number(to)
    emit(
      0x48 | (register >> 3) << 2 | register >> 3, 0x69, 0xc0 | (register & 7) << 3 | register & 7)
    immediate(value)
  }

  // MARK: - Control transfer

  mutating func jump(to label: Label) {
    emit(0xe9)
    refer(to: label)
  }

  mutating func jump(if condition: Condition, to label: Label) {
    emit(0x0f, 0x80 | condition.rawValue)
    refer(to: label)
  }

  mutating func call(_ register: Register) {
    emit(0x40 | number(register) >> 3, 0xff, 0xd0 | number(register) & 7)
  }

  mutating func ret() { emit(0xc3) }
  mutating func returnFromInterrupt() { emit(0x48, 0xcf) }
  mutating func int(_ vector: UInt8) { emit(0xcd, vector) }

  // MARK: - Input and output

  /// IN or OUT of the port in DX.
  mutating func input(_ size: Size) {
    if size == .word { emit(0x66) }
    emit(size == .byte ? 0xec : 0xed)
  }

  mutating func output(_ size: Size) {
    if size == .word { emit(0x66) }
    emit(size == .byte ? 0xee : 0xef)
  }

  /// INS or OUTS with REP.
  mutating func repeatInput(_ size: Size) {
    emit(0xf3)
    if size == .word { emit(0x66) }
    emit(size == .byte ? 0x6c : 0x6d)
  }

  mutating func repeatOutput(_ size: Size) {
    emit(0xf3)
    if size == .word { emit(0x66) }
    emit(size == .byte ? 0x6e : 0x6f)
  }

  /// MOVS with REP.
  mutating func repeatMove(_ size: Size) {
    emit(0xf3)
    if size == .word { emit(0x66) }
    if size == .quadword { emit(0x48) }
    emit(size == .byte ? 0xa4 : 0xa5)
  }

  /// Writes a doubleword to a port; RAX and RDX are lost.
  mutating func output(_ value: UInt32, port: UInt16) {
    move(.rdx, UInt64(port))
    move(.rax, UInt64(value))
    output(.doubleword)
  }

  // MARK: - The system

  mutating func clearInterrupts() { emit(0xfa) }
  mutating func setInterrupts() { emit(0xfb) }
  mutating func setDirection(_ down: Bool) { emit(down ? 0xfd : 0xfc) }
  mutating func halt() { emit(0xf4) }
  mutating func pause() { emit(0xf3, 0x90) }
  mutating func noOperation() { emit(0x90) }
  mutating func readTimeStampCounter() { emit(0x0f, 0x31) }
  mutating func identify() { emit(0x0f, 0xa2) }
  mutating func readMSR() { emit(0x0f, 0x32) }
  mutating func writeMSR() { emit(0x0f, 0x30) }

  /// MOV CR8, register.
  mutating func setTaskPriority(_ register: Register) {
    emit(0x44 | number(register) >> 3, 0x0f, 0x22, 0xc0 | number(register) & 7)
  }

  /// MOV SS, register.
  mutating func setStackSegment(_ register: Register) {
    emit(0x40 | number(register) >> 3, 0x8e, 0xd0 | number(register) & 7)
  }

  /// LIDT [memory].
  mutating func loadInterruptTable(_ memory: Memory) {
    instruction([0x0f, 0x01], .doubleword, 3, memory)
  }
}
