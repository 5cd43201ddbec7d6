import ArchitectureX86
import CProcessor

// PUSH, POP, PUSHF, POPF, PUSHA, POPA, ENTER, LEAVE: SDM Vol. 2. The plain 64-bit forms have handlers of
// their own; all others know the stack segment, its base and its width.

// MARK: - Any mode. Each op has `operandIsOnStack` in its `flags`.

extension UnsafeMutablePointer<x86_cpu> {
  /// The stack pointer by the stack's width: SDM Vol. 1 §6.2.3.
  var stackPointer: UInt64 { rsp & pointee.stack_mask }

  func setStackPointer(_ value: UInt64) {
    let mask = pointee.stack_mask
    rsp = mask == 0xffff ? rsp & ~mask | value & mask : value & mask
  }

  func addToStackPointer(_ count: UInt64) { setStackPointer(stackPointer &+ count) }
}

/// The linear address of `size` bytes of the stack; `nil` once an exception was raised.
func stackAddress(
  _ cpu: CPU, _ op: Op, _ pointer: UInt64, _ size: Int, write: Bool
) -> UInt64? {
  let slot = Slot.segmentBase &+ 16
  if _fastPath(
    pointer &+ UInt64(truncatingIfNeeded: size) <= cpu.segmentEnd(slot, write: write))
  {
    // The base of SS is zero in 64-bit mode.
    return (pointer &+ cpu.segmentBase(2)) & cpu.pointee.address_mask
  }
  guard cpu.bounds(2).permit(pointer, size, write: write) else {
    raise(cpu, op, X86.Exception.stackFault, code: 0)
    return nil
  }
  return (pointer &+ cpu.segmentBase(2)) & 0xffff_ffff
}

/// Pushes the low bytes of a value.
func push(_ cpu: CPU, _ op: Op, _ value: UInt64, log2: Int) -> Bool {
  let size = 1 &<< log2
  let pointer = (cpu.stackPointer &- UInt64(size)) & cpu.pointee.stack_mask
  guard let address = stackAddress(cpu, op, pointer, size, write: true) else { return false }
  let stored =
    switch log2 {
    case 1: store(cpu, op, address, UInt16(truncatingIfNeeded: value))
    case 2: store(cpu, op, address, UInt32(truncatingIfNeeded: value))
    default: store(cpu, op, address, value)
    }
  guard stored else { return false }
  cpu.setStackPointer(pointer)
  return true
}

/// What is `depth` bytes above the stack's top.
func stackTop(_ cpu: CPU, _ op: Op, log2: Int, depth: UInt64 = 0) -> UInt64? {
  let pointer = (cpu.stackPointer &+ depth) & cpu.pointee.stack_mask
  guard let address = stackAddress(cpu, op, pointer, 1 &<< log2, write: false) else {
    return nil
  }
  switch log2 {
  case 1: return load(cpu, op, address, UInt16.self).map(UInt64.init)
  case 2: return load(cpu, op, address, UInt32.self).map(UInt64.init)
  default: return load(cpu, op, address, UInt64.self)
  }
}

extension UnsafeMutablePointer<x86_cpu> {
  func set(_ slot: UInt8, _ value: UInt64, log2: Int) {
    switch log2 {
    case 0: set(slot, UInt8(truncatingIfNeeded: value))
    case 1: set(slot, UInt16(truncatingIfNeeded: value))
    case 2: set(slot, UInt32(truncatingIfNeeded: value))
    default: set(slot, value)
    }
  }
}

enum Stack {
  // MARK: - 64-bit mode, 64-bit operand

  static let push64: Handler = { cpu, op in
    let top = cpu.rsp &- 8
    guard store(cpu, op, top, cpu.get(op.pointee.source, UInt64.self)) else { return }
    cpu.rsp = top
    return next(cpu, op)
  }

  static let pushConstant64: Handler = { cpu, op in
    let top = cpu.rsp &- 8
    guard store(cpu, op, top, op.pointee.immediate) else { return }
    cpu.rsp = top
    return next(cpu, op)
  }

