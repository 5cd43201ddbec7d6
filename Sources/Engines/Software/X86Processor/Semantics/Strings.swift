import ArchitectureX86
import CProcessor

// MOVS, STOS, LODS, SCAS, CMPS, INS, OUTS, repeated or not: SDM Vol. 2B, REP. Where both ends lie in memory
// that can be reached directly, a repeated MOVS or STOS works on whole pages; any element that cannot be
// served so goes one by one, which is also what makes faults precise: the registers stand at the element
// that faulted.

/// What a string instruction works with; `op.segment` names the source's segment base, `op.flags` the
/// address size, `op.detail` the repeat prefix.
enum StringInstruction {
  case move, store, load, scan, compare, input, output
}

@inline(__always)
func stringHandler<T: Width>(
  _ kind: StringInstruction, _: T.Type, _ cpu: CPU, _ op: Op
) {
  guard runString(kind, T.self, cpu, op) else { return }
  return next(cpu, op)
}

/// Runs until done, a fault, or something asks for attention. `true`: done.
@inline(never)
private func runString<T: Width>(
  _ kind: StringInstruction, _: T.Type, _ cpu: CPU, _ op: Op
) -> Bool {
  let walk = StringWalk(cpu, op, size: UInt64(MemoryLayout<T>.size))
  if kind == .input || kind == .output, !cpu.core({ $0.mayUsePort(cpu.port, MemoryLayout<T>.size) })
  {
    if cpu.pointee.exit != LeaveReason.exception {
      raise(cpu, op, X86.Exception.generalProtection, code: 0)
    } else {
      cpu.pointee.rip = cpu.rip(of: op)
    }
    return false
  }
  guard op.pointee.detail != 0 else { return walk.element(kind, T.self) }
  // A single-step trap comes behind every element.
  let isTraced = cpu.pointee.system_flags & X86.Flags.trap != 0
  while walk.count != 0 {
    if kind == .move || kind == .store, walk.isForward, !isTraced,
      let moved = walk.bulk(kind, T.self), moved > 0
    {
      // A page at a time: look up in between.
    } else {
      guard walk.element(kind, T.self) else { return false }
      walk.setCount(walk.count &- 1)
      if kind == .scan || kind == .compare, cpu.zeroFlag != (op.pointee.detail == 0xf3) {
        return true
      }
    }
    if x86_attention(cpu) != 0 || isTraced, walk.count != 0 {
      cpu.pointee.rip = cpu.rip(of: op)
      cpu.pointee.exit = LeaveReason.unfinished
      return false
    }
  }
  return true
}

extension UnsafeMutablePointer<x86_cpu> {
  var port: UInt16 { self.get(Slot.rdx, UInt16.self) }
}

/// The registers that a string instruction steps.
private struct StringWalk {
  private let cpu: CPU
  private let op: Op
  private let size: UInt64
  private let mask: UInt64

  init(_ cpu: CPU, _ op: Op, size: UInt64) {
    self.cpu = cpu
    self.op = op
    self.size = size
    mask = addressMask(op.pointee.flags)
  }

  var count: UInt64 { cpu.rcx & mask }
  var isForward: Bool { cpu.pointee.system_flags & X86.Flags.direction == 0 }

  func setCount(_ value: UInt64) { set(Slot.rcx, value) }

  private func set(_ slot: UInt8, _ value: UInt64) {
    cpu.set(slot, value, log2: Int(op.pointee.flags) &+ 1)
  }

  private func advance(_ slot: UInt8, by elements: UInt64 = 1) {
    let distance = elements &* size
    let value = cpu.get(slot, UInt64.self)
    set(slot, isForward ? value &+ distance : value &- distance)
  }

  /// The linear address at RSI, in the source's segment.
  private func source() -> UInt64? {
    segmentedAddress(cpu, op, Int(size), cpu.rsi, write: false)
  }

