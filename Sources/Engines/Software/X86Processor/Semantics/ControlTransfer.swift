import ArchitectureX86
import CProcessor

// Jumps, calls and returns inside a code segment. A jump whose target lies in the same page leads straight
// to the target's op once that is known: the page is mapped, or this code would not run. Any other goes
// through the jump cache. Every jump taken looks at `attention`, so that no loop escapes it.

/// The op at a linear address, made the one that runs; `nil` if the run loop has to see to it.
@inline(__always)
private func cachedTarget(_ cpu: CPU, _ rip: UInt64) -> Op? {
  x86_attention(cpu) == 0 ? jumpCacheOp(cpu, rip) : nil
}

/// The same for the run loop itself.
@inline(__always)
func jumpCacheOp(_ cpu: CPU, _ rip: UInt64) -> Op? {
  let slot = Int(truncatingIfNeeded: (rip ^ rip &>> 12) & UInt64(X86_JUMP_ENTRIES &- 1))
  let entry = cpu.pointee.jumps + slot
  guard
    _fastPath(
      entry.pointee.rip == rip
        && (entry.pointee.key == cpu.pointee.code_key
          || entry.pointee.key == cpu.pointee.code_key_global)
    )
  else { return nil }
  cpu.pointee.page_base = rip & ~pageMask
  let op = entry.pointee.op.unsafelyUnwrapped
  visit(cpu, op)
  return op
}

/// Counts a jump to an op, so that code which is jumped to often is found.
@inline(__always)
func visit(_ cpu: CPU, _ op: Op) {
  let kept = native(op)
  kept.pointee.visits &+= 1
  if _slowPath(kept.pointee.visits == cpu.pointee.hot_visits) { becomeHot(cpu, op) }
}

@inline(never)
private func becomeHot(_ cpu: CPU, _ op: Op) { cpu.core { $0.translateHot(op) } }

/// Continues at a linear address: from the jump cache, or by way of the run loop.
@inline(__always)
func goTo(_ cpu: CPU, _ rip: UInt64) {
  if let target = cachedTarget(cpu, rip) { return target.pointee.run(cpu, target) }
  cpu.pointee.rip = rip
}

/// The same for an instruction whose target may not be canonical, which then faults with the stack pointer that it
/// found.
@inline(__always)
func goTo(_ cpu: CPU, _ rip: UInt64, from op: Op, stack: UInt64) {
  if let target = cachedTarget(cpu, rip) { return target.pointee.run(cpu, target) }
  leaveTo(cpu, rip, from: op, stack: stack)
}

@inline(never)
private func leaveTo(_ cpu: CPU, _ rip: UInt64, from op: Op, stack: UInt64) {
  if cpu.core({ $0.isCanonical(rip) }) {
    cpu.pointee.rip = rip
  } else {
    cpu.rsp = stack
    raise(cpu, op, X86.Exception.generalProtection, code: 0)
  }
}

/// Outside 64-bit mode: continues at an offset in the code segment.
@inline(__always)
func goTo(_ cpu: CPU, _ op: Op, offset: UInt64) {
  let rip = (cpu.segmentBase(1) &+ offset) & 0xffff_ffff
  if _fastPath(cpu.isInWholeCodePage(offset)) { return goTo(cpu, rip) }
  guard let target = boundedTarget(cpu, op, rip, offset) else { return }
  return target.pointee.run(cpu, target)
}

/// The op at an offset in a page of which the code segment holds a part; `nil` once an exception was raised, or if
/// the run loop has to see to it.
@inline(never)
private func boundedTarget(_ cpu: CPU, _ op: Op, _ rip: UInt64, _ offset: UInt64) -> Op? {
  guard isWithinCode(cpu, op, offset) else { return nil }
  let slot = Int(truncatingIfNeeded: (rip ^ rip &>> 12) & UInt64(X86_JUMP_ENTRIES &- 1))
  let entry = cpu.pointee.jumps + slot
  guard entry.pointee.rip == rip, entry.pointee.key == cpu.pointee.code_key_bounded,
    x86_attention(cpu) == 0
  else {
    cpu.pointee.rip = rip
    return nil
  }
  cpu.pointee.page_base = rip & ~pageMask
  return entry.pointee.op
}

