import CProcessor

/// A processor at work. Handlers get it as their first argument.
typealias CPU = UnsafeMutablePointer<x86_cpu>
/// One step of threaded code.
typealias Op = UnsafePointer<x86_op>
typealias Handler = @convention(c) (CPU, Op) -> Void

/// An operand's width, as the integer type that holds it.
protocol Width: FixedWidthInteger, UnsignedInteger, BitwiseCopyable, Sendable {
  associatedtype Signed: FixedWidthInteger & SignedInteger & BitwiseCopyable
  associatedtype Double: FixedWidthInteger & UnsignedInteger
  init(bitPattern: Signed)
  var signed: Signed { get }
  /// 0 to 3: byte to quadword.
  static var log2: Int { get }
  static func exchange(_ pointer: UnsafeMutableRawPointer, _ value: Self) -> Self
  static func compareExchange(
    _ pointer: UnsafeMutableRawPointer, _ expected: inout Self, _ desired: Self
  ) -> Bool
}

extension UInt8: Width {
  typealias Signed = Int8
  typealias Double = UInt16
  @inline(__always) var signed: Int8 { Int8(bitPattern: self) }
  @inline(__always) static var log2: Int { 0 }
  @inline(__always) static func exchange(_ p: UnsafeMutableRawPointer, _ v: Self) -> Self {
    x86_exchange_8(p, v)
  }
  @inline(__always) static func compareExchange(
    _ p: UnsafeMutableRawPointer, _ expected: inout Self, _ desired: Self
  ) -> Bool { x86_cas_8(p, &expected, desired) }
}

extension UInt16: Width {
  typealias Signed = Int16
  typealias Double = UInt32
  @inline(__always) var signed: Int16 { Int16(bitPattern: self) }
  @inline(__always) static var log2: Int { 1 }
  @inline(__always) static func exchange(_ p: UnsafeMutableRawPointer, _ v: Self) -> Self {
    x86_exchange_16(p, v)
  }
  @inline(__always) static func compareExchange(
    _ p: UnsafeMutableRawPointer, _ expected: inout Self, _ desired: Self
  ) -> Bool { x86_cas_16(p, &expected, desired) }
}

extension UInt32: Width {
  typealias Signed = Int32
  typealias Double = UInt64
  @inline(__always) var signed: Int32 { Int32(bitPattern: self) }
  @inline(__always) static var log2: Int { 2 }
  @inline(__always) static func exchange(_ p: UnsafeMutableRawPointer, _ v: Self) -> Self {
    x86_exchange_32(p, v)
  }
  @inline(__always) static func compareExchange(
    _ p: UnsafeMutableRawPointer, _ expected: inout Self, _ desired: Self
  ) -> Bool { x86_cas_32(p, &expected, desired) }
}

extension UInt64: Width {
  typealias Signed = Int64
  typealias Double = UInt128
  @inline(__always) var signed: Int64 { Int64(bitPattern: self) }
  @inline(__always) static var log2: Int { 3 }
  @inline(__always) static func exchange(_ p: UnsafeMutableRawPointer, _ v: Self) -> Self {
    x86_exchange_64(p, v)
  }
  @inline(__always) static func compareExchange(
    _ p: UnsafeMutableRawPointer, _ expected: inout Self, _ desired: Self
  ) -> Bool { x86_cas_64(p, &expected, desired) }
}

extension Width {
  /// The value as 64 bits, its sign repeated.
  @inline(__always) var extended: UInt64 { UInt64(bitPattern: Int64(signed)) }
}

/// Byte offsets in `x86_cpu` by which ops name their operands.
enum Slot {
  static let rax: UInt8 = 0
  static let rcx: UInt8 = 8
  static let rdx: UInt8 = 16
  static let rbx: UInt8 = 24
  static let rsp: UInt8 = 32
  static let rbp: UInt8 = 40
  static let rsi: UInt8 = 48
  static let rdi: UInt8 = 56
  static let r11: UInt8 = 88
  static let temporary: UInt8 = 128
  static let temporary1: UInt8 = 136
  static let temporary2: UInt8 = 144
  static let zero: UInt8 = 160
  static let pageBase: UInt8 = 168
  static let segmentBase: UInt8 = 176

