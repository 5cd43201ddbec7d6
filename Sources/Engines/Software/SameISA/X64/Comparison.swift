import CProcessor
import Synchronization
import X86Processor

// Host code, checked against the interpreter while a guest runs. An op that has host code gets a gate of Swift's, which
// first lets the interpreter run the same instructions (`Rehearsal`), undoes them, runs the host code, and compares. What
// is compared at a time is a path through a region, forward only and to the region's end, so that it ends; host code that
// is compared jumps backward, or elsewhere, by way of the run loop.

/// A region whose host code is compared.
final class ComparedUnit {
  let region: Region
  let code: RehearsedCode
  /// The page that it lies in.
  let bytes: UnsafeRawPointer

  init(_ region: Region, _ page: HotPage, _ core: Core) {
    self.region = region
    bytes = page.bytes
    code = RehearsedCode(
      region.steps.map { ($0.offset, $0.decoded) }, for: core)
  }
}

/// What a translator's host code does, against what the interpreter does. One for a core, used on its thread.
final class Comparison {
  private unowned(unsafe) let core: Core
  private let gates: Gates
  private let record: ComparisonRecord
  private let rehearsal: Rehearsal
  private var entries: [UnsafePointer<x86_op>: Entry] = [:]

  private let start = ProcessorImage()
  private let interpreted = ProcessorImage()
  private let native = ProcessorImage()
  /// Numbers of the steps that the interpreter has gone through.
  private var path: [Int] = []
  /// Status flags that these steps leave undefined.
  private var undefined: StatusFlags = []
  /// Whether one of them looked at such a flag: then whatever follows may differ.
  private var readsUndefined = false

  /// An op by which a unit is entered.
  private struct Entry {
    let unit: ComparedUnit
    let number: Int
    let entry: UInt64
    let gate: UInt64
  }

  init(_ core: Core, gates: Gates, _ record: ComparisonRecord) {
    self.core = core
    self.gates = gates
    self.record = record
    rehearsal = Rehearsal(core)
  }

  func publish(
    _ op: UnsafePointer<x86_op>, of unit: ComparedUnit, at offset: Int, entry: UInt64, gate: UInt64
  ) {
    guard entries[op] == nil, let number = unit.region.number(at: offset) else { return }
    entries[op] = Entry(unit: unit, number: number, entry: entry, gate: gate)
    let kept = X86Processor.native(op)
    kept.pointee.handler = op.pointee.run
    // Who jumps there from host code leaves it.
    kept.pointee.entry = gates.leaving
    UnsafeMutablePointer(mutating: op).pointee.run = comparingGate
  }

  func forgetAll() { entries.removeAll() }

  // MARK: - Comparing

  /// How the core goes on after a comparison.
  struct Onward {
    let run: Handler
    let op: UnsafePointer<x86_op>
  }

  typealias Handler = @convention(c) (UnsafeMutablePointer<x86_cpu>, UnsafePointer<x86_op>) -> Void

  private enum Outcome {
    case alike(Onward)
    /// Nothing was done: the interpreter is to go on.
    case incomparable
    case different(ComparedDifference)
  }

  /// Compares host code from an op on, to which the interpreter has come.
  func compare(_ cpu: UnsafeMutablePointer<x86_cpu>, _ op: UnsafePointer<x86_op>) -> Onward {
    let kept = X86Processor.native(op)
    kept.pointee.comparisons += 1
    kept.pointee.countdown =
      record.isOver ? .max : kept.pointee.comparisons < record.first ? 1 : record.every
    let interpreter = Onward(run: kept.pointee.handler.unsafelyUnwrapped, op: op)
    guard !record.isOver, cpu.pointee.is_blind == 0, core.canRehearse, let entry = entries[op]
    else { return interpreter }
    cpu.pointee.rip = cpu.pointee.page_base &+ UInt64(op.pointee.offset)
    start.keep(cpu)
    switch attempt(entry, cpu, op) {
    case .alike(let onward): return onward
    case .incomparable:
      record.incomparable.add(1, ordering: .relaxed)
      return interpreter
    case .different:
      startAnew(cpu)
      switch attempt(entry, cpu, op) {
      case .alike(let onward):
        // Others write to memory too.
        record.disturbed.add(1, ordering: .relaxed)
        return onward
      case .incomparable: return interpreter
      case .different(let difference):
        startAnew(cpu)
        record.report(difference)
        return interpreter
      }
    }
  }

  private func startAnew(_ cpu: UnsafeMutablePointer<x86_cpu>) {
    rehearsal.undoWholePages()
    start.bringBack(cpu)
  }

