/// The registers of the x87 FPU: SDM Vol. 1 §8.1 "x87 FPU Execution Environment".
///
/// A plain value without references, so that it can lie in the raw memory of a processor's state.
struct X87State: BitwiseCopyable, Sendable {
  /// The data registers R0 to R7, by their fixed numbers: SDM Vol. 1 §8.1.2.
  var registers: InlineArray<8, ExtendedFloat>
  var control: X87Control
  var status: X87Status
  /// Which of R0 to R7 are not empty: the abridged tag word of FXSAVE, SDM Vol. 1 §10.5.1.1.
  var tags: UInt8
  /// The low bits of the last opcode's first byte, and its second byte: SDM Vol. 1 §8.1.9.
  var lastOpcode: UInt16
  /// Where the last instruction that was not a control instruction lay: SDM Vol. 1 §8.1.8.
  var lastInstruction: X87Pointer
  /// Where its memory operand lay.
  var lastData: X87Pointer
}

/// Where host code finds the parts of `x86_cpu.x87`: distances in bytes.
package enum X87Layout {
  /// R0 to R7, 16 bytes each.
  package static let registers = MemoryLayout<X87State>.offset(of: \.registers)!
  package static let control = MemoryLayout<X87State>.offset(of: \.control)!
  package static let status = MemoryLayout<X87State>.offset(of: \.status)!
  /// A byte, in which the bits of full registers are set.
  package static let tags = MemoryLayout<X87State>.offset(of: \.tags)!
}

/// An instruction or data pointer: SDM Vol. 1 §8.1.8 "x87 FPU Instruction and Data (Operand)
/// Pointers".
struct X87Pointer: Equatable, BitwiseCopyable, Sendable {
  var offset: UInt64 = 0
  var selector: UInt16 = 0
}

extension X87State {
  /// After power-up or RESET: SDM Vol. 3A §10.1 "Initialization Overview".
  static var reset: X87State { X87State(control: 0x0040, tags: 0xff) }
  /// After FINIT, and the initial configuration of XRSTOR: SDM Vol. 1 §13.6.
  static var initial: X87State { X87State(control: X87Control.initial.rawValue, tags: 0) }

  private init(control: UInt16, tags: UInt8) {
    self.init(
      registers: InlineArray(repeating: .zero()), control: X87Control(rawValue: control),
      status: X87Status(rawValue: 0), tags: tags, lastOpcode: 0, lastInstruction: X87Pointer(),
      lastData: X87Pointer())
  }
}

/// The x87 FPU status word: SDM Vol. 1 §8.1.3.
struct X87Status: Equatable, BitwiseCopyable, Sendable {
  var rawValue: UInt16

  static var stackFault: UInt16 { 1 << 6 }
  /// Error summary, and the busy flag that mirrors it.
  static var summary: UInt16 { 1 << 15 | 1 << 7 }
  static var c0: UInt16 { 1 << 8 }
  static var c1: UInt16 { 1 << 9 }
  static var c2: UInt16 { 1 << 10 }
  static var c3: UInt16 { 1 << 14 }

  /// The number of the register that is ST(0).
  @inline(__always)
  var top: UInt8 {
    get { UInt8(truncatingIfNeeded: rawValue >> 11) & 7 }
    set { rawValue = rawValue & ~0x3800 | UInt16(newValue & 7) << 11 }
  }

  var exceptions: X87Exceptions {
    X87Exceptions(rawValue: UInt8(truncatingIfNeeded: rawValue) & 0x3f)
  }

  @inline(__always)
  mutating func set(_ bits: UInt16, to isSet: Bool) {
    rawValue = isSet ? rawValue | bits : rawValue & ~bits
  }

  /// Sets C3, C2 and C0, as a number of three bits.
  mutating func setConditions(_ code: UInt8) {
    set(Self.c0, to: code & 1 != 0)
    set(Self.c2, to: code & 2 != 0)
    set(Self.c3, to: code & 4 != 0)
  }
}

// MARK: - The register stack

extension X87State {
  @inline(__always)
  private func number(_ index: UInt8) -> UInt8 { (status.top &+ index) & 7 }

  @inline(__always)
  func isEmpty(_ index: UInt8) -> Bool { tags >> number(index) & 1 == 0 }

  /// ST(`index`). To write is to make it non-empty.
  @inline(__always)
  subscript(index: UInt8) -> ExtendedFloat {
    get { registers[Int(truncatingIfNeeded: number(index))] }
    set {
      let number = number(index)
      registers[Int(truncatingIfNeeded: number)] = newValue
      tags |= 1 << number
    }
  }

  mutating func free(_ index: UInt8) { tags &= ~(1 << number(index)) }

  @inline(__always)
  mutating func pop() {
    free(0)
    status.top &+= 1
  }

  /// Pushes without asking whether ST(7) is empty.
  @inline(__always)
  mutating func push(_ value: ExtendedFloat) {
    status.top &-= 1
    self[0] = value
  }
}

// MARK: - Exceptions

extension X87State {
  /// Whether an exception waits to be reported as #MF by the next waiting instruction: SDM Vol. 1
  /// §8.6 "x87 FPU Exception Synchronization".
  @inline(__always)
  var pendingException: Bool { status.rawValue & 0x80 != 0 }

  /// Makes the error summary follow from flags and masks.
  mutating func summarize() {
    let isPending = !status.exceptions.subtracting(control.masks).isEmpty
    status.set(X87Status.summary, to: isPending)
  }

  /// Enters what an operation met into the status word; false if its result must not be written.
  @inline(__always)
  mutating func settle(
    _ environment: X87Environment, unless fatal: X87Exceptions = .beforeResult
  ) -> Bool {
    status.set(X87Status.c1, to: environment.roundedUp)
    if _fastPath(environment.raised.isEmpty) { return true }
    status.rawValue |= UInt16(environment.raised.rawValue)
    let unmasked = environment.unmasked
    if _fastPath(unmasked.isEmpty) { return true }
    status.rawValue |= X87Status.summary
    return unmasked.isDisjoint(with: fatal)
  }

  /// Reports an operand missing or a register too many; true if the masked response shall follow.
  ///
  /// - SeeAlso: Intel SDM Vol. 1 §8.5.1.1 "Stack Overflow or Underflow Exception (#IS)".
  mutating func stackFault(overflow: Bool) -> Bool {
    status.rawValue |= X87Status.stackFault | UInt16(X87Exceptions.invalid.rawValue)
    status.set(X87Status.c1, to: overflow)
    if control.masks.contains(.invalid) { return true }
    status.rawValue |= X87Status.summary
    return false
  }

  /// Whether there is room to push. If not, the masked response has been given.
  @inline(__always)
  mutating func hasRoom() -> Bool {
    if _fastPath(isEmpty(7)) { return true }
    if stackFault(overflow: true) { push(.indefinite) }
    return false
  }
}
