import ArchitectureX86
import CProcessor

/// Turns decoded instructions into threaded code, one after the other, into a buffer of ops.
///
/// Each instruction's meaning is chosen in the extensions of this type, one file for each opcode map or
/// group. A memory operand of most instructions is a step of its own that loads it into a temporary; the
/// meaning itself then knows registers only.
struct Translator {
  private let ops: UnsafeMutablePointer<x86_op>
  private let capacity: Int
  private(set) var count = 0

  /// The instruction in hand, its place in its page, and that of the one after it.
  var i = Instruction(mode: .bits64)
  private(set) var offset: UInt16 = 0
  private(set) var next: UInt16 = 0

  /// What the decoded instruction does to the flow of code.
  enum Flow {
    case sequential
    /// Nothing falls through to the instruction after it.
    case ends
  }

  /// Room for every step of the longest instruction, and the op that follows a run.
  static let stepsPerInstruction = 8

  init(into ops: UnsafeMutablePointer<x86_op>, capacity: Int) {
    self.ops = ops
    self.capacity = capacity
  }

  var hasRoom: Bool { count <= capacity - 2 * Self.stepsPerInstruction }

  /// A comparison as the last step of an instruction, which a conditional jump may be paired with: the op's
  /// number, the kind (as in `comparePairs`) and the width.
  private var comparison: (op: Int, kind: Int, log2: Int)?

  /// Appends the steps of one instruction that lies at `offset` in its page.
  mutating func translate(_ instruction: Instruction, at offset: Int) -> Flow {
    i = instruction
    self.offset = UInt16(truncatingIfNeeded: offset)
    next = UInt16(truncatingIfNeeded: offset + Int(instruction.length))
    if i.vex != nil { return vex() }
    if i.hasLock && !permitsLock(i) || !isAnnounced { return undefined() }
    switch i.map {
    case .oneByte: return oneByte()
    case .twoByte: return twoByte()
    case .threeByte38: return threeByte38()
    case .threeByte3A: return threeByte3A()
    }
  }

  /// Whether vector and x87 instructions raise what CR0 and CR4 ask for instead of working.
  var vectorDisabled = false

  /// What of the page may be executed, if the code segment does not hold all of it.
  var codeBound: CodeBound?

  /// What the model announces; an instruction that it does not is undefined.
  var features = X86.Features.x86_64v2

  /// Appends a step outside any instruction, which continues at `offset`.
  mutating func appendLink(_ handler: Handler, at offset: Int) {
    self.offset = UInt16(truncatingIfNeeded: offset)
    next = self.offset
    emit(handler)
  }

  // MARK: - Steps

  mutating func emit(
    _ handler: Handler, d: UInt8 = Slot.zero, s: UInt8 = Slot.zero, immediate: UInt64 = 0,
    displacement: Int32 = 0, base: UInt8 = Slot.zero, index: UInt8 = Slot.zero, scale: UInt8 = 0,
    segment: UInt8 = Slot.zero, detail: UInt8 = 0, flags: UInt8 = 0
  ) {
    (ops + count).initialize(
      to: x86_op(
        run: handler, immediate: immediate, displacement: displacement, destination: d, source: s,
        base: base, index: index, scale: scale, segment: segment, detail: detail, flags: flags,
        offset: offset, next: next))
    count += 1
  }