  static func register(_ number: UInt8) -> UInt8 { number &* 8 }
}

extension UnsafeMutablePointer<x86_cpu> {
  /// The register (or part of one) at an offset.
  @inline(__always)
  func get<T: Width>(_ slot: UInt8, _ type: T.Type = T.self) -> T {
    UnsafeRawPointer(self).load(fromByteOffset: Int(slot), as: T.self)
  }

  /// Writes a register as instructions do: 32-bit results clear the upper half, smaller ones leave the rest.
  @inline(__always)
  func set<T: Width>(_ slot: UInt8, _ value: T) {
    if T.self == UInt32.self {
      UnsafeMutableRawPointer(self).storeBytes(
        of: UInt64(truncatingIfNeeded: value), toByteOffset: Int(slot), as: UInt64.self)
    } else {
      UnsafeMutableRawPointer(self).storeBytes(of: value, toByteOffset: Int(slot), as: T.self)
    }
  }

  @inline(__always) var rax: UInt64 {
    get { get(Slot.rax) }
    nonmutating set { set(Slot.rax, newValue) }
  }
  @inline(__always) var rcx: UInt64 {
    get { get(Slot.rcx) }
    nonmutating set { set(Slot.rcx, newValue) }
  }
  @inline(__always) var rdx: UInt64 {
    get { get(Slot.rdx) }
    nonmutating set { set(Slot.rdx, newValue) }
  }
  @inline(__always) var rbx: UInt64 {
    get { get(Slot.rbx) }
    nonmutating set { set(Slot.rbx, newValue) }
  }
  @inline(__always) var rsp: UInt64 {
    get { get(Slot.rsp) }
    nonmutating set { set(Slot.rsp, newValue) }
  }
  @inline(__always) var rsi: UInt64 {
    get { get(Slot.rsi) }
    nonmutating set { set(Slot.rsi, newValue) }
  }
  @inline(__always) var rdi: UInt64 {
    get { get(Slot.rdi) }
    nonmutating set { set(Slot.rdi, newValue) }
  }

  /// The base of a segment register, by its encoding.
  @inline(__always)
  func segmentBase(_ segment: Int) -> UInt64 { get(Slot.segmentBase &+ UInt8(segment &* 8)) }

  /// The address of the first byte of an instruction, of which `op` is a step.
  @inline(__always)
  func rip(of op: Op) -> UInt64 { pointee.page_base &+ UInt64(op.pointee.offset) }

  /// The address after the instruction.
  @inline(__always)
  func nextRIP(of op: Op) -> UInt64 { pointee.page_base &+ UInt64(op.pointee.next) }
}

/// Why threaded code returned to the loop around it.
enum LeaveReason {
  /// To look up the code at `rip`, or at events.
  static let lookUp: UInt32 = 0
  /// An exception: `exception_vector` and its error code; `rip` is the instruction's.
  static let exception: UInt32 = 1
  static let halt: UInt32 = 2
  /// The machine's state changed so that ops decoded before may mean something else.
  static let stateChange: UInt32 = 3
  /// An instruction entered a handler: INT n and its kin, SYSCALL, SYSENTER.
  static let entry: UInt32 = 4
  /// A repeated string instruction has more to do; `rip` points to it.
  static let unfinished: UInt32 = 5
}

/// Runs the next step. In tail position: becomes a jump.
@inline(__always)
func next(_ cpu: CPU, _ op: Op) {
  let following = op + 1
  return following.pointee.run(cpu, following)
}

/// Stops at an instruction that may not run.
@inline(never)
func raise(_ cpu: CPU, _ op: Op, _ vector: UInt8, code: UInt64? = nil) {
  cpu.pointee.rip = cpu.rip(of: op)
  raiseAtRIP(cpu, vector, code: code)
}

/// As `raise`, with `rip` already at the instruction.
func raiseAtRIP(_ cpu: CPU, _ vector: UInt8, code: UInt64? = nil) {
  cpu.pointee.exit = LeaveReason.exception
  cpu.pointee.exception_vector = UInt32(vector)
  cpu.pointee.exception_has_code = code == nil ? 0 : 1
  cpu.pointee.exception_code = code ?? 0
}
