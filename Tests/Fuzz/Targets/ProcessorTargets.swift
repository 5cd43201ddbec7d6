import ArchitectureX86
import Board
import Execution
import InterruptControllers
import Kit
import Memory
import Work
import X86Processor

extension FuzzTarget {
  /// Bytes in each mode, for each model: whatever they are, they have a length or none, and as many as they have are
  /// enough.
  static let decoder = FuzzTarget("decoder") { input in
    var script = Script(input)
    let mode = CodeMode(rawValue: UInt32(script.pick(3)))!
    let model = X86.CPUModel.all[script.pick(X86.CPUModel.all.count)]
    let disassembler = Disassembler(mode: mode, model: model)
    let bytes = script.rest()
    var position = 0
    while position < bytes.count {
      let rest = Array(bytes[position...])
      guard let found = try? disassembler.disassemble(rest, at: UInt64(position)) else {
        position += 1
        continue
      }
      require((1...15).contains(found.length), "an instruction has 1 to 15 bytes")
      let own = Array(rest.prefix(found.length))
      require(
        (try? disassembler.disassemble(own, at: UInt64(position))) == found,
        "\(found.text) does not depend on what follows")
      for count in 0..<found.length {
        do throws(DisassemblyError) {
          _ = try disassembler.disassemble(Array(own.prefix(count)))
          fatalError("Broken: \(found.text) needs all of its bytes")
        } catch {
          require(error == .truncated, "\(found.text) is cut short at \(count)")
        }
      }
      position += found.length
    }
  }

  /// A processor in any state, with any tables, runs any code: one instruction at a time, each decoded anew; and, where
  /// that comes to an end, all at once as threaded code, which must leave the same.
  static let processor = FuzzTarget("processor") { input in
    var script = Script(input)
    let setting = ProcessorSetting(&script)
    if let run = setting.runAlone(), run.isComparable { setting.runThreaded(asIn: run) }
  }
}

extension ProcessorSetting {
  /// What instructions, one by one, have left.
  struct Run {
    var state: X86.State
    var memory: GuestMemory
    /// Whether it ended, and nothing was done on the way of which threaded code may know more or less.
    var isComparable: Bool
  }

  /// `nil` if no processor can be in the state.
  func runAlone() -> Run? {
    let memory = makeMemory()
    let emulator = InstructionEmulator(
      index: 0, processors: 2, memory: memory, model: model, clock: ManualClock())
    var buses = makeBuses()
    var run = Run(state: state, memory: memory, isComparable: true)
    for step in 0..<Self.steps {
      run.isComparable = run.isComparable && run.state.debug[5] & 0xff == 0
      let outcome: InstructionEmulator.Outcome
      do throws(StateError) {
        outcome = try emulator.execute(run.state, &buses)
      } catch {
        require(step == 0, "a processor does not get into an impossible state: \(error)")
        return nil
      }
      require(outcome.instruction.all.count <= 15, "no instruction has more than 15 bytes")
      require(
        outcome.isTripleFault == (outcome.state.activity == .shutdown),
        "a triple fault shuts the processor down")
      // A repeated instruction that ends early is read anew, and may have overwritten itself.
      if outcome.state.rip == run.state.rip { run.isComparable = false }
      run.state = outcome.state
      if outcome.hasChangedAPIC || !outcome.messages.isEmpty || outcome.instruction.isExcepted {
        run.isComparable = false
      }
      if run.state.activity != .active {
        return run
      }
    }
    run.isComparable = false
    return run
  }

  func runThreaded(asIn run: Run) {
    guard let left = runThreaded(prepare: { _ in }, asIn: run) else { return }
    compare(left.state, left.memory, with: run)
  }

  /// What threaded code has left; `nil` if it may know less of tables than what runs one by one.
  ///
  /// - Parameter prepare: gets the core before it runs.
  func runThreaded(
    prepare: (Core) -> Void, asIn run: Run
  ) -> (state: X86.State, memory: GuestMemory)? {
    let memory = makeMemory()
    // A translation may be kept for as long as nobody says that it has changed.
    guard hasSameTables(memory, run.memory) else { return nil }
    let surroundings = Surroundings()
    let clock = ManualClock()
    let apics = LocalAPICs(
      processors: 1, clock: clock, loop: ManualLoop(), tscFrequency: model.tscFrequency,
      attention: surroundings, physicalAddressBits: model.physicalAddressBits)
    let core = Core(index: 0, memory: memory, apic: apics[0], model: model, clock: clock)
    surroundings.core = core
    core.neighbours = surroundings
    memory.watchedLines.watcher = surroundings
    core.becomeCurrent()
    var buses = makeBuses()
    do throws(StateError) {
      try core.restore(state)
    } catch {
      fatalError("Broken: what one core takes, another takes: \(error)")
    }
    prepare(core)
    _ = core.run(&buses)
    return (core.state, memory)
  }

  func compare(_ left: X86.State, _ memory: GuestMemory, with run: Run) {
    var left = left
    left.apic = run.state.apic
    require(
      left == run.state,
      "threaded code leaves what instructions leave: \(left.differences(from: run.state))")
    let (ours, theirs) = (bytes(of: memory), bytes(of: run.memory))
    require(
      areAlike(ours, theirs),
      "threaded code stores what instructions store, but at \(ours.indices.filter { ours[$0] != theirs[$0] })"
    )
  }
}

extension X86.State {
  fileprivate func differences(from other: X86.State) -> String {
    let ours = Mirror(reflecting: self).children
    let theirs = Mirror(reflecting: other).children
    return zip(ours, theirs).compactMap { a, b in
      if let mine = a.value as? [UInt8], let other = b.value as? [UInt8] {
        let places = zip(mine, other).enumerated().filter { $1.0 != $1.1 }
        return places.isEmpty
          ? nil
          : "\(a.label ?? "") at "
            + places.map { "\($0): \($1.0), not \($1.1)" }.joined(separator: ", ")
      }
      let (a, b) = ("\(a.label ?? "") \(a.value)", "\(b.value)")
      return a.hasSuffix(" " + b) ? nil : "\(a), not \(b)"
    }.joined(separator: "; ")
  }
}

extension InstructionBytes {
  /// What threaded code need not do alike: RDRAND and RDSEED; and instructions that store the selectors of the last x87
  /// instruction and its operand, which a state does not hold: FNSTENV, FNSAVE, FXSAVE, XSAVE, XSAVEOPT, XSAVEC, XSAVES.
  fileprivate var isExcepted: Bool {
    let bytes = all
    return bytes.indices.dropLast().contains {
      let modrm = bytes[$0 + 1]
      let (isRegister, digit) = (modrm >= 0xc0, modrm >> 3 & 7)
      return switch bytes[$0] {
      case 0xd9, 0xdd: !isRegister && digit == 6
      case 0xae: !isRegister && [0, 4, 6].contains(digit)
      case 0xc7: isRegister ? digit >= 6 : digit >= 4
      default: false
      }
    }
  }
}

/// What a core needs around it: whoever would let it sleep makes it return instead.
private final class Surroundings: CoreNeighbours, ProcessorAttention, MemoryWatcher,
  @unchecked Sendable
{
  // Sendable although `core` varies: all of it is one thread's.
  unowned(unsafe) var core: Core?

  func pageWatched(page: Int, physical: UInt64, by core: Core) {}
  func haveAllHeard(_ announcements: UInt64) -> Bool { true }
  func sleep(_ core: Core) { core.kick() }
  func wake(_ core: Core) {}
  func attend(_ processor: Int) { core?.attend() }
  func watchedLinesChanged(page: Int) { core?.noteCodeChanged(page: page) }
}
