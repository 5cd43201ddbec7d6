import ArchitectureX86
import CProcessor
import X86Processor

/// Instructions of one page that are translated together: those which can be reached from one of them by jumps that
/// stay in the page, as far as the interpreter has decoded them.
struct Region {
  struct Step {
    let offset: Int
    /// As it stands in the page.
    let decoded: Instruction
    /// The instruction of 64-bit mode that does the same, or itself.
    let instruction: Instruction
    let meaning: Meaning
    let op: UnsafePointer<x86_op>
    /// Status flags that somebody may look at before they are written again: before the instruction, and after it.
    var liveBefore: StatusFlags = .all
    var liveAfter: StatusFlags = .all

    /// How many steps that push registers, or pop them, are done together, from this one on.
    var count = 1

    var next: Int { offset + Int(instruction.length) }

    var isForeign: Bool {
      if case .foreign = meaning { true } else { false }
    }
  }

  /// In the order of their offsets.
  private(set) var steps: [Step] = []
  /// The number of the step at an offset.
  private var numbers: [Int: Int] = [:]
  /// What the code of every step takes to be in the host's registers.
  private(set) var uses: HostState = []

  static let mostSteps = 400

  /// A region of nothing.
  init() {}

  /// Collects the region of an instruction.
  ///
  /// - Parameter isDone: whether there is host code of an offset already.
  init(
    _ page: HotPage, from start: Int, guest: X86.Features, host: X86.Features,
    isExact: Bool, isDone: (Int) -> Bool
  ) {
    let bytes = UnsafeRawBufferPointer(start: page.bytes, count: 4096)
    var waiting = [start]
    while let offset = waiting.popLast(), steps.count < Self.mostSteps {
      guard (0..<4096).contains(offset), numbers[offset] == nil, !isDone(offset),
        let op = page.op(at: offset), !isUndefined(op),
        let decoded = try? Decoder.decode(
          UnsafeRawBufferPointer(rebasing: bytes[offset...]), mode: page.variant.mode)
      else { continue }
      let i = page.variant.isFlat ? decoded.in64BitMode : decoded
      let meaning =
        i.map {
          Meaning(
            $0, next: offset + Int($0.length), vectors: !page.variant.isVectorDisabled,
            guest: guest, host: host)
        } ?? .foreign
      let step = Step(
        offset: offset, decoded: decoded, instruction: i ?? decoded, meaning: meaning, op: op)
      numbers[offset] = steps.count
      steps.append(step)
      // What follows is looked at first: it is likelier to run.
      switch step.meaning {
      case .jump(let target): waiting.append(target)
      case .conditionalJump(_, let target):
        waiting.append(target)
        waiting.append(step.next)
      case .call(let target):
        waiting.append(step.next)
        waiting.append(target)
      case .jumpIndirect, .returnNear: break
      default: waiting.append(step.next)
      }
      if case .plain(let form) = step.meaning { uses.formUnion(form.uses) }
    }
    steps.sort { $0.offset < $1.offset }
    for (number, step) in steps.enumerated() { numbers[step.offset] = number }
    if !isExact { findLiveFlags() }
    findRuns()
  }

  /// Registers that are pushed one after the other are so with one check, and so are those that are popped; unless
  /// somebody jumps into their midst. Those behind the first have no host code of their own.
  private mutating func findRuns() {
    var targets: Set<Int> = []
    for (number, step) in steps.enumerated() {
      switch step.meaning {
      case .jump(let target), .conditionalJump(_, let target), .call(let target):
        targets.insert(target)
      default: break
      }
      // Instructions may overlap.
      if number + 1 == steps.count || steps[number + 1].offset != step.next {
        targets.insert(step.next)
      }
    }
    var number = 0
    while number < steps.count {
      var count = 1
      while count < 8, number + count < steps.count,
        steps[number + count - 1].next == steps[number + count].offset,
        !targets.contains(steps[number + count].offset),
        steps[number].meaning.isAlike(steps[number + count].meaning)
      {
        count += 1
      }
      steps[number].count = count
      number += count
    }
  }

  func number(at offset: Int) -> Int? { numbers[offset] }

  /// Status flags are live before an instruction if it reads them, or leaves alone what is live after it. What runs
  /// outside the region reads them all.
  private mutating func findLiveFlags() {
    for number in steps.indices { steps[number].liveBefore = [] }
    var hasChanged = true
    while hasChanged {
      hasChanged = false
      for number in steps.indices.reversed() {
        let step = steps[number]
        let after: StatusFlags
        switch step.meaning {
        case .jump(let target), .call(let target): after = live(at: target)
        case .conditionalJump(_, let target): after = live(at: target).union(live(at: step.next))
        case .jumpIndirect, .callIndirect, .returnNear: after = .all
        default: after = live(at: step.next)
        }
        let flags = step.meaning.flags
        let before = flags.read.union(after.subtracting(flags.written))
        if before != step.liveBefore || after != step.liveAfter {
          steps[number].liveBefore = before
          steps[number].liveAfter = after
          hasChanged = true
        }
      }
    }
  }

  private func live(at offset: Int) -> StatusFlags {
    numbers[offset].map { steps[$0].liveBefore } ?? .all
  }
}
