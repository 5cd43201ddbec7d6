import CProcessor
import X86Processor

// The stack, and jumps that lead out of the page or whose target is only known when they are taken. Those ask the jump
// cache of the interpreter. A jump that it does not know is left to the interpreter, which does all of it: what was
// stored before is stored again.

extension Emitter {
  private var stack: Register { .r15 }

  // MARK: - PUSH, POP, LEAVE

  /// The host address of what lies at the guest's stack pointer plus `displacement`, in `scratch`.
  private mutating func stackAddress(
    _ displacement: Int, bytes: Int, write: Bool
  ) -> Assembler.Fixup {
    a.loadAddress(scratch, Address(stack, displacement), width)
    return check(bytes: bytes, write: write)
  }

  private mutating func saveLiveFlags(_ step: Region.Step) -> Gates.Flags {
    guard !step.liveBefore.isEmpty else { return .dead }
    saveFlags()
    return .saved
  }

  mutating func push(_ step: Region.Step, _ source: Meaning.PushSource) {
    if case .register(let register) = source { return push(step, [register]) }
    let flags = saveLiveFlags(step)
    var slow: [Assembler.Fixup] = []
    if case .memory = source {
      slow += checkedAddress(step, bytes: wordBytes, write: false)
      a.load(scratch, Address(scratch), width)
      a.store(Field.at(Field.held), scratch)
    }
    slow.append(stackAddress(-wordBytes, bytes: wordBytes, write: true))
    if case .constant(let value) = source {
      a.storeConstant(Address(scratch), value, width)
    } else {
      a.load(scratch2, Field.at(Field.held))
      a.store(Address(scratch), scratch2, width)
    }
    moveStack(by: -wordBytes)
    if flags == .saved { restoreFlags() }
    addSlowPath(slow, step, flags)
  }

  /// Pushes registers, the first of them first.
  mutating func push(_ step: Region.Step, _ registers: [UInt8]) {
    let flags = saveLiveFlags(step)
    let bytes = wordBytes * registers.count
    let slow = stackAddress(-bytes, bytes: bytes, write: true)
    for (number, register) in registers.enumerated() {
      let place = Address(scratch, bytes - wordBytes * (number + 1))
      if let host = host(register) {
        a.store(place, host, width)
      } else {
        a.load(scratch2, slot(register))
        a.store(place, scratch2, width)
      }
    }
    moveStack(by: -bytes)
    if flags == .saved { restoreFlags() }
    addSlowPath([slow], step, flags)
  }

  /// Pops registers, the first of them first.
  mutating func pop(_ step: Region.Step, _ registers: [UInt8]) {
    let flags = saveLiveFlags(step)
    let bytes = wordBytes * registers.count
    let slow = stackAddress(0, bytes: bytes, write: false)
    moveStack(by: bytes)
    for (number, register) in registers.enumerated() {
      let place = Address(scratch, wordBytes * number)
      if let host = host(register) {
        a.load(host, place, width)
      } else {
        a.load(scratch2, place, width)
        a.store(slot(register), scratch2)
      }
    }
    if flags == .saved { restoreFlags() }
    addSlowPath([slow], step, flags)
  }

  mutating func leaveFrame(_ step: Region.Step) {
    let flags = saveLiveFlags(step)
    a.move(scratch, .rbp, width)
    let slow = check(bytes: wordBytes, write: false)
    a.loadAddress(stack, Address(.rbp, wordBytes), width)
    a.load(.rbp, Address(scratch), width)
    if flags == .saved { restoreFlags() }
    addSlowPath([slow], step, flags)
  }

  // MARK: - CALL, RET, indirect JMP

  mutating func call(_ step: Region.Step, _ target: Int) {
    guard (0..<4096).contains(target) else {
      saveFlags()
      a.load(scratch, Field.at(Field.pageBase))
      a.loadAddress(scratch, Address(scratch, target), width)
      return dispatch(step, [], .call)
    }
    let live = region.number(at: target).map { region.steps[$0].liveBefore } ?? .all
    if !live.isEmpty { saveFlags() }
    let slow = pushReturnAddress(step)
    moveStack(by: -wordBytes)
    if !live.isEmpty { restoreFlags() }
    addSlowPath([slow], step, live.isEmpty ? .dead : .saved)
    goOn(to: target, from: step)
  }

  /// Stores the address after the step below the stack pointer, which stays.
  private mutating func pushReturnAddress(_ step: Region.Step) -> Assembler.Fixup {
    let slow = stackAddress(-wordBytes, bytes: wordBytes, write: true)
    a.load(scratch2, Field.at(Field.pageBase))
    a.loadAddress(scratch2, Address(scratch2, step.next))
    a.store(Address(scratch), scratch2, width)
    return slow
  }

