import ArchitectureX86
import CProcessor

// The guest's loads and stores. The fast path is one comparison: the entry that the address selects must
// hold the page of the access' last byte, which an access across pages never meets.

let pageMask: UInt64 = 0xfff

@inline(__always)
func tlbEntry(_ cpu: CPU, _ linear: UInt64) -> UnsafeMutablePointer<x86_tlb_entry> {
  cpu.pointee.tlb
    + Int(truncatingIfNeeded: (linear &>> 12) & UInt64(X86_TLB_ENTRIES &- 1))
}

@inline(__always)
func hostPointer(_ linear: UInt64, _ addend: UInt64) -> UnsafeMutableRawPointer {
  UnsafeMutableRawPointer(bitPattern: UInt(truncatingIfNeeded: linear &+ addend))
    .unsafelyUnwrapped
}

/// Reads guest memory; `nil` once an exception was raised for `op`.
@inline(__always)
func load<T: Width>(_ cpu: CPU, _ op: Op, _ linear: UInt64, _ type: T.Type = T.self) -> T? {
  let entry = tlbEntry(cpu, linear)
  if _fastPath(
    entry.pointee.read_tag == (linear &+ UInt64(MemoryLayout<T>.size &- 1)) & ~pageMask)
  {
    return hostPointer(linear, entry.pointee.addend).loadUnaligned(as: T.self)
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
    hostPointer(linear, entry.pointee.addend).storeBytes(of: value, as: T.self)
    return true
  }
  return storeSlow(cpu, op, linear, UInt64(truncatingIfNeeded: value), MemoryLayout<T>.size)
}

@inline(never)
func loadSlow(_ cpu: CPU, _ op: Op, _ linear: UInt64, _ size: Int) -> Bool {
  cpu.pointee.rip = cpu.rip(of: op)
  return cpu.core { core in core.load(linear, size) }
}

@inline(never)
func storeSlow(_ cpu: CPU, _ op: Op, _ linear: UInt64, _ value: UInt64, _ size: Int) -> Bool {
  cpu.pointee.rip = cpu.rip(of: op)
  return cpu.core { core in core.store(linear, value, size) }
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
  /// The linear address of `size` bytes; `nil` once an exception was raised.
  static func linear(_ cpu: CPU, _ op: Op, _ size: Int) -> UInt64?
}

extension UnsafeMutablePointer<x86_cpu> {
  /// Base, index and displacement.
  @inline(__always)
  func offset(_ op: Op) -> UInt64 {
    get(op.pointee.base, UInt64.self)
      &+ (get(op.pointee.index, UInt64.self) &<< UInt64(op.pointee.scale))
      &+ UInt64(bitPattern: Int64(op.pointee.displacement))
  }
}

/// 64-bit mode, a segment whose base is zero.
enum Flat: Addressing {
  @inline(__always)
  static func linear(_ cpu: CPU, _ op: Op, _ size: Int) -> UInt64? { cpu.offset(op) }
}

/// 64-bit mode, FS or GS.
enum Based: Addressing {
  @inline(__always)
  static func linear(_ cpu: CPU, _ op: Op, _ size: Int) -> UInt64? {
    cpu.offset(op) &+ cpu.get(op.pointee.segment, UInt64.self)
  }
}

/// Any mode and address size.
enum Segmented: Addressing {
  @inline(__always)
  static func linear(_ cpu: CPU, _ op: Op, _ size: Int) -> UInt64? {
    segmentedAddress(cpu, op, size, cpu.offset(op))
  }
}

/// Cuts an offset to the op's address size, checks it against the segment and adds the base.
@inline(never)
func segmentedAddress(_ cpu: CPU, _ op: Op, _ size: Int, _ offset: UInt64) -> UInt64? {
  let offset = offset & addressMask(op.pointee.flags)
  if cpu.pointee.code_mode == 2 { return offset &+ cpu.get(op.pointee.segment, UInt64.self) }
  let segment = Int(op.pointee.segment &- Slot.segmentBase) / 8
  guard cpu.isWithin(segment: segment, offset, size) else {
    raise(
      cpu, op,
      segment == X86.SegmentRegister.ss.rawValue
        ? X86.Exception.stackFault : X86.Exception.generalProtection, code: 0)
    return nil
  }
  return (offset &+ cpu.segmentBase(segment)) & 0xffff_ffff
}

/// The mask of an address size: 0 is 16 bits, 1 is 32, 2 is 64.
@inline(__always)
func addressMask(_ size: UInt8) -> UInt64 { ~0 &>> (64 &- (16 &<< UInt64(size))) }

extension UnsafeMutablePointer<x86_cpu> {
  /// Outside 64-bit mode: whether `size` bytes at `offset` lie inside the segment (SDM Vol. 3A §5.3).
  func isWithin(segment: Int, _ offset: UInt64, _ size: Int) -> Bool {
    let limit = withUnsafePointer(to: &pointee.segment_limit) {
      UnsafeRawPointer($0).load(fromByteOffset: segment * 8, as: UInt64.self)
    }
    let attributes = withUnsafePointer(to: &pointee.segment_attributes) {
      UnsafeRawPointer($0).load(fromByteOffset: segment * 4, as: UInt32.self)
    }
    let last = offset &+ UInt64(size &- 1)
    if attributes & 0x1_0000 != 0 { return false }
    // Expand-down data: valid above the limit (type: data, bit 2).
    if attributes & 0x1c == 0x14, attributes & 0x8 == 0 {
      let top: UInt64 = attributes & 0x4000 != 0 ? 0xffff_ffff : 0xffff
      return offset > limit && last <= top
    }
    return last <= limit
  }
}