/// Outside 64-bit mode: whether an offset lies in the code segment; `false` once an exception was raised.
@inline(__always)
func mayGo(_ cpu: CPU, _ op: Op, to offset: UInt64) -> Bool {
  if _fastPath(cpu.isInWholeCodePage(offset)) { return true }
  return isWithinCode(cpu, op, offset)
}

@inline(never)
private func isWithinCode(_ cpu: CPU, _ op: Op, _ offset: UInt64) -> Bool {
  if offset <= cpu.limit(1) { return true }
  raise(cpu, op, X86.Exception.generalProtection, code: 0)
  return false
}

/// Continues at an op of the same page.
@inline(__always)
func goTo(_ cpu: CPU, linked target: UInt64) {
  let target = Op(bitPattern: UInt(target)).unsafelyUnwrapped
  visit(cpu, target)
  if _fastPath(x86_attention(cpu) == 0) { return target.pointee.run(cpu, target) }
  cpu.pointee.rip = cpu.rip(of: target)
}

/// The op at an offset of the page that runs now; `nil` if the run loop has to see to it, for which `rip` is
/// left at the target.
@inline(never)
func findInPage(_ cpu: CPU, _ offset: UInt64) -> Op? {
  cpu.pointee.rip = cpu.pointee.page_base &+ offset
  if let op = cpu.core({ $0.lookUpKept() }) { return op }
  // If the page is gone the run loop will find that out again.
  cpu.pointee.exit = LeaveReason.lookUp
  return nil
}

/// Makes a jump lead straight to its target from now on.
@inline(never)
func link(_ cpu: CPU, _ op: Op, to target: Op, _ handler: Handler) {
  let jump = UnsafeMutablePointer(mutating: op)
  jump.pointee.immediate = UInt64(UInt(bitPattern: target))
  jump.pointee.flags |= jumpIsLinked
  var isGate = false
  if cpu.core({ $0.code.contains(op) }), let present = native(op).pointee.handler {
    // Host code leaves to the handler, and may have taken its place.
    isGate =
      unsafeBitCast(present, to: UInt.self) != unsafeBitCast(op.pointee.run, to: UInt.self)
    native(op).pointee.handler = handler
  }
  if !isGate { jump.pointee.run = handler }
}

// MARK: - JMP

let jumpLinked: Handler = { cpu, op in return goTo(cpu, linked: op.pointee.immediate) }

let jump: Handler = { cpu, op in
  guard x86_attention(cpu) == 0, let target = findInPage(cpu, op.pointee.immediate) else {
    cpu.pointee.rip = cpu.pointee.page_base &+ op.pointee.immediate
    return
  }
  link(cpu, op, to: target, jumpLinked)
  return target.pointee.run(cpu, target)
}

/// To another page; `immediate` is the distance from this page's start.
let jumpAway: Handler = { cpu, op in
  return goTo(cpu, cpu.pointee.page_base &+ op.pointee.immediate, from: op, stack: cpu.rsp)
}

/// Outside 64-bit mode: to a distance from this page's start, cut to the operand size in `detail`.
let jumpSegmented: Handler = { cpu, op in
  return goTo(cpu, op, offset: cpu.segmentedTarget(op, log2: op.pointee.detail))
}

/// The same if the condition in `scale` holds.
let conditionalJumpSegmented: Handler = { cpu, op in
  if cpu.condition(op.pointee.scale) {
    return goTo(cpu, op, offset: cpu.segmentedTarget(op, log2: op.pointee.detail))
  }
  return next(cpu, op)
}

/// To the address in a slot.
let jumpIndirect: Handler = { cpu, op in
  return goTo(cpu, cpu.get(op.pointee.source), from: op, stack: cpu.rsp)
}

/// Outside 64-bit mode: to an offset in the code segment; `detail` is its size.
let jumpIndirectSegmented: Handler = { cpu, op in
  let offset = cpu.get(op.pointee.source, UInt64.self) & addressMask(op.pointee.detail &- 1)
  return goTo(cpu, op, offset: offset)
}

