import ArchitectureX86
import CFloat
import CProcessor

// MXCSR, and whether vector instructions may run: SDM Vol. 1 §10.2.3 "MXCSR Control and Status Register",
// Vol. 3A §14.1 "Providing Operating System Support for SSE Extensions".

/// The bits of MXCSR.
enum MXCSR {
  static let flags: UInt32 = 0x3f
  /// Invalid operation, denormal operand, division by zero.
  static let operandFlags: UInt32 = 0x07
  static let masks: UInt32 = 0x1f80
  /// Denormals-are-zeros, rounding control, flush-to-zero: how results are computed.
  static let modes: UInt32 = 0xe040
  /// What may be set: FXSAVE's MXCSR_MASK.
  static let valid: UInt32 = 0xffff
  /// After reset.
  static let initial: UInt32 = 0x1f80
}

// While threaded code runs, the host's MXCSR has the guest's modes, every exception masked, and the flags
// raised since it was loaded. `x86_cpu.mxcsr` has the rest, and the flags of before.

/// Before threaded code: takes the guest's floating-point modes into the host's processor.
func enterVectorState(_ cpu: CPU) {
  x86_write_mxcsr(MXCSR.masks | cpu.pointee.mxcsr & MXCSR.modes)
}

/// After threaded code: keeps the flags raised, and gives the host its own modes back.
func leaveVectorState(_ cpu: CPU) {
  cpu.pointee.mxcsr |= x86_read_mxcsr() & MXCSR.flags
  x86_write_mxcsr(UInt32(X86_MXCSR_RESET))
}

/// Does what is the host's in the midst of threaded code: devices, and the library where it computes, as a `Dictionary` does
/// to grow. It has the host's modes, and leaves no flags in the guest's MXCSR.
@inline(__always)
func asHost<R>(_ body: () -> R) -> R {
  let modes = x86_read_mxcsr()
  x86_write_mxcsr(UInt32(X86_MXCSR_RESET))
  defer { x86_write_mxcsr(modes) }
  return body()
}

/// After power-up and RESET: SDM Vol. 3A Table 10-1. INIT leaves all of it alone.
func resetVectorState(_ cpu: CPU) {
  cpu.pointee.mxcsr = UInt32(X86_MXCSR_RESET)
  cpu.x87.initialize(to: .reset)
  for index in 0..<2 * UInt8(X86_VECTOR_UPPER) { cpu.setVector(index, Quadwords(0, 0)) }
}

extension UnsafeMutablePointer<x86_cpu> {
  /// The guest's MXCSR while threaded code runs.
  var mxcsr: UInt32 {
    get { pointee.mxcsr | x86_read_mxcsr() & MXCSR.flags }
    nonmutating set {
      pointee.mxcsr = newValue
      enterVectorState(self)
    }
  }

  /// The x87 FPU.
  @inline(__always)
  var x87: UnsafeMutablePointer<X87State> {
    (UnsafeMutableRawPointer(self) + MemoryLayout<x86_cpu>.offset(of: \.x87)!)
      .assumingMemoryBound(to: X87State.self)
  }
}

// MARK: - Availability