  /// A step that addresses the instruction's memory operand.
  mutating func emit(
    _ handlers: MemoryHandlers, d: UInt8 = Slot.zero, s: UInt8 = Slot.zero,
    immediate: UInt64 = 0, detail: UInt8 = 0, displacedBy extra: Int32 = 0
  ) {
    let defaultSegment: UInt8 = i.base.map { $0 == 4 || $0 == 5 } ?? false ? 2 : 3
    let segment = i.segmentOverride ?? defaultSegment
    // In 64-bit mode overrides other than FS and GS count for nothing: SDM Vol. 1 §3.4.2.1.
    let isOnStack =
      i.mode == .bits64 ? defaultSegment == 2 && segment < 4 : segment == 2
    let isFlat = i.mode == .bits64 && i.addressSize == 2
    let handler =
      isFlat ? (segment < 4 ? handlers.flat : handlers.based) : handlers.segmented
    var displacement = i.displacement &+ extra
    var base = i.base.map(Slot.register) ?? Slot.zero
    if i.isRIPRelative {
      base = Slot.pageBase
      displacement = displacement &+ Int32(next)
    }
    emit(
      handler, d: d, s: s, immediate: immediate, displacement: displacement, base: base,
      index: i.index.map(Slot.register) ?? Slot.zero, scale: i.scale,
      segment: i.mode == .bits64 && segment < 4
        ? Slot.zero : Slot.segmentBase + segment * 8,
      detail: detail, flags: i.addressSize | (isOnStack ? operandIsOnStack : 0))
  }

  /// Takes back the steps from a number on.
  mutating func takeBack(to start: Int) { count = start }

  mutating func undefined() -> Flow {
    emit(raiseInvalidOpcode)
    return .ends
  }

  /// Appends a comparison: CMP or TEST, with a slot or a constant.
  mutating func emitComparison(
    _ handler: Handler, isTest: Bool, log2: Int, d: UInt8, s: UInt8? = nil, immediate: UInt64 = 0
  ) {
    comparison = (count, (isTest ? 2 : 0) + (s == nil ? 1 : 0), log2)
    emit(handler, d: d, s: s ?? Slot.zero, immediate: immediate)
  }

  /// Pairs the conditional jump that was just appended with the comparison before it, if there is one.
  mutating func pairWithComparison(condition: UInt8) {
    guard let comparison, comparison.op == count - 2,
      let handler = comparePairs[comparison.kind][comparison.log2][Int(condition)]
    else { return }
    ops[comparison.op].run = handler
  }

  // MARK: - Operands

  /// The slot of a general register; bytes 4 to 7 without REX are AH, CH, DH, BH (SDM Vol. 2A Table 3-1).
  func slot(_ number: UInt8, log2: Int) -> UInt8 {
    log2 == 0 && i.rex == 0 && number >= 4 && number < 8 ? (number - 4) * 8 + 1 : number * 8
  }

  func regSlot(_ log2: Int) -> UInt8 { slot(i.reg, log2: log2) }

  /// The slot that holds the r/m operand: its register, or a temporary after a load.
  mutating func rmSource(_ log2: Int, temporary: UInt8 = Slot.temporary) -> UInt8 {
    guard i.isMemory else { return slot(i.rm, log2: log2) }
    emit(Loads.plain[log2], d: temporary)
    return temporary
  }

  /// Wraps a step that changes the r/m operand: a memory operand is loaded, checked for writing first, and
  /// stored afterwards.
  mutating func modifyRM(_ log2: Int, _ step: (inout Translator, UInt8) -> Void) {
    guard i.isMemory else { return step(&self, slot(i.rm, log2: log2)) }
    emit(Loads.forModify[log2], d: Slot.temporary)
    step(&self, Slot.temporary)
    emit(modifyStore[log2], s: Slot.temporary)
  }

  /// Writes a slot to the r/m operand.
  mutating func storeRM(_ log2: Int, from slot: UInt8) {
    if i.isMemory {
      emit(Stores.plain[log2], s: slot)
    } else {
      emit(moves[log2], d: self.slot(i.rm, log2: log2), s: slot)
    }
  }
}

/// One handler for each way of addressing memory.
struct MemoryHandlers {
  let flat: Handler
  let based: Handler
  let segmented: Handler

  init(_ flat: Handler, _ based: Handler, _ segmented: Handler) {
    self.flat = flat
    self.based = based
    self.segmented = segmented
  }
}

let raiseInvalidOpcode: Handler = { cpu, op in raise(cpu, op, 6) }
