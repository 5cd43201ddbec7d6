import ArchitectureX86
import CProcessor

// The guest's loads and stores. The fast path is one comparison: the entry that the address selects must
// hold the page of the access' last byte, which an access across pages never meets.

let pageMask: UInt64 = 0xfff

@inline(__always)
func tlbEntry(_ cpu: CPU, _ linear: UInt64) -> UnsafeMutablePointer<x86_tlb_entry> {
  cpu.pointee.tlb + tlbNumber(linear)
}

/// The number of the entry that serves the page of an address.
@inline(__always)
func tlbNumber(_ linear: UInt64) -> Int {
  Int(truncatingIfNeeded: linear &>> 12 & UInt64(X86_TLB_ENTRIES &- 1))
}

@inline(__always)
func hostPointer(_ linear: UInt64, _ page: UInt64) -> UnsafeMutableRawPointer {
  UnsafeMutableRawPointer(bitPattern: UInt(truncatingIfNeeded: page | linear & pageMask))
    .unsafelyUnwrapped
}

/// Reads guest memory; `nil` once an exception was raised for `op`.
@inline(__always)
func load<T: Width>(_ cpu: CPU, _ op: Op, _ linear: UInt64, _ type: T.Type = T.self) -> T? {
  let entry = tlbEntry(cpu, linear)
  if _fastPath(
    entry.pointee.read_tag == (linear &+ UInt64(MemoryLayout<T>.size &- 1)) & ~pageMask)
  {
    return hostPointer(linear, entry.pointee.host).loadUnaligned(as: T.self)
  }
  guard loadSlow(cpu, op, linear, MemoryLayout<T>.size) else { return nil }
  return T(truncatingIfNeeded: cpu.pointee.slow_value.0)
}

/// Writes guest memory; `false` once an exception was raised for `op`.
@inline(__always)
func store<T: Width>(_ cpu: CPU, _ op: Op, _ linear: UInt64, _ value: T) -> Bool {
  let entry = tlbEntry(cpu, linear)
  if _fastPath(
    entry.pointee.write_tag == (linear &+ UInt64(MemoryLayout<T>.size &- 1)) & ~pageMask)
  {
    hostPointer(linear, entry.pointee.host).storeBytes(of: value, as: T.self)
    return true
  }
  return storeSlow(cpu, op, linear, UInt64(truncatingIfNeeded: value), MemoryLayout<T>.size)
}

@inline(never)
func loadSlow(_ cpu: CPU, _ op: Op, _ linear: UInt64, _ size: Int) -> Bool {
  cpu.pointee.rip = cpu.rip(of: op)
  return cpu.core { core in core.permitsAlignment(linear, size) && core.load(linear, size) }
    || raiseOnStack(cpu, op)
}

@inline(never)
func storeSlow(_ cpu: CPU, _ op: Op, _ linear: UInt64, _ value: UInt64, _ size: Int) -> Bool {
  cpu.pointee.rip = cpu.rip(of: op)
  return cpu.core { core in core.permitsAlignment(linear, size) && core.store(linear, value, size) }
    || raiseOnStack(cpu, op)
}

/// An address that is not canonical is #SS instead of #GP where the segment is SS: SDM Vol. 3A §6.15, "Interrupt
/// 12 - Stack Fault Exception (#SS)". Answers `false`.
func raiseOnStack(_ cpu: CPU, _ op: Op) -> Bool {
  if op.pointee.flags & operandIsOnStack != 0,
    cpu.pointee.exception_vector == UInt32(X86.Exception.generalProtection)
  {
    cpu.pointee.exception_vector = UInt32(X86.Exception.stackFault)
  }
  return false
}

extension UnsafeMutablePointer<x86_cpu> {
  /// The object behind the processor, without reference counting.
  @inline(__always)
  func core<R>(_ body: (Core) -> R) -> R {
    Unmanaged<Core>.fromOpaque(pointee.owner)._withUnsafeGuaranteedRef(body)
  }
}