  private mutating func moveStack(by distance: Int) {
    a.loadAddress(stack, Address(stack, distance), width)
  }

  mutating func callIndirect(_ step: Region.Step) {
    saveFlags()
    let slow = loadTarget(step)
    dispatch(step, slow, .call)
  }

  mutating func jumpIndirect(_ step: Region.Step) {
    saveFlags()
    let slow = loadTarget(step)
    dispatch(step, slow, .jump)
  }

  /// What ModRM.rm holds, in `scratch`.
  private mutating func loadTarget(_ step: Region.Step) -> [Assembler.Fixup] {
    let i = step.instruction
    if i.isMemory {
      let slow = checkedAddress(step, bytes: wordBytes, write: false)
      a.load(scratch, Address(scratch), width)
      return slow
    }
    if let host = host(i.rm) { a.move(scratch, host, width) } else { a.load(scratch, slot(i.rm)) }
    return []
  }

  mutating func returnNear(_ step: Region.Step, releasing count: Int) {
    saveFlags()
    let slow = stackAddress(0, bytes: wordBytes, write: false)
    a.load(scratch, Address(scratch), width)
    dispatch(step, [slow], .returnNear(count))
  }

  /// Goes on in another page.
  mutating func goAway(to target: Int, from step: Region.Step) {
    saveFlags()
    a.load(scratch, Field.at(Field.pageBase))
    a.loadAddress(scratch, Address(scratch, target), width)
    if case .jump = step.meaning { return dispatch(step, [], .jump) }
    if case .conditionalJump = step.meaning { return dispatch(step, [], .jump) }
    // Behind the last instruction of a page: the run loop knows the way where the jump cache does not.
    dispatch(step, [], .jump, orAt: target)
  }

  /// What a jump does to the stack.
  enum Transfer {
    case jump
    case call
    case returnNear(Int)
  }

  /// Goes on at the linear address in `scratch` if the jump cache knows it; flags are saved.
  ///
  /// - Parameters:
  ///   - slow: jumps to take where the step is left to the interpreter.
  ///   - transfer: what it does to the stack then.
  ///   - target: where the run loop is to go on, if the step is done already.
  private mutating func dispatch(
    _ step: Region.Step, _ slow: [Assembler.Fixup], _ transfer: Transfer, orAt target: Int? = nil
  ) {
    var slow = slow
    func entry(_ distance: Int) -> Address {
      Address(.rsp, index: scratch2, Field.jumps + distance)
    }
    a.move(scratch2, scratch)
    a.shift(.right, scratch2, 12)
    a.arithmetic(.xor, scratch2, scratch, .doubleword)
    a.arithmetic(.and, scratch2, constant: Int32(X86_JUMP_ENTRIES - 1), .doubleword)
    a.shift(.left, scratch2, 5, .doubleword)
    a.arithmetic(.cmp, scratch, entry(0))
    slow.append(a.jump(if: .notZero))
    a.load(scratch, entry(8))
    a.arithmetic(.cmp, scratch, Field.at(Field.codeKey))
    let isKnown = a.jump(if: .zero)
    a.arithmetic(.cmp, scratch, Field.at(Field.codeKeyGlobal))
    slow.append(a.jump(if: .notZero))
    a.bind(isKnown)
    a.arithmetic(.cmp, Field.at(Field.attention), constant: 0, .doubleword)
    slow.append(a.jump(if: .notZero))
    a.load(scratch, entry(0))
    if case .call = transfer {
      // All that can fail comes before anything changes.
      a.load(scratch2, entry(16))
      a.store(Field.at(Field.held), scratch)
      a.store(Field.at(Field.held + 8), scratch2)
      slow.append(pushReturnAddress(step))
      a.load(scratch, Field.at(Field.held))
      a.load(scratch2, Field.at(Field.held + 8))
      moveStack(by: -wordBytes)
    } else {
      a.load(scratch2, entry(16))
    }
    if case .returnNear(let count) = transfer { moveStack(by: wordBytes + count) }
    a.arithmetic(.and, scratch, constant: -4096)
    a.store(Field.at(Field.pageBase), scratch)
    a.jump(through: Address(scratch2, Field.native))
    guard let target else { return addSlowPath(slow, step, .saved) }
    for fixup in slow { a.bind(fixup) }
    leaveToLoop(at: target, .saved)
  }
}
