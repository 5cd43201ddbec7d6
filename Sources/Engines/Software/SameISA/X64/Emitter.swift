import CProcessor
import X86Processor

/// Writes the host code of a region.
///
/// Each step's code starts and ends with the guest's registers in the host's and its status flags in the host's flags,
/// as far as anybody may look at them. What a step cannot do it leaves to the interpreter before it has changed
/// anything: so faults are the interpreter's, with the state that it wants.
struct Emitter {
  var a: Assembler
  let region: Region
  let gates: Gates
  let isUser: Bool
  /// Addresses and what lies on the stack: 32 bits in protected mode, 64 in 64-bit mode.
  let width: Size
  /// Whether only jumps forward stay in the region's host code: see Comparison.swift.
  let isForward: Bool
  /// The first op of the core, from which ops are numbered.
  let firstOp: UnsafePointer<x86_op>

  /// Where each step's code starts.
  var bodies: [UInt64] = []
  /// Jumps to steps whose code is not written yet.
  private var forward: [(fixup: Assembler.Fixup, number: Int)] = []
  /// Ways out, written behind the steps.
  private var slowPaths: [SlowPath] = []
  private var stops: [Stop] = []
  private var crossings: [Crossing] = []
  /// Jumps to offsets of the page outside the region.
  var outward: [(fixup: Assembler.Fixup, target: Int)] = []

  /// Leaves a step to the interpreter.
  private struct SlowPath {
    var fixups: [Assembler.Fixup]
    let op: UnsafePointer<x86_op>
    let flags: Gates.Flags
  }

  /// Tries an operand in two pages before the step is left to the interpreter.
  struct Crossing {
    let miss: Assembler.Fixup
    let gate: UInt64
    /// What the check compared with, and whether the address is wanted as the sum of both scratch registers.
    let tag: Int
    let isInParts: Bool
    /// The register to be written, if any; where it goes on; and what is to be done before that.
    let source: Register?
    let back: UInt64
    let restoresFlags: Bool
    let op: UnsafePointer<x86_op>
    let flags: Gates.Flags
  }

  /// Leaves to the run loop at an offset, because something asks for attention.
  private struct Stop {
    let fixup: Assembler.Fixup
    let target: Int
    let flags: Gates.Flags
  }

  /// More bytes than any step takes with its ways out and its entry.
  static let bytesPerStep = 512

  init(
    _ a: Assembler, _ region: Region, gates: Gates, _ variant: CodeVariant, isForward: Bool = false,
    firstOp: UnsafePointer<x86_op>
  ) {
    self.a = a
    self.region = region
    self.gates = gates
    isUser = variant.isUser
    width = variant.isFlat ? .doubleword : .quadword
    self.isForward = isForward
    self.firstOp = firstOp
    bodies.reserveCapacity(region.steps.count)
  }

  /// Writes all steps and their ways out, but not the jumps to offsets outside the region.
  ///
  /// - Parameter outside: where an offset outside the region goes on in host code, if it does.
  mutating func run(outside: (Int) -> UInt64?) {
    var number = 0
    while number < region.steps.count {
      let steps = region.steps[number..<number + region.steps[number].count]
      bodies.append(a.here)
      if steps.count > 1 { emitRun(steps) } else { emit(steps[number]) }
      // Nobody comes to those behind the first.
      for _ in steps.dropFirst() { bodies.append(0) }
      number += steps.count
      let last = steps[number - 1]
      if last.fallsThrough, region.number(at: last.next) != number {
        goOn(to: last.next, from: last)
      }
    }
    for (fixup, number) in forward { a.bind(fixup, to: bodies[number]) }
    for path in slowPaths {
      for fixup in path.fixups { a.bind(fixup) }
      leave(to: path.op, path.flags, .handler)
    }
    for crossing in crossings { emit(crossing) }
    for stop in stops {
      a.bind(stop.fixup)
      leaveToLoop(at: stop.target, stop.flags)
    }
    outward.removeAll { link in
      guard let target = outside(link.target) else { return false }
      a.bind(link.fixup, to: target)
      return true
    }
  }

  func number(of op: UnsafePointer<x86_op>) -> UInt64 { UInt64(op - firstOp) }

  /// Bytes of an address and of what lies on the stack.
  var wordBytes: Int { width == .doubleword ? 4 : 8 }

  /// Leaves to an op.
  mutating func leave(
    to op: UnsafePointer<x86_op>, _ flags: Gates.Flags, _ successor: Gates.Successor
  ) {
    a.loadConstant(scratch2, number(of: op))
    a.jump(to: gates.exit(flags, successor))
  }

