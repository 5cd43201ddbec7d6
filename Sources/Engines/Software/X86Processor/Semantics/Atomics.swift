import ArchitectureX86
import CProcessor
import Synchronization

// Each handler leaves the work to a function that is not inlined into it: variables whose address is taken would
// keep the handler from ending in a jump.

// Instructions with LOCK, and those that compare or exchange with memory: real atomic operations on the
// host's memory. Across a page end or on a device they are atomic only among each other.

/// Held during what may be an operation that the host cannot do in one instruction.
private let splitOperation = Mutex(())

/// Where in the host the operand of an atomic operation lies.
@inline(__always)
func atomicPointer(_ cpu: CPU, _ op: Op, _ address: UInt64, _ size: Int) -> UnsafeMutableRawPointer?
{
  let entry = tlbEntry(cpu, address)
  if _fastPath(entry.pointee.write_tag == (address &+ UInt64(size &- 1)) & ~pageMask) {
    return hostPointer(address, entry.pointee.host)
  }
  return nil
}

/// Replaces memory by what `change` makes of it, atomically; `nil` once an exception was raised.
///
/// - Returns: the value before.
@inline(__always)
func atomicUpdate<T: Width>(
  _ cpu: CPU, _ op: Op, _ address: UInt64, _ change: (T) -> T
) -> T? {
  let size = MemoryLayout<T>.size
  if let host = atomicPointer(cpu, op, address, size) {
    var old = host.loadUnaligned(as: T.self)
    while !T.compareExchange(host, &old, change(old)) {}
    return old
  }
  return atomicUpdateSlow(cpu, op, address, change)
}

@inline(never)
func atomicUpdateSlow<T: Width>(
  _ cpu: CPU, _ op: Op, _ address: UInt64, _ change: (T) -> T
) -> T? {
  splitOperation.withLock { _ in atomicUpdateLocked(cpu, op, address, change) }
}

private func atomicUpdateLocked<T: Width>(
  _ cpu: CPU, _ op: Op, _ address: UInt64, _ change: (T) -> T
) -> T? {
  let size = MemoryLayout<T>.size
  guard prepareModify(cpu, op, address, size) else { return nil }
  // The walk may have opened the fast path.
  if let host = atomicPointer(cpu, op, address, size) {
    var old = host.loadUnaligned(as: T.self)
    while !T.compareExchange(host, &old, change(old)) {}
    return old
  }
  if let (host, page) = cpu.core({ $0.hostForWriting(address, size) }) {
    var old = host.loadUnaligned(as: T.self)
    while !T.compareExchange(host, &old, change(old)) {}
    cpu.core { $0.noteWrite(page: page, from: Int(address & pageMask), count: size) }
    return old
  }
  let old = T(truncatingIfNeeded: cpu.pointee.slow_value.0)
  guard storeSlow(cpu, op, address, UInt64(truncatingIfNeeded: change(old)), size) else {
    return nil
  }
  return old
}

@inline(__always)
func lockedBinary<A: Addressing, O: BinaryOperation, T: Width>(
  _: A.Type, _: O.Type, _: T.Type, _ cpu: CPU, _ op: Op
) {
  guard lockedBinaryWork(A.self, O.self, T.self, cpu, op) else { return }
  return next(cpu, op)
}

@inline(never)
private func lockedBinaryWork<A: Addressing, O: BinaryOperation, T: Width>(
  _: A.Type, _: O.Type, _: T.Type, _ cpu: CPU, _ op: Op
) -> Bool {
  guard let address = A.linear(cpu, op, MemoryLayout<T>.size, write: true) else { return false }
  let b = cpu.get(op.pointee.source, T.self)
  // ADC and SBB read the carry at every attempt.
  let flags = (cpu.pointee.flag_result, cpu.pointee.flag_carry, cpu.pointee.flag_delta)
  let old = atomicUpdate(cpu, op, address) { (old: T) in
    (cpu.pointee.flag_result, cpu.pointee.flag_carry, cpu.pointee.flag_delta) = flags
    return O.apply(cpu, old, b)
  }
  guard old != nil else {
    (cpu.pointee.flag_result, cpu.pointee.flag_carry, cpu.pointee.flag_delta) = flags
    return false
  }
  return true
}

@inline(__always)
func lockedUnary<A: Addressing, O: UnaryOperation, T: Width>(
  _: A.Type, _: O.Type, _: T.Type, _ cpu: CPU, _ op: Op
) {
  guard lockedUnaryWork(A.self, O.self, T.self, cpu, op) else { return }
  return next(cpu, op)
}