  private func attempt(
    _ entry: Entry, _ cpu: UnsafeMutablePointer<x86_cpu>, _ op: UnsafePointer<x86_op>
  ) -> Outcome {
    rehearsal.begin()
    if !rehearse(entry, cpu) {
      // What cannot be undone, or faults, is the interpreter's: host code has to leave before it.
      rehearsal.undo()
      start.bringBack(cpu)
      let count = path.count
      guard count > 0 else { return .incomparable }
      guard rehearse(entry, cpu, count) else {
        return .different(describe(entry, "the interpreter did not do the same twice"))
      }
    }
    if readsUndefined {
      rehearsal.undo()
      start.bringBack(cpu)
      record.undefined.add(1, ordering: .relaxed)
      return .incomparable
    }
    interpreted.keep(cpu)
    rehearsal.keepResult()
    let end = path.count
    rehearsal.undo()
    start.bringBack(cpu)

    enter(entry, cpu, op)
    native.keep(cpu)
    let left = cpu.pointee.held.3
    let leftTo = UnsafePointer<x86_op>(bitPattern: UInt(left & ~1))
    let isHandler = left != 0 && left & 1 == 0
    if let leftTo { native.place(at: cpu.pointee.page_base &+ UInt64(leftTo.pointee.offset)) }

    let base = cpu.pointee.page_base
    let stopped =
      isHandler
      ? path.firstIndex {
        base &+ UInt64(entry.unit.region.steps[$0].offset) == native.rip
      } : nil
    if let stopped {
      // Host code has left a step to the interpreter that it could have done, perhaps.
      if let problem = needlessness(entry, stopped) {
        return .different(describe(entry, problem))
      }
      rehearsal.keepResult()
      rehearsal.undo()
      start.bringBack(cpu)
      guard rehearse(entry, cpu, stopped) else {
        return .different(describe(entry, "the interpreter did not do the same twice"))
      }
      interpreted.keep(cpu)
      record.early.add(1, ordering: .relaxed)
    }
    let seen = liveFlags(entry.unit, base)
    let live = seen & ~undefined.places
    guard native.isAlike(interpreted, live: live), !rehearsal.hasDifferences else {
      return .different(
        describe(entry, nil, live, memoryIsInterpreters: stopped != nil))
    }
    native.bringBack(cpu)
    if (native.flags ^ interpreted.flags) & seen != 0 {
      record.undefined.add(1, ordering: .relaxed)
    }
    record.units.add(1, ordering: .relaxed)
    record.instructions.add(stopped ?? end, ordering: .relaxed)
    guard let leftTo else { return .alike(Onward(run: returning, op: op)) }
    let run =
      isHandler
      ? X86Processor.native(leftTo).pointee.handler.unsafelyUnwrapped : leftTo.pointee.run
    return .alike(Onward(run: run, op: leftTo))
  }

  /// Lets the interpreter go along a unit, and notes the path.
  ///
  /// - Returns: whether it came to the unit's end, or did as many steps as it was to.
  private func rehearse(
    _ entry: Entry, _ cpu: UnsafeMutablePointer<x86_cpu>, _ limit: Int = .max
  ) -> Bool {
    let region = entry.unit.region
    let base = cpu.pointee.page_base
    var number = entry.number
    var isThrough = true
    path.removeAll(keepingCapacity: true)
    undefined = []
    readsUndefined = false
    rehearsal.run { execute in
      while path.count < limit {
        let step = region.steps[number]
        if step.isForeign { return }
        let shiftCount = UInt8(truncatingIfNeeded: cpu.pointee.registers.1)
        isThrough = execute(entry.unit.code.op(number))
        guard isThrough else { return }
        path.append(number)
        if !undefined.isDisjoint(with: step.meaning.flagsTaken) { readsUndefined = true }
        undefined.subtract(step.meaning.flags.written)
        undefined.formUnion(step.instruction.undefinedFlags(shiftCount: shiftCount))
        let offset = cpu.pointee.rip &- base
        guard offset < 4096, Int(offset) > step.offset, let next = region.number(at: Int(offset))
        else { return }
        number = next
      }
    }
    return isThrough && (limit == .max || path.count == limit)
  }

  private func enter(
    _ entry: Entry, _ cpu: UnsafeMutablePointer<x86_cpu>, _ op: UnsafePointer<x86_op>
  ) {
    let gate = unsafeBitCast(UInt(entry.gate), to: Handler.self)
    cpu.pointee.held.2 = entry.entry
    rehearsal.permitWrites { gate(cpu, op) }
  }

  /// The status flags that count where host code was left, at their places in RFLAGS.
  private func liveFlags(_ unit: ComparedUnit, _ base: UInt64) -> UInt64 {
    let offset = native.rip &- base
    guard offset < 4096, let number = unit.region.number(at: Int(offset)) else {
      return StatusFlags.all.places
    }
    return unit.region.steps[number].liveBefore.places
  }