  /// Leaves to the run loop, which goes on at an offset of the page.
  mutating func leaveToLoop(at target: Int, _ flags: Gates.Flags) {
    a.load(scratch2, Field.at(Field.pageBase))
    a.loadAddress(scratch2, Address(scratch2, target), width)
    a.store(Field.at(Field.rip), scratch2)
    a.jump(to: gates.exit(flags, .loop))
  }

  mutating func addCrossing(_ crossing: Crossing) { crossings.append(crossing) }

  private mutating func emit(_ crossing: Crossing) {
    a.bind(crossing.miss)
    // Back to the linear address.
    a.arithmetic(.xor, scratch, Address(.rsp, index: scratch2, crossing.tag))
    if let source = crossing.source { a.store(Field.at(Field.held), source) }
    a.call(crossing.gate)
    let failed = a.jump(if: .carry)
    if crossing.isInParts, crossing.source == nil {
      a.arithmetic(.xor, scratch2, scratch2, .doubleword)
    }
    if crossing.restoresFlags { restoreFlags() }
    a.jump(to: crossing.back)
    a.bind(failed)
    leave(to: crossing.op, crossing.flags, .handler)
  }

  mutating func addSlowPath(
    _ fixups: [Assembler.Fixup], _ step: Region.Step, _ flags: Gates.Flags
  ) {
    slowPaths.append(SlowPath(fixups: fixups, op: step.op, flags: flags))
  }

  // MARK: - Steps

  private mutating func emit(_ step: Region.Step) {
    let i = step.instruction
    switch step.meaning {
    case .plain(let form): plain(step, form)
    case .nothing: break
    case .pause:
      a.byte(0xf3)
      a.byte(0x90)
    case .moveConstant(let register, let log2): moveConstant(i, register, log2)
    case .swapBytes(let register):
      changing(register) { a, host in
        a.byte(0x40 | (i.rex & 8) | host.rawValue >> 3)
        a.byte(0x0f)
        a.byte(0xc8 | host.rawValue & 7)
      }
    case .exchangeWithAccumulator(let register):
      var encoding = Assembler.Encoding(0x87, isW: i.rex & 8 != 0)
      if i.hasOperandSizePrefix { encoding.prefixes.0 = 0x66 }
      changing(register) { a, host in
        a.instruction(encoding, reg: 0, .register(host.rawValue))
      }
    case .loadEffectiveAddress: loadEffectiveAddress(step)
    case .push(let source): push(step, source)
    case .pop(let register): pop(step, [register])
    case .leave: leaveFrame(step)
    case .divide(let isSigned): divide(step, isSigned: isSigned)
    case .jump(let target): goOn(to: target, from: step)
    case .conditionalJump(let condition, let target):
      conditionalJump(step, Condition(rawValue: condition), target)
    case .call(let target): call(step, target)
    case .jumpIndirect: jumpIndirect(step)
    case .callIndirect: callIndirect(step)
    case .returnNear(let count): returnNear(step, releasing: count)
    case .foreign: leave(to: step.op, .live, .run)
    }
  }

  private mutating func emitRun(_ steps: ArraySlice<Region.Step>) {
    var pushed: [UInt8] = []
    var popped: [UInt8] = []
    for step in steps {
      switch step.meaning {
      case .push(.register(let register)): pushed.append(register)
      case .pop(let register): popped.append(register)
      default: break
      }
    }
    if popped.isEmpty {
      push(steps[steps.startIndex], pushed)
    } else {
      pop(steps[steps.startIndex], popped)
    }
  }

  /// Does something to a whole guest register.
  private mutating func changing(_ register: UInt8, _ body: (inout Assembler, Register) -> Void) {
    if let host = host(register) { return body(&a, host) }
    a.load(scratch, slot(register))
    body(&a, scratch)
    a.store(slot(register), scratch)
  }

  private mutating func moveConstant(_ i: Instruction, _ register: UInt8, _ log2: Int) {
    switch log2 {
    case 3: moveConstant(register, i.immediate)
    case 2: moveConstant(register, i.immediate & 0xffff_ffff)
    default:
      changing(register) { a, host in
        var encoding = Assembler.Encoding(log2 == 0 ? 0xc6 : 0xc7)
        if log2 == 1 { encoding.prefixes.0 = 0x66 }
        encoding.needsREX = log2 == 0
        a.instruction(encoding, reg: 0, .register(host.rawValue))
        if log2 == 0 {
          a.byte(UInt8(truncatingIfNeeded: i.immediate))
        } else {
          a.word(UInt16(truncatingIfNeeded: i.immediate))
        }
      }
    }
  }