// MARK: - Addresses of memory operands

/// How a memory operand's address is made of base, index, displacement and segment.
protocol Addressing {
  /// The linear address of `size` bytes to be read, or written; `nil` once an exception was raised.
  static func linear(_ cpu: CPU, _ op: Op, _ size: Int, write: Bool) -> UInt64?
}

extension UnsafeMutablePointer<x86_cpu> {
  /// Base, index and displacement.
  @inline(__always)
  func offset(_ op: Op) -> UInt64 {
    get(op.pointee.base, UInt64.self)
      &+ (get(op.pointee.index, UInt64.self) &<< UInt64(op.pointee.scale))
      &+ UInt64(bitPattern: Int64(op.pointee.displacement))
  }

  /// Where what may be read or written of a segment ends, by the slot of its base: see Segments+Bounds.swift.
  @inline(__always)
  func segmentEnd(_ slot: UInt8, write: Bool) -> UInt64 {
    let distance = write ? Int(X86_SEGMENT_WRITE_END) : Int(X86_SEGMENT_READ_END)
    return UnsafeRawPointer(self).load(fromByteOffset: Int(slot) &+ distance, as: UInt64.self)
  }
}

/// 64-bit mode, a segment whose base is zero.
enum Flat: Addressing {
  @inline(__always)
  static func linear(_ cpu: CPU, _ op: Op, _ size: Int, write: Bool) -> UInt64? { cpu.offset(op) }
}

/// 64-bit mode, FS or GS.
enum Based: Addressing {
  @inline(__always)
  static func linear(_ cpu: CPU, _ op: Op, _ size: Int, write: Bool) -> UInt64? {
    cpu.offset(op) &+ cpu.get(op.pointee.segment, UInt64.self)
  }
}

/// Any mode and address size.
enum Segmented: Addressing {
  @inline(__always)
  static func linear(_ cpu: CPU, _ op: Op, _ size: Int, write: Bool) -> UInt64? {
    segmentedAddress(cpu, op, size, cpu.offset(op), write: write)
  }
}

/// What `op.flags` says of a memory operand: its address size, 0 to 2 for 16 to 64 bits, and this bit if its segment
/// is SS, whose faults are #SS.
let operandIsOnStack: UInt8 = 4

/// Cuts an offset to the op's address size, checks it against the segment and adds the base.
@inline(__always)
func segmentedAddress(
  _ cpu: CPU, _ op: Op, _ size: Int, _ offset: UInt64, write: Bool
) -> UInt64? {
  let offset = offset & addressMask(op.pointee.flags)
  if _fastPath(
    offset &+ UInt64(truncatingIfNeeded: size)
      <= cpu.segmentEnd(op.pointee.segment, write: write))
  {
    return (offset &+ cpu.get(op.pointee.segment, UInt64.self)) & cpu.pointee.address_mask
  }
  return checkedAddress(cpu, op, size, offset, write: write)
}

/// The same for what the segment's end does not permit at once.
@inline(never)
private func checkedAddress(
  _ cpu: CPU, _ op: Op, _ size: Int, _ offset: UInt64, write: Bool
) -> UInt64? {
  let segment = Int(op.pointee.segment &- Slot.segmentBase) / 8
  guard cpu.bounds(segment).permit(offset, size, write: write) else {
    raise(
      cpu, op,
      segment == X86.SegmentRegister.ss.rawValue
        ? X86.Exception.stackFault : X86.Exception.generalProtection, code: 0)
    return nil
  }
  return (offset &+ cpu.segmentBase(segment)) & 0xffff_ffff
}

/// The mask of an address size: 0 is 16 bits, 1 is 32, 2 is 64. Bits above those are ignored.
@inline(__always)
func addressMask(_ size: UInt8) -> UInt64 { ~0 &>> (64 &- (16 &<< UInt64(size & 3))) }