/// The end of a page, or of a run of decoded instructions: goes on with the next.
let continueSequentially: Handler = { cpu, op in
  return goTo(cpu, cpu.codeAddress(cpu.nextRIP(of: op)))
}

/// The same outside 64-bit mode. That the segment ends here is the next instruction's fault.
let continueSegmented: Handler = { cpu, op in
  let rip = cpu.codeAddress(cpu.nextRIP(of: op))
  guard cpu.isInWholeCodePage((rip &- cpu.segmentBase(1)) & 0xffff_ffff) else {
    cpu.pointee.rip = rip
    return
  }
  return goTo(cpu, rip)
}

/// Where decoded code of the same page goes on.
let continueInPage: Handler = { cpu, op in
  guard let target = findInPage(cpu, UInt64(op.pointee.next)) else { return }
  link(cpu, op, to: target, continueLinked)
  return target.pointee.run(cpu, target)
}

let continueLinked: Handler = { cpu, op in
  let target = Op(bitPattern: UInt(op.pointee.immediate)).unsafelyUnwrapped
  return target.pointee.run(cpu, target)
}

/// Leaves the decision to the run loop: the instruction here reaches into the next page.
let lookUpHere: Handler = { cpu, op in cpu.pointee.rip = cpu.rip(of: op) }

extension UnsafeMutablePointer<x86_cpu> {
  /// A linear address of code, wrapped as the mode wraps it.
  @inline(__always)
  func codeAddress(_ linear: UInt64) -> UInt64 { linear & pointee.address_mask }

  /// Outside 64-bit mode: the target of a relative jump as an offset in the code segment, which has the operand's
  /// size (SDM Vol. 2A, Jcc).
  func segmentedTarget(_ op: Op, log2: UInt8) -> UInt64 {
    (pointee.page_base &+ op.pointee.immediate &- segmentBase(1)) & addressMask(log2 &- 1)
  }
}

// MARK: - Jcc, LOOPcc, JCXZ

@inline(__always)
func jumpLinked(if condition: UInt8, _ cpu: CPU, _ op: Op) {
  if cpu.condition(condition) { return goTo(cpu, linked: op.pointee.immediate) }
  return next(cpu, op)
}

@inline(__always)
func jumpUnlinked(if condition: UInt8, _ cpu: CPU, _ op: Op) {
  if cpu.condition(condition) {
    guard x86_attention(cpu) == 0, let target = findInPage(cpu, op.pointee.immediate) else {
      cpu.pointee.rip = cpu.pointee.page_base &+ op.pointee.immediate
      return
    }
    link(cpu, op, to: target, linkedConditionalJumps[Int(condition)])
    return target.pointee.run(cpu, target)
  }
  return next(cpu, op)
}

@inline(__always)
func jumpAway(if condition: UInt8, _ cpu: CPU, _ op: Op) {
  if cpu.condition(condition) {
    return goTo(cpu, cpu.pointee.page_base &+ op.pointee.immediate, from: op, stack: cpu.rsp)
  }
  return next(cpu, op)
}

/// LOOPNE, LOOPE, LOOP, JCXZ: `detail` is the opcode's low two bits, `flags` the address size, `scale` the
/// operand size.
let loopJump: Handler = { cpu, op in
  let mask = addressMask(op.pointee.flags)
  let isCounted = op.pointee.detail != 3
  let count = (isCounted ? cpu.rcx &- 1 : cpu.rcx) & mask
  var taken = isCounted ? count != 0 : count == 0
  if op.pointee.detail == 0 { taken = taken && !cpu.zeroFlag }
  if op.pointee.detail == 1 { taken = taken && cpu.zeroFlag }
  let is64Bit = cpu.pointee.code_mode == 2
  let target = is64Bit ? 0 : cpu.segmentedTarget(op, log2: op.pointee.scale)
  if taken, !is64Bit { guard mayGo(cpu, op, to: target) else { return } }
  if isCounted {
    switch op.pointee.flags {
    case 0: cpu.set(Slot.rcx, UInt16(truncatingIfNeeded: count))
    case 1: cpu.set(Slot.rcx, UInt32(truncatingIfNeeded: count))
    default: cpu.rcx = count
    }
  }
  guard taken else { return next(cpu, op) }
  if is64Bit { return goTo(cpu, cpu.pointee.page_base &+ op.pointee.immediate) }
  return goTo(cpu, op, offset: target)
}