  static let pop64: Handler = { cpu, op in
    guard let value = load(cpu, op, cpu.rsp, UInt64.self) else { return }
    cpu.rsp = cpu.rsp &+ 8
    cpu.set(op.pointee.destination, value)
    return next(cpu, op)
  }

  // MARK: - Other forms: `detail` is the operand size

  static let pushSlot: Handler = { cpu, op in
    let value = cpu.get(op.pointee.source, UInt64.self)
    guard push(cpu, op, value, log2: Int(op.pointee.detail)) else { return }
    return next(cpu, op)
  }

  static let pushConstant: Handler = { cpu, op in
    guard push(cpu, op, op.pointee.immediate, log2: Int(op.pointee.detail)) else { return }
    return next(cpu, op)
  }

  static let popSlot: Handler = { cpu, op in
    let log2 = Int(op.pointee.detail)
    guard let value = stackTop(cpu, op, log2: log2) else { return }
    cpu.addToStackPointer(1 &<< UInt64(log2))
    cpu.set(op.pointee.destination, value, log2: log2)
    return next(cpu, op)
  }

  /// The stack's top into a slot; the stack pointer stays.
  static let peekSlot: Handler = { cpu, op in
    guard let value = stackTop(cpu, op, log2: Int(op.pointee.detail)) else { return }
    cpu.set(op.pointee.destination, value)
    return next(cpu, op)
  }

  /// Releases what `peekSlot` read.
  static let release: Handler = { cpu, op in
    cpu.addToStackPointer(1 &<< UInt64(op.pointee.detail))
    return next(cpu, op)
  }

  static let pushSegment: Handler = { cpu, op in
    let selector = cpu.selector(Int(op.pointee.source))
    guard push(cpu, op, UInt64(selector), log2: Int(op.pointee.detail)) else { return }
    return next(cpu, op)
  }

  static let leave: Handler = { cpu, op in
    let log2 = Int(op.pointee.detail)
    let frame = cpu.get(Slot.rbp, UInt64.self) & cpu.pointee.stack_mask
    let depth = frame &- cpu.stackPointer
    guard let value = stackTop(cpu, op, log2: log2, depth: depth) else { return }
    cpu.setStackPointer(frame &+ 1 &<< UInt64(log2))
    cpu.set(Slot.rbp, value, log2: log2)
    return next(cpu, op)
  }

  /// ENTER: `immediate` bytes of locals, nesting level in `scale` (SDM Vol. 2A, ENTER).
  static let enter: Handler = { cpu, op in
    let log2 = Int(op.pointee.detail)
    let size: UInt64 = 1 &<< UInt64(log2)
    let level = UInt64(op.pointee.scale & 31)
    let mask = cpu.pointee.stack_mask
    let old = (cpu.rsp, cpu.get(Slot.rbp, UInt64.self))
    guard push(cpu, op, old.1, log2: log2) else { return }
    // "FrameTemp := ESP" by the operand's size: on a stack of 16 bits too, ESP's upper half is in it.
    let frame = cpu.rsp
    if level > 0 {
      var pointer = old.1
      if level > 1 {
        for _ in 1..<level {
          pointer = (pointer &- size) & mask
          guard let value = stackTop(cpu, op, log2: log2, depth: pointer &- cpu.stackPointer),
            push(cpu, op, value, log2: log2)
          else {
            cpu.rsp = old.0
            return
          }
        }
      }
      guard push(cpu, op, frame, log2: log2) else {
        cpu.rsp = old.0
        return
      }
    }
    let top = (cpu.stackPointer &- op.pointee.immediate) & mask
    // The new top must be writable: SDM asks for a check of the last push.
    guard let address = stackAddress(cpu, op, top, 1 &<< log2, write: true),
      prepareModify(cpu, op, address, 1 &<< log2)
    else {
      cpu.rsp = old.0
      return
    }
    cpu.set(Slot.rbp, frame, log2: log2)
    cpu.setStackPointer(top)
    return next(cpu, op)
  }