  /// The linear address at RDI, always in ES.
  private func destination(write: Bool) -> UInt64? {
    let offset = cpu.rdi & mask
    if _fastPath(offset &+ size <= cpu.segmentEnd(Slot.segmentBase, write: write)) {
      // The base of ES is zero in 64-bit mode.
      return (offset &+ cpu.segmentBase(0)) & cpu.pointee.address_mask
    }
    guard cpu.bounds(0).permit(offset, Int(size), write: write) else {
      raise(cpu, op, X86.Exception.generalProtection, code: 0)
      return nil
    }
    return (offset &+ cpu.segmentBase(0)) & 0xffff_ffff
  }

  /// One element; `false` once an exception was raised.
  func element<T: Width>(_ kind: StringInstruction, _: T.Type) -> Bool {
    switch kind {
    case .move:
      guard let from = source(), let value = load(cpu, op, from, T.self),
        let to = destination(write: true), store(cpu, op, to, value)
      else { return false }
      advance(Slot.rsi)
      advance(Slot.rdi)
    case .store:
      guard let to = destination(write: true), store(cpu, op, to, cpu.get(Slot.rax, T.self))
      else { return false }
      advance(Slot.rdi)
    case .load:
      guard let from = source(), let value = load(cpu, op, from, T.self) else { return false }
      cpu.set(Slot.rax, value)
      advance(Slot.rsi)
    case .scan:
      guard let to = destination(write: false), let value = load(cpu, op, to, T.self) else {
        return false
      }
      _ = Subtract.apply(cpu, cpu.get(Slot.rax, T.self), value)
      advance(Slot.rdi)
    case .compare:
      guard let from = source(), let a = load(cpu, op, from, T.self),
        let to = destination(write: false), let b = load(cpu, op, to, T.self)
      else { return false }
      _ = Subtract.apply(cpu, a, b)
      advance(Slot.rsi)
      advance(Slot.rdi)
    case .input:
      // The page must take the value before the device gives it away.
      guard let to = destination(write: true), prepareModify(cpu, op, to, Int(size)) else {
        return false
      }
      let value = cpu.core { $0.portRead(cpu.port, T.self) }
      guard store(cpu, op, to, value) else { return false }
      advance(Slot.rdi)
    case .output:
      guard let from = source(), let value = load(cpu, op, from, T.self) else { return false }
      cpu.core { $0.portWrite(cpu.port, value) }
      advance(Slot.rsi)
    }
    return true
  }

  /// As many elements as lie in one page at each end; `nil` where that cannot be done.
  func bulk<T: Width>(_ kind: StringInstruction, _: T.Type) -> UInt64? {
    let done = bulkRun(kind, T.self)
    // What stood in the way, the element itself will raise.
    if done == nil { cpu.pointee.exit = LeaveReason.lookUp }
    return done
  }

  private func bulkRun<T: Width>(_ kind: StringInstruction, _: T.Type) -> UInt64? {
    guard let to = destination(write: true) else { return nil }
    var elements = min(count, (pageMask &+ 1 &- to & pageMask) / size)
    var from: UInt64 = 0
    if kind == .move {
      guard let address = source() else { return nil }
      from = address
      elements = min(elements, (pageMask &+ 1 &- from & pageMask) / size)
    }
    // Offsets must not wrap inside the run, nor leave a segment.
    guard elements > 1, to &+ elements &* size &- 1 >= to,
      cpu.pointee.code_mode == 2 || isInside(elements, kind)
    else { return nil }
    guard cpu.core({ !$0.checksAlignment }) || (to | from) & (size &- 1) == 0 else { return nil }
    // Both ends are asked for before either is used: they may share an entry of the TLB.
    var hostFrom: UnsafeMutableRawPointer?
    if kind == .move {
      hostFrom = cpu.core { $0.directPointer(from, write: false) }
      guard hostFrom != nil else { return nil }
    }
    var pageToTell: Int?
    var place = cpu.core { $0.directPointer(to, write: true) }
    if place == nil, let told = cpu.core({ $0.userPagePointer(forWritingTo: to) }) {
      (place, pageToTell) = (told.host, told.page)
    }
    guard let hostTo = place else { return nil }
    let bytes = Int(elements &* size)
    if let hostFrom {
      // A destination that starts inside the source repeats a pattern: element by element.
      if hostTo > hostFrom, hostTo < hostFrom + bytes {
        for index in 0..<Int(elements) {
          let offset = index &* Int(size)
          (hostTo + offset).storeBytes(
            of: (hostFrom + offset).loadUnaligned(as: T.self), as: T.self)
        }
      } else {
        hostTo.copyMemory(from: hostFrom, byteCount: bytes)
      }
      advance(Slot.rsi, by: elements)
    } else {
      fill(hostTo, Int(elements), cpu.get(Slot.rax, T.self))
    }
    if let pageToTell {
      cpu.core { $0.noteWrite(page: pageToTell, from: Int(to & pageMask), count: bytes) }
    }
    advance(Slot.rdi, by: elements)
    setCount(count &- elements)
    return elements
  }