// MARK: - CALL and RET in 64-bit mode

@inline(__always)
func push64(_ cpu: CPU, _ op: Op, _ value: UInt64) -> Bool {
  let top = cpu.rsp &- 8
  guard store(cpu, op, top, value) else { return false }
  cpu.rsp = top
  return true
}

let callLinked: Handler = { cpu, op in
  guard push64(cpu, op, cpu.nextRIP(of: op)) else { return }
  return goTo(cpu, linked: op.pointee.immediate)
}

let call: Handler = { cpu, op in
  guard x86_attention(cpu) == 0, let target = findInPage(cpu, op.pointee.immediate) else {
    guard push64(cpu, op, cpu.nextRIP(of: op)) else { return }
    cpu.pointee.rip = cpu.pointee.page_base &+ op.pointee.immediate
    return
  }
  guard push64(cpu, op, cpu.nextRIP(of: op)) else { return }
  link(cpu, op, to: target, callLinked)
  return target.pointee.run(cpu, target)
}

let callAway: Handler = { cpu, op in
  let stack = cpu.rsp
  guard push64(cpu, op, cpu.nextRIP(of: op)) else { return }
  return goTo(cpu, cpu.pointee.page_base &+ op.pointee.immediate, from: op, stack: stack)
}

let callIndirect: Handler = { cpu, op in
  let target = cpu.get(op.pointee.source, UInt64.self)
  let stack = cpu.rsp
  guard push64(cpu, op, cpu.nextRIP(of: op)) else { return }
  return goTo(cpu, target, from: op, stack: stack)
}

/// RET; `immediate` more bytes are released.
let returnNear: Handler = { cpu, op in
  let stack = cpu.rsp
  guard let target = load(cpu, op, stack, UInt64.self) else { return }
  cpu.rsp = stack &+ 8 &+ op.pointee.immediate
  return goTo(cpu, target, from: op, stack: stack)
}

// MARK: - CALL and RET in other modes and sizes: `detail` is the operand size

/// To the offset in a slot, or with `flags` set to a distance from this page's start.
let callSegmented: Handler = { cpu, op in
  let size = Int(op.pointee.detail)
  let base = cpu.segmentBase(1)
  let mask = addressMask(op.pointee.detail &- 1)
  let target =
    op.pointee.flags == 0
    ? cpu.get(op.pointee.source, UInt64.self) & mask
    : (cpu.pointee.page_base &+ op.pointee.immediate &- base) & mask
  let isWhole = cpu.isInWholeCodePage(target)
  if _slowPath(!isWhole) { guard isWithinCode(cpu, op, target) else { return } }
  guard push(cpu, op, cpu.nextRIP(of: op) &- base, log2: size) else { return }
  let rip = (base &+ target) & 0xffff_ffff
  if _fastPath(isWhole) { return goTo(cpu, rip) }
  guard let next = boundedTarget(cpu, op, rip, target) else { return }
  return next.pointee.run(cpu, next)
}

let returnNearSegmented: Handler = { cpu, op in
  let size = Int(op.pointee.detail)
  guard let target = stackTop(cpu, op, log2: size) else { return }
  let isWhole = cpu.isInWholeCodePage(target)
  if _slowPath(!isWhole) { guard isWithinCode(cpu, op, target) else { return } }
  cpu.addToStackPointer(UInt64(1 &<< size) &+ op.pointee.immediate)
  let rip = (cpu.segmentBase(1) &+ target) & 0xffff_ffff
  if _fastPath(isWhole) { return goTo(cpu, rip) }
  guard let next = boundedTarget(cpu, op, rip, target) else { return }
  return next.pointee.run(cpu, next)
}