@inline(never)
private func lockedUnaryWork<A: Addressing, O: UnaryOperation, T: Width>(
  _: A.Type, _: O.Type, _: T.Type, _ cpu: CPU, _ op: Op
) -> Bool {
  guard let address = A.linear(cpu, op, MemoryLayout<T>.size, write: true) else { return false }
  let flags = (cpu.pointee.flag_result, cpu.pointee.flag_carry, cpu.pointee.flag_delta)
  return atomicUpdate(cpu, op, address) { (old: T) in
    (cpu.pointee.flag_result, cpu.pointee.flag_carry, cpu.pointee.flag_delta) = flags
    return O.apply(cpu, old)
  } != nil
}

// MARK: - XCHG, XADD, CMPXCHG

@inline(__always)
func exchangeMemory<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  guard exchangeMemoryWork(T.self, cpu, op) else { return }
  return next(cpu, op)
}

@inline(never)
private func exchangeMemoryWork<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) -> Bool {
  let size = MemoryLayout<T>.size
  guard let address = Segmented.linear(cpu, op, size, write: true) else { return false }
  let value = cpu.get(op.pointee.source, T.self)
  if let host = atomicPointer(cpu, op, address, size) {
    cpu.set(op.pointee.source, T.exchange(host, value))
    return true
  }
  guard let old = atomicUpdateSlow(cpu, op, address, { (_: T) in value }) else { return false }
  cpu.set(op.pointee.source, old)
  return true
}

@inline(__always)
func exchangeAddMemory<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  guard exchangeAddMemoryWork(T.self, cpu, op) else { return }
  return next(cpu, op)
}

@inline(never)
private func exchangeAddMemoryWork<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) -> Bool {
  guard let address = Segmented.linear(cpu, op, MemoryLayout<T>.size, write: true) else {
    return false
  }
  let value = cpu.get(op.pointee.source, T.self)
  guard let old = atomicUpdate(cpu, op, address, { (old: T) in old &+ value }) else { return false }
  _ = Add.apply(cpu, old, value)
  cpu.set(op.pointee.source, old)
  return true
}

@inline(__always)
func compareExchangeMemory<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  guard compareExchangeMemoryWork(T.self, cpu, op) else { return }
  return next(cpu, op)
}

@inline(never)
private func compareExchangeMemoryWork<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) -> Bool {
  guard let address = Segmented.linear(cpu, op, MemoryLayout<T>.size, write: true) else {
    return false
  }
  let expected = cpu.get(Slot.rax, T.self)
  let desired = cpu.get(op.pointee.source, T.self)
  // The destination is written in either case: SDM Vol. 2A, CMPXCHG.
  guard
    let old = atomicUpdate(cpu, op, address, { (old: T) in old == expected ? desired : old })
  else { return false }
  _ = Subtract.apply(cpu, expected, old)
  if old != expected { cpu.set(Slot.rax, old) }
  return true
}

@inline(__always)
func exchangeAddSlots<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let a = cpu.get(op.pointee.destination, T.self)
  let sum = Add.apply(cpu, a, cpu.get(op.pointee.source, T.self))
  cpu.set(op.pointee.source, a)
  cpu.set(op.pointee.destination, sum)
  return next(cpu, op)
}

@inline(__always)
func compareExchangeSlots<T: Width>(_: T.Type, _ cpu: CPU, _ op: Op) {
  let accumulator = cpu.get(Slot.rax, T.self)
  let old = cpu.get(op.pointee.destination, T.self)
  _ = Subtract.apply(cpu, accumulator, old)
  if old == accumulator {
    cpu.set(op.pointee.destination, cpu.get(op.pointee.source, T.self))
  } else {
    // A 32-bit destination keeps its upper half: nothing is written to it.
    cpu.set(Slot.rax, old)
  }
  return next(cpu, op)
}

enum Exchanges {
  static let memory: [Handler] = [
    { exchangeMemory(UInt8.self, $0, $1) }, { exchangeMemory(UInt16.self, $0, $1) },
    { exchangeMemory(UInt32.self, $0, $1) }, { exchangeMemory(UInt64.self, $0, $1) },
  ]
  static let addMemory: [Handler] = [
    { exchangeAddMemory(UInt8.self, $0, $1) }, { exchangeAddMemory(UInt16.self, $0, $1) },
    { exchangeAddMemory(UInt32.self, $0, $1) }, { exchangeAddMemory(UInt64.self, $0, $1) },
  ]
  static let compareMemory: [Handler] = [
    { compareExchangeMemory(UInt8.self, $0, $1) }, { compareExchangeMemory(UInt16.self, $0, $1) },
    { compareExchangeMemory(UInt32.self, $0, $1) }, { compareExchangeMemory(UInt64.self, $0, $1) },
  ]
  static let addSlots: [Handler] = [
    { exchangeAddSlots(UInt8.self, $0, $1) }, { exchangeAddSlots(UInt16.self, $0, $1) },
    { exchangeAddSlots(UInt32.self, $0, $1) }, { exchangeAddSlots(UInt64.self, $0, $1) },
  ]
  static let compareSlots: [Handler] = [
    { compareExchangeSlots(UInt8.self, $0, $1) }, { compareExchangeSlots(UInt16.self, $0, $1) },
    { compareExchangeSlots(UInt32.self, $0, $1) }, { compareExchangeSlots(UInt64.self, $0, $1) },
  ]