  private mutating func moveConstant(_ register: UInt8, _ value: UInt64) {
    let host = host(register) ?? scratch
    a.loadConstant(host, value)
    if host == scratch { a.store(slot(register), scratch) }
  }

  private mutating func loadEffectiveAddress(_ step: Region.Step) {
    let i = step.instruction
    let to = host(i.reg) ?? scratch
    let address = offset(of: step, into: scratch)
    if i.operandLog2 == 1 {
      a.loadAddress(scratch, address)
      if to == scratch {
        a.store(slot(i.reg), scratch, .word)
      } else {
        a.move(to, scratch, .word)
      }
      return
    }
    a.instruction(
      .init(0x8d, isW: i.operandLog2 == 3), reg: to.rawValue, .memory(address))
    if to == scratch { a.store(slot(i.reg), scratch) }
  }

  private mutating func divide(_ step: Region.Step, isSigned: Bool) {
    let i = step.instruction
    let size: Size = i.operandLog2 == 3 ? .quadword : .doubleword
    let hasLiveFlags = !step.liveBefore.isEmpty
    var slow: [Assembler.Fixup] = []
    if hasLiveFlags { saveFlags() }
    if i.isMemory {
      slow.append(contentsOf: checkedAddress(step, bytes: 1 << i.operandLog2, write: false))
      a.load(scratch, Address(scratch), size)
    } else if let host = host(i.rm) {
      a.move(scratch, host, size)
    } else {
      a.load(scratch, slot(i.rm), size)
    }
    if isSigned {
      // Only a dividend that fits into half of its width: and then neither by -1, whose quotient may not fit, nor by 0.
      a.move(scratch2, .rax, size)
      a.shift(.arithmeticRight, scratch2, size == .quadword ? 63 : 31, size)
      a.arithmetic(.cmp, scratch2, .rdx, size)
      slow.append(a.jump(if: .notZero))
      a.loadAddress(scratch2, Address(scratch, 1))
      a.arithmetic(.cmp, scratch2, constant: 1, size)
      slow.append(a.jump(if: .notAbove))
    } else {
      a.arithmetic(.cmp, .rdx, scratch, size)
      slow.append(a.jump(if: .notCarry))
    }
    a.instruction(
      .init(0xf7, isW: size == .quadword), reg: isSigned ? 7 : 6, .register(scratch.rawValue))
    if hasLiveFlags { restoreFlags() }
    addSlowPath(slow, step, hasLiveFlags ? .saved : .dead)
  }

  // MARK: - Going on

  /// Goes on at an offset from the start of the page; backward only if nothing asks for attention.
  mutating func goOn(to target: Int, from step: Region.Step) {
    guard (0..<4096).contains(target) else { return goAway(to: target, from: step) }
    if target <= step.offset { poll(step, target) }
    let fixup = a.jump()
    if isForward, target <= step.offset { return outward.append((fixup, target)) }
    link(fixup, target)
  }

  /// Makes a jump lead to an offset of the page.
  private mutating func link(_ fixup: Assembler.Fixup, _ target: Int) {
    guard let number = region.number(at: target) else {
      outward.append((fixup, target))
      return
    }
    if number < bodies.count {
      a.bind(fixup, to: bodies[number])
    } else {
      forward.append((fixup, number))
    }
  }

  /// Leaves to the run loop if something asks for attention.
  private mutating func poll(_ step: Region.Step, _ target: Int) {
    let live = region.number(at: target).map { region.steps[$0].liveBefore } ?? .all
    if !live.isEmpty { saveFlags() }
    a.arithmetic(.cmp, Field.at(Field.attention), constant: 0, .doubleword)
    stops.append(
      Stop(fixup: a.jump(if: .notZero), target: target, flags: live.isEmpty ? .dead : .saved))
    if !live.isEmpty { restoreFlags() }
  }

  private mutating func conditionalJump(_ step: Region.Step, _ condition: Condition, _ target: Int)
  {
    if target > step.offset, target < 4096 {
      let fixup = a.jump(if: condition)
      return link(fixup, target)
    }
    let isNot = a.jump(if: !condition)
    goOn(to: target, from: step)
    a.bind(isNot)
  }
}

extension Region.Step {
  /// Whether code after it goes on with the next instruction.
  var fallsThrough: Bool {
    switch meaning {
    // A foreign instruction's successor is entered by its gate.
    case .jump, .call, .jumpIndirect, .callIndirect, .returnNear, .foreign: false
    default: true
    }
  }
}