/// Steps that precede an instruction decoded while something forbids it, and ask what does: SDM Vol. 3A
/// Tables 2-2, 13-1 and 14-1.
enum VectorAvailability {
  static let requireSSE: Handler = { cpu, op in
    guard cpu.pointee.cr0 & X86.CR0.emulation == 0, cpu.pointee.cr4 & X86.CR4.fxsave != 0 else {
      return raise(cpu, op, X86.Exception.invalidOpcode)
    }
    return requireTask(cpu, op)
  }
  /// VEX instructions on vectors: Vol. 2A §2.4, Table 2-16 and its like; not CR0.EM.
  static let requireAVX: Handler = { cpu, op in
    guard cpu.pointee.cr4 & X86.CR4.xsave != 0, cpu.pointee.xcr0 & 6 == 6, cpu.isProtected,
      !cpu.isVirtual8086
    else { return raise(cpu, op, X86.Exception.invalidOpcode) }
    return requireTask(cpu, op)
  }
  /// All VEX instructions.
  static let requireProtectedMode: Handler = { cpu, op in
    guard cpu.isProtected, !cpu.isVirtual8086 else {
      return raise(cpu, op, X86.Exception.invalidOpcode)
    }
    return next(cpu, op)
  }
  static let requireMMX: Handler = { cpu, op in
    guard cpu.pointee.cr0 & X86.CR0.emulation == 0 else {
      return raise(cpu, op, X86.Exception.invalidOpcode)
    }
    return requireTask(cpu, op)
  }
  /// Also FXSAVE and FXRSTOR.
  static let requireX87: Handler = { cpu, op in
    guard cpu.pointee.cr0 & X86.CR0.emulation == 0 else {
      return raise(cpu, op, X86.Exception.deviceNotAvailable)
    }
    return requireTask(cpu, op)
  }
  /// FWAIT.
  static let requireTaskIfMonitored: Handler = { cpu, op in
    guard cpu.pointee.cr0 & X86.CR0.monitorCoprocessor != 0 else { return next(cpu, op) }
    return requireTask(cpu, op)
  }

  @inline(__always)
  private static func requireTask(_ cpu: CPU, _ op: Op) {
    guard cpu.pointee.cr0 & X86.CR0.taskSwitched == 0 else {
      return raise(cpu, op, X86.Exception.deviceNotAvailable)
    }
    return next(cpu, op)
  }
}

// MARK: - LDMXCSR, STMXCSR

enum VectorControl {
  static let loadMXCSR: Handler = { cpu, op in
    let value = cpu.get(op.pointee.source, UInt32.self)
    guard value & ~MXCSR.valid == 0 else {
      return raise(cpu, op, X86.Exception.generalProtection, code: 0)
    }
    cpu.mxcsr = value
    return next(cpu, op)
  }
  static let readMXCSR: Handler = { cpu, op in
    cpu.set(op.pointee.destination, cpu.mxcsr)
    return next(cpu, op)
  }

  static let save = MemoryHandlers(
    { saveState(Flat.self, $0, $1) }, { saveState(Based.self, $0, $1) },
    { saveState(Segmented.self, $0, $1) })
  static let restore = MemoryHandlers(
    { restoreState(Flat.self, $0, $1) }, { restoreState(Based.self, $0, $1) },
    { restoreState(Segmented.self, $0, $1) })
}

// MARK: - FXSAVE, FXRSTOR: SDM Vol. 1 §10.5 "FXSAVE and FXRSTOR Instructions"

/// Places in the FXSAVE area.
private enum SaveArea {
  static let size = 512
  static let mxcsr = 24
  static let mxcsrMask = 28
  static let vectors = 160
}

/// Writes the whole of an FXSAVE area but its reserved bytes; the form with 64-bit pointers by default.
/// Not while threaded code runs, unless the flags that it raised were taken over.
func storeFXSAVE(_ cpu: CPU, to bytes: UnsafeMutableRawPointer, wide: Bool = true) {
  cpu.x87.pointee.storeFXSAVE(to: bytes, wide: wide)
  bytes.storeBytes(of: cpu.pointee.mxcsr, toByteOffset: SaveArea.mxcsr, as: UInt32.self)
  bytes.storeBytes(of: MXCSR.valid, toByteOffset: SaveArea.mxcsrMask, as: UInt32.self)
  (bytes + SaveArea.vectors).copyMemory(from: cpu.vectorBytes(0), byteCount: 256)
}

/// Takes over an FXSAVE area, whose MXCSR has no reserved bits set.
func loadFXSAVE(_ cpu: CPU, from bytes: UnsafeRawPointer, wide: Bool = true, vectors: Int = 16) {
  cpu.pointee.mxcsr = bytes.load(fromByteOffset: SaveArea.mxcsr, as: UInt32.self)
  cpu.x87.pointee.loadFXSAVE(from: bytes, wide: wide)
  cpu.vectorBytes(0).copyMemory(from: bytes + SaveArea.vectors, byteCount: 16 &* vectors)
}