  /// CMPXCHG8B.
  static let compare8Bytes: Handler = { cpu, op in
    guard compare8BytesWork(cpu, op) else { return }
    return next(cpu, op)
  }

  @inline(never)
  private static func compare8BytesWork(_ cpu: CPU, _ op: Op) -> Bool {
    guard let address = Segmented.linear(cpu, op, 8, write: true) else { return false }
    let expected = cpu.get(Slot.rax, UInt32.self)
    let expectedHigh = cpu.get(Slot.rdx, UInt32.self)
    let both = UInt64(expectedHigh) &<< 32 | UInt64(expected)
    let desired =
      UInt64(cpu.get(Slot.rcx, UInt32.self)) &<< 32 | UInt64(cpu.get(Slot.rbx, UInt32.self))
    guard
      let old = atomicUpdate(cpu, op, address, { (old: UInt64) in old == both ? desired : old })
    else { return false }
    cpu.setZeroAlone(old == both)
    if old != both {
      cpu.set(Slot.rax, UInt32(truncatingIfNeeded: old))
      cpu.set(Slot.rdx, UInt32(truncatingIfNeeded: old &>> 32))
    }
    return true
  }

  /// CMPXCHG16B: the operand must be aligned.
  static let compare16Bytes: Handler = { cpu, op in
    guard compare16BytesWork(cpu, op) else { return }
    return next(cpu, op)
  }

  @inline(never)
  private static func compare16BytesWork(_ cpu: CPU, _ op: Op) -> Bool {
    guard let address = Segmented.linear(cpu, op, 16, write: true) else { return false }
    guard address & 15 == 0 else {
      raise(cpu, op, X86.Exception.generalProtection, code: 0)
      return false
    }
    var host = atomicPointer(cpu, op, address, 16)
    var page: Int?
    if host == nil {
      guard prepareModify(cpu, op, address, 8) else { return false }
      if let found = cpu.core({ $0.hostForWriting(address, 16) }) {
        host = found.0
        page = found.1
      }
    }
    guard let host else { return splitOperation.withLock { _ in compare16BytesSlow(cpu, address) } }
    var expected = (cpu.rax, cpu.rdx)
    var desired = (cpu.rbx, cpu.rcx)
    let equal = withUnsafeMutablePointer(to: &expected) { expected in
      withUnsafeMutablePointer(to: &desired) { desired in
        x86_cas_128(
          host, UnsafeMutableRawPointer(expected).assumingMemoryBound(to: UInt64.self),
          UnsafeRawPointer(desired).assumingMemoryBound(to: UInt64.self))
      }
    }
    if let page {
      cpu.core { $0.noteWrite(page: page, from: Int(address & pageMask), count: 16) }
    }
    cpu.setZeroAlone(equal)
    if !equal {
      cpu.rax = expected.0
      cpu.rdx = expected.1
    }
    return true
  }

  /// Where the host has no 16 bytes to compare: in a device, in ROM, and where processors may not write.
  private static func compare16BytesSlow(_ cpu: CPU, _ address: UInt64) -> Bool {
    cpu.core { core in
      guard core.load(address, 8) else { return false }
      let low = cpu.pointee.slow_value.0
      guard core.load(address &+ 8, 8) else { return false }
      let high = cpu.pointee.slow_value.0
      let equal = low == cpu.rax && high == cpu.rdx
      // The destination is written in either case.
      guard core.store(address, equal ? cpu.rbx : low, 8),
        core.store(address &+ 8, equal ? cpu.rcx : high, 8)
      else { return false }
      cpu.setZeroAlone(equal)
      if !equal {
        cpu.rax = low
        cpu.rdx = high
      }
      return true
    }
  }
}

extension UnsafeMutablePointer<x86_cpu> {
  /// ZF; the others stay.
  func setZeroAlone(_ zero: Bool) {
    statusFlags = statusFlags & ~X86.Flags.zero | (zero ? X86.Flags.zero : 0)
  }
}