  static let pushAll: Handler = { cpu, op in
    let log2 = Int(op.pointee.detail)
    let old = cpu.rsp
    for register in 0..<8 {
      let value = register == 4 ? old : cpu.get(UInt8(register * 8), UInt64.self)
      guard push(cpu, op, value, log2: log2) else {
        cpu.rsp = old
        return
      }
    }
    return next(cpu, op)
  }

  static let popAll: Handler = { cpu, op in
    let log2 = Int(op.pointee.detail)
    let size: UInt64 = 1 &<< UInt64(log2)
    var values: (UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64, UInt64) =
      (0, 0, 0, 0, 0, 0, 0, 0)
    let loaded = withUnsafeMutableBytes(of: &values) { bytes in
      for register in 0..<8 {
        guard
          let value = stackTop(cpu, op, log2: log2, depth: UInt64(7 - register) &* size)
        else { return false }
        bytes.storeBytes(of: value, toByteOffset: register * 8, as: UInt64.self)
      }
      return true
    }
    guard loaded else { return }
    withUnsafeBytes(of: values) { bytes in
      for register in 0..<8 where register != 4 {
        let value = bytes.load(fromByteOffset: register * 8, as: UInt64.self)
        cpu.set(UInt8(register * 8), value, log2: log2)
      }
    }
    cpu.addToStackPointer(8 &* size)
    return next(cpu, op)
  }

  static let pushFlags: Handler = { cpu, op in
    // RF and VM are not stored: SDM Vol. 2B, PUSHF.
    guard cpu.mayUseFlags(log2: Int(op.pointee.detail)) else {
      return raise(cpu, op, X86.Exception.generalProtection, code: 0)
    }
    let flags = _slowPath(cpu.isSensitiveVirtual8086) ? cpu.virtualFlags : cpu.rflags
    let image = flags & ~(X86.Flags.resume | X86.Flags.virtual8086)
    guard push(cpu, op, image, log2: Int(op.pointee.detail)) else { return }
    return next(cpu, op)
  }

  static let popFlags: Handler = { cpu, op in
    let log2 = Int(op.pointee.detail)
    guard cpu.mayUseFlags(log2: log2) else {
      return raise(cpu, op, X86.Exception.generalProtection, code: 0)
    }
    guard let image = stackTop(cpu, op, log2: log2) else { return }
    if _slowPath(cpu.isSensitiveVirtual8086) {
      guard cpu.loadVirtualFlags(image) else {
        return raise(cpu, op, X86.Exception.generalProtection, code: 0)
      }
    } else {
      cpu.loadFlags(image, log2: log2)
    }
    cpu.addToStackPointer(1 &<< UInt64(log2))
    // Interrupts may have become possible, and the next instruction may be traced: the run loop looks.
    cpu.pointee.rip = cpu.codeAddress(cpu.nextRIP(of: op))
    cpu.pointee.exit = LeaveReason.stateChange
  }
}

extension UnsafeMutablePointer<x86_cpu> {
  /// POPF: which flags change depends on CPL and IOPL (SDM Vol. 2B, POPF, Table 4-16).
  func loadFlags(_ image: UInt64, log2: Int) {
    var writable =
      X86.Flags.status | X86.Flags.trap | X86.Flags.direction | X86.Flags.nestedTask
      | X86.Flags.alignmentCheck | X86.Flags.identification
    let level = pointee.privilege
    if level == 0 { writable |= X86.Flags.ioPrivilege }
    if level <= ioPrivilege { writable |= X86.Flags.interrupt }
    var old = rflags
    if log2 == 1 {
      writable &= 0xffff
    } else if !isVirtual8086 {
      old &= ~(X86.Flags.virtualInterrupt | X86.Flags.virtualInterruptPending)
    }
    rflags = (old & ~writable | image & writable) & ~X86.Flags.resume
  }
}