extension UnsafeMutablePointer<x86_cpu> {
  /// How many vector registers instructions can name, and FXSAVE and XSAVE save.
  var vectorCount: Int { pointee.code_mode == 2 ? 16 : 8 }

  /// Bytes of the area that FXSAVE writes; the rest is software's or reserved.
  fileprivate var savedBytes: Int { SaveArea.vectors &+ 16 &* vectorCount }
}

private typealias SaveAreaBytes = InlineArray<32, SIMD16<UInt8>>

@inline(__always)
private func saveState<A: Addressing>(_: A.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, SaveArea.size, write: true), saveState(cpu, op, address)
  else { return }
  return next(cpu, op)
}

@inline(never)
private func saveState(_ cpu: CPU, _ op: Op, _ address: UInt64) -> Bool {
  guard isSaveAreaAligned(cpu, op, address) else { return false }
  var area = SaveAreaBytes(repeating: .zero)
  return withUnsafeMutableBytes(of: &area) {
    guard let bytes = $0.baseAddress else { return false }
    cpu.pointee.mxcsr = cpu.mxcsr
    storeFXSAVE(cpu, to: bytes, wide: op.pointee.detail != 0)
    return storeBlock(cpu, op, address, from: bytes, cpu.savedBytes)
  }
}

@inline(__always)
private func restoreState<A: Addressing>(_: A.Type, _ cpu: CPU, _ op: Op) {
  guard let address = A.linear(cpu, op, SaveArea.size, write: false),
    restoreState(cpu, op, address)
  else { return }
  return next(cpu, op)
}

@inline(never)
private func restoreState(_ cpu: CPU, _ op: Op, _ address: UInt64) -> Bool {
  guard isSaveAreaAligned(cpu, op, address) else { return false }
  var area = SaveAreaBytes(repeating: .zero)
  return withUnsafeMutableBytes(of: &area) {
    guard let bytes = $0.baseAddress, loadBlock(cpu, op, address, into: bytes, cpu.savedBytes)
    else { return false }
    guard bytes.load(fromByteOffset: SaveArea.mxcsr, as: UInt32.self) & ~MXCSR.valid == 0 else {
      raise(cpu, op, X86.Exception.generalProtection, code: 0)
      return false
    }
    loadFXSAVE(cpu, from: bytes, wide: op.pointee.detail != 0, vectors: cpu.vectorCount)
    enterVectorState(cpu)
    return true
  }
}

private func isSaveAreaAligned(_ cpu: CPU, _ op: Op, _ address: UInt64) -> Bool {
  guard address & 15 == 0 else {
    raise(cpu, op, X86.Exception.generalProtection, code: 0)
    return false
  }
  return true
}

// MARK: - Translation

extension Translator {
  /// 0F AE with a memory operand: /0 FXSAVE, /1 FXRSTOR, /2 LDMXCSR, /3 STMXCSR; the XSAVE family.
  mutating func vectorControl() -> Flow? {
    guard i.isMemory, i.mandatoryPrefix == 0 else { return nil }
    let wide: UInt8 = i.rex & 8 != 0 ? 1 : 0
    switch i.extension3 {
    case 0:
      emitAvailability(VectorAvailability.requireX87)
      emit(VectorControl.save, detail: wide)
    case 1:
      emitAvailability(VectorAvailability.requireX87)
      emit(VectorControl.restore, detail: wide)
    case 2:
      emitAvailability(VectorAvailability.requireSSE)
      emit(VectorControl.loadMXCSR, s: rmSource(2))
    case 3:
      emitAvailability(VectorAvailability.requireSSE)
      emit(VectorControl.readMXCSR, d: Slot.temporary)
      emit(Stores.plain[2], s: Slot.temporary)
    default: return extendedState()
    }
    return .sequential
  }
}