  private func fill<T: Width>(_ host: UnsafeMutableRawPointer, _ elements: Int, _ value: T) {
    if T.self == UInt8.self || value == 0 {
      host.initializeMemory(
        as: UInt8.self, repeating: UInt8(truncatingIfNeeded: value),
        count: elements &* MemoryLayout<T>.size)
    } else {
      for index in 0..<elements {
        (host + index &* MemoryLayout<T>.size).storeBytes(of: value, as: T.self)
      }
    }
  }

  private func isInside(_ elements: UInt64, _ kind: StringInstruction) -> Bool {
    let bytes = elements &* size
    let (to, from) = (cpu.rdi & mask, cpu.rsi & mask)
    let isDestinationInside =
      to &+ bytes <= mask && to &+ bytes <= cpu.segmentEnd(Slot.segmentBase, write: true)
    return isDestinationInside
      && (kind == .store
        || from &+ bytes <= mask
          && from &+ bytes <= cpu.segmentEnd(op.pointee.segment, write: false))
  }
}

/// By width.
enum Strings {
  static let move: [Handler] = [
    { stringHandler(.move, UInt8.self, $0, $1) }, { stringHandler(.move, UInt16.self, $0, $1) },
    { stringHandler(.move, UInt32.self, $0, $1) }, { stringHandler(.move, UInt64.self, $0, $1) },
  ]
  static let store: [Handler] = [
    { stringHandler(.store, UInt8.self, $0, $1) }, { stringHandler(.store, UInt16.self, $0, $1) },
    { stringHandler(.store, UInt32.self, $0, $1) },
    { stringHandler(.store, UInt64.self, $0, $1) },
  ]
  static let load: [Handler] = [
    { stringHandler(.load, UInt8.self, $0, $1) }, { stringHandler(.load, UInt16.self, $0, $1) },
    { stringHandler(.load, UInt32.self, $0, $1) }, { stringHandler(.load, UInt64.self, $0, $1) },
  ]
  static let scan: [Handler] = [
    { stringHandler(.scan, UInt8.self, $0, $1) }, { stringHandler(.scan, UInt16.self, $0, $1) },
    { stringHandler(.scan, UInt32.self, $0, $1) }, { stringHandler(.scan, UInt64.self, $0, $1) },
  ]
  static let compare: [Handler] = [
    { stringHandler(.compare, UInt8.self, $0, $1) },
    { stringHandler(.compare, UInt16.self, $0, $1) },
    { stringHandler(.compare, UInt32.self, $0, $1) },
    { stringHandler(.compare, UInt64.self, $0, $1) },
  ]
  static let input: [Handler] = [
    { stringHandler(.input, UInt8.self, $0, $1) }, { stringHandler(.input, UInt16.self, $0, $1) },
    { stringHandler(.input, UInt32.self, $0, $1) },
  ]
  static let output: [Handler] = [
    { stringHandler(.output, UInt8.self, $0, $1) },
    { stringHandler(.output, UInt16.self, $0, $1) },
    { stringHandler(.output, UInt32.self, $0, $1) },
  ]
}