  /// Why host code should have done a step that it has left to the interpreter.
  private func needlessness(_ entry: Entry, _ stopped: Int) -> String? {
    let step = entry.unit.region.steps[path[stopped]]
    // Of several that are done together, another may be why.
    guard step.count == 1 else { return nil }
    // Nor does its region's code run if an exception is not masked of what the region uses.
    let uses = entry.unit.region.uses
    guard uses.isEmpty || start.masksFloatingExceptions && !uses.contains(.x87) else { return nil }
    let bytes: Int
    switch step.meaning {
    case .plain(let form):
      guard form.alignment == 1 else { return nil }
      bytes = form.memoryBytes
    case .push, .pop, .leave: bytes = 8
    case .call(let target) where (0..<4096).contains(target): bytes = 8
    default: return nil
    }
    guard rehearsal.isPlain(step: stopped, bytes: bytes) else { return nil }
    return "host code left an instruction to the interpreter although all its memory was at hand"
  }
}

extension Meaning {
  /// Status flags on which it depends in host code.
  fileprivate var flagsTaken: StatusFlags {
    switch self {
    case .plain, .conditionalJump: flags.read
    default: []
    }
  }
}

extension StatusFlags {
  /// At their places in RFLAGS: SDM Vol. 1 §3.4.3.
  var places: UInt64 {
    let all: [(StatusFlags, UInt64)] = [
      (.carry, 1), (.parity, 4), (.auxiliary, 0x10), (.zero, 0x40), (.sign, 0x80),
      (.overflow, 0x800),
    ]
    return all.reduce(0) { contains($1.0) ? $0 | $1.1 : $0 }
  }
}

// MARK: - The gate

private let returning: Comparison.Handler = { _, _ in }

/// The handler of ops whose host code is compared: every time at first, then now and then.
private let comparingGate: Comparison.Handler = { cpu, op in
  let kept = native(op)
  if _fastPath(kept.pointee.countdown > 1) {
    kept.pointee.countdown &-= 1
    return kept.pointee.handler.unsafelyUnwrapped(cpu, op)
  }
  let onward = compare(cpu, op)
  return onward.run(cpu, onward.op)
}

@inline(never)
private func compare(
  _ cpu: UnsafeMutablePointer<x86_cpu>, _ op: UnsafePointer<x86_op>
) -> Comparison.Onward {
  let core = Unmanaged<Core>.fromOpaque(cpu.pointee.owner).takeUnretainedValue()
  let translator = unsafeDowncast(core.translator.unsafelyUnwrapped, to: SameISATranslator.self)
  return translator.compare(cpu, op)
}

// MARK: - What is told

extension Comparison {
  private func describe(
    _ entry: Entry, _ problem: String?, _ live: UInt64 = 0, memoryIsInterpreters: Bool = false
  ) -> ComparedDifference {
    let base = start.rip & ~0xfff
    let page = UnsafeRawBufferPointer(start: entry.unit.bytes, count: 4096)
    let mode = entry.unit.region.steps.first?.decoded.mode ?? .bits64
    let disassembler = Disassembler(mode: mode, features: core.features)
    func line(_ step: Region.Step) -> String {
      let address = base + UInt64(step.offset)
      let bytes = Array(page[step.offset..<step.next])
      let text = try? disassembler.disassemble(bytes, at: address).text
      let digits = bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
      return (address == native.rip ? "-> " : "   ") + "0x\(String(address, radix: 16)): "
        + digits.padded(to: 22) + (text ?? "not an instruction")
    }
    let steps = entry.unit.region.steps
    var instructions = path.map { line(steps[$0]) }
    // The one at which host code was left, or the interpreter stopped.
    if let next = path.last.flatMap({ last in
      interpreted.rip &- base < 4096
        ? entry.unit.region.number(at: Int(interpreted.rip &- base)) : last + 1
    }), steps.indices.contains(next), !path.contains(next) {
      instructions.append(line(steps[next]))
    }
    guard problem == nil else {
      return ComparedDifference(
        problem: problem ?? "", instructions: instructions, values: [], start: start.registers,
        leftAt: native.rip)
    }
    var values = interpreted.differences(native, live: live).map {
      ComparedDifference.Value(name: $0.name, interpreter: $0.value, hostCode: $0.other)
    }
    for found in rehearsal.differences {
      let (ours, theirs) =
        memoryIsInterpreters ? (found.present, found.kept) : (found.kept, found.present)
      func text(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: " ")
      }
      values.append(
        .init(
          name: "memory at physical 0x\(String(found.physical, radix: 16))",
          interpreter: text(ours), hostCode: text(theirs)))
    }
    return ComparedDifference(
      problem: "host code does something else than the interpreter", instructions: instructions,
      values: values, start: start.registers, leftAt: native.rip)
  }
}

extension String {
  fileprivate func padded(to width: Int) -> String {
    self + String(repeating: " ", count: Swift.max(1, width - count))
  }
}
