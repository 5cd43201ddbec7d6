#if arch(x86_64) && os(Linux)
  import ArchitectureX86
  import Kit

  @testable import SameISA
  @testable import X86Processor

  /// One instruction, run again and again by the host with operands that chance chooses, to find which of them it
  /// reads and which it writes.
  struct VectorTrial {
    private let instruction: VectorInstruction
    private let form: NativeForm
    private let host: VectorHost
    private var chance: Chance
    private var operands: [Named] = []
    private var flagsChanged: UInt64 = 0
    private var found: Set<String> = []

    /// Where an operand lies.
    fileprivate enum Place: Equatable {
      case vector(Int), general(Int), memory
    }

    /// An operand that a form speaks of.
    private struct Named {
      let name: String
      let place: Place
      let operand: NativeForm.Operand
      /// Whether other contents have led to another outcome, and whether its contents have become others.
      var hasCounted = false
      var hasChanged = false
    }

    /// Registers and memory, before the instruction or after it.
    fileprivate struct Machine: Equatable {
      var registers = VectorHostState()
      var memory = [UInt8](repeating: 0, count: 128)
    }

    /// Where memory lies in the page, and where in it the operand starts.
    fileprivate static let memoryStart = 1024
    fileprivate static let operandStart = 32

    init(_ instruction: VectorInstruction, _ form: NativeForm, _ host: VectorHost, seed: UInt64) {
      self.instruction = instruction
      self.form = form
      self.host = host
      chance = Chance(seed: seed)
      let all = [
        ("reg", VectorInstruction.reg, form.reg), ("rm", VectorInstruction.rm, form.rm),
        ("vvvv", Int(instruction.decoded.vex?.register ?? 0), form.vvvv),
      ]
      for (name, number, operand) in all where operand.bank != .none {
        let register: Place = operand.bank == .vector ? .vector(number) : .general(number)
        let isMemory = name == "rm" && instruction.decoded.isMemory
        operands.append(.init(name: name, place: isMemory ? .memory : register, operand: operand))
      }
    }

    /// What contradicts the form, once there were runs enough.
    var complaints: [String] { found.sorted() + unseen }

    /// Whether there is nothing against the form but that chance has not yet shown all that it says.
    var isUndecided: Bool { found.isEmpty && !unseen.isEmpty }

    private var unseen: [String] {
      var all: [String] = []
      for named in operands {
        if named.operand.isRead, !named.hasCounted { all.append("\(named.name) does not count") }
        if named.operand.isWritten, !named.hasChanged {
          all.append("\(named.name) is not written")
        }
      }
      if form.flagsWritten != [], flagsChanged == 0 { all.append("flags are not written") }
      return all
    }

    // MARK: - A run

    mutating func run() {
      guard chooseImmediate() else { return }
      let before = machine()
      guard let after = outcome(of: before) else { return }
      note(before, after)
      for index in operands.indices { vary(index, before, after) }
      varyFlags(before, after)
    }

    /// Loads the instruction with another immediate, if it has one and a form with that.
    private mutating func chooseImmediate() -> Bool {
      guard instruction.hasImmediate else {
        host.load(instruction.bytes)
        return true
      }
      var immediate = UInt8(truncatingIfNeeded: chance.next())
      // Often a count that shifts not everything out.
      if chance.number(below: 2) == 0 { immediate &= 0xf }
      // Not a register that is also another operand.
      if instruction.namesRegisterByImmediate { immediate = 0x50 | immediate & 0xf }
      for mask in [0xff, 0x1f, 0xf, 7] as [UInt8] {
        let other = instruction.replacing(immediate: immediate & mask)
        let max = X86.CPUModel.max.features
        if NativeForm.vector(other.decoded, guest: max, host: host.features) != nil {
          host.load(other.bytes)
          return true
        }
      }
      found.insert("there is no form with any immediate")
      return false
    }

    private mutating func outcome(of before: Machine) -> Machine? {
      var after = before
      let memory = host.memory + Self.memoryStart
      memory.copyMemory(from: before.memory, byteCount: before.memory.count)
      if let exception = host.run(&after.registers) {
        found.insert("raises \(exception)")
        return nil
      }
      after.memory.withUnsafeMutableBytes {
        $0.copyMemory(from: UnsafeRawBufferPointer(start: memory, count: $0.count))
      }
      return after
    }

    /// What changed must be what may.
    private mutating func note(_ before: Machine, _ after: Machine) {
      var allowed = before
      for index in operands.indices where operands[index].operand.isWritten {
        allowed.copy(operands[index].place, from: after, bytes: form.memoryBytes)
        if before.differs(from: after, at: operands[index].place) {
          operands[index].hasChanged = true
        }
      }
      for place in implied { allowed.copy(place, from: after, bytes: 0) }
      let flags = form.flagsWritten == [] ? 0 : VectorHostState.statusFlags
      allowed.registers.flags =
        before.registers.flags & ~flags | after.registers.flags & flags
      flagsChanged |= before.registers.flags ^ after.registers.flags
      if allowed != after { found.insert("something else changes") }
    }

    /// What an instruction writes without naming it: RCX or XMM0 by PCMPxSTRx, all vector registers by VZEROALL and
    /// VZEROUPPER.
    private var implied: [Place] {
      let i = instruction.decoded
      return switch (i.map, i.opcode) {
      case (.threeByte3A, 0x60), (.threeByte3A, 0x62): [.vector(0)]
      case (.threeByte3A, 0x61), (.threeByte3A, 0x63): [.general(1)]
      case (.twoByte, 0x77): (0..<16).map(Place.vector)
      default: []
      }
    }

    /// Runs with other contents of an operand, which may make a difference if it is read, and else may not.
    private mutating func vary(_ index: Int, _ before: Machine, _ after: Machine) {
      let (place, operand) = (operands[index].place, operands[index].operand)
      var other = before
      fill(place, of: &other)
      guard var outcome = outcome(of: other) else { return }
      if !operand.isWritten {
        outcome.copy(place, from: after, bytes: form.memoryBytes)
      } else if instruction.decoded.vex == nil, case .vector(let number) = place {
        // The upper half, which is always kept.
        for word in 2...3 {
          outcome.registers[vector: number, word] = after.registers[vector: number, word]
        }
      }
      guard outcome != after else { return }
      if operand.isRead {
        operands[index].hasCounted = true
      } else {
        found.insert("\(operands[index].name) is read")
      }
    }

    /// Runs with all status flags inverted: only those that it does not write may come out otherwise.
    private mutating func varyFlags(_ before: Machine, _ after: Machine) {
      var other = before
      other.registers.flags ^= VectorHostState.statusFlags
      guard var outcome = outcome(of: other) else { return }
      if form.flagsWritten == [] { outcome.registers.flags ^= VectorHostState.statusFlags }
      if outcome != after { found.insert("flags are read, or not always written") }
    }

    // MARK: - Contents

    private mutating func machine() -> Machine {
      var machine = Machine()
      for number in 0..<16 {
        fill(.vector(number), of: &machine)
        fill(.general(number), of: &machine)
      }
      fill(.memory, of: &machine)
      for index in Self.operandStart + form.memoryBytes..<machine.memory.count {
        machine.memory[index] = UInt8(truncatingIfNeeded: chance.next())
      }
      let base = host.memory + Self.memoryStart + Self.operandStart
      if instruction.decoded.isMemory {
        machine.registers[general: VectorInstruction.base] = UInt64(UInt(bitPattern: base))
      }
      // RSP and R15 are the test's own.
      machine.registers[general: 4] = 0
      machine.registers[general: 15] = 0
      machine.registers.flags = chance.next() & VectorHostState.statusFlags
      return machine
    }

    private mutating func fill(_ place: Place, of machine: inout Machine) {
      let kind = chance.number(below: 8)
      var words: [UInt64] = []
      for _ in 0..<4 { words.append(kind == 0 ? 0 : kind == 1 ? .max : element()) }
      switch place {
      case .vector(let number):
        for word in 0..<4 { machine.registers[vector: number, word] = words[word] }
      case .general(let number): machine.registers[general: number] = words[0]
      case .memory:
        for index in 0..<form.memoryBytes {
          machine.memory[Self.operandStart + index] = UInt8(
            truncatingIfNeeded: words[index / 8] >> UInt64(8 * (index % 8)))
        }
      }
    }

    /// Anything, small counts, numbers of either format, characters of a small alphabet.
    private mutating func element() -> UInt64 {
      let random = chance.next()
      switch chance.number(below: 6) {
      case 0: return random & 15
      case 1: return Double(Int64(truncatingIfNeeded: random & 0xffff) - 0x8000).bitPattern
      case 2:
        let low = Float(Int(random & 0xffff) - 0x8000) / 8
        let high = Float(Int(random >> 16 & 0xffff) - 0x8000) / 8
        return UInt64(low.bitPattern) | UInt64(high.bitPattern) << 32
      case 3: return random & 0x0303_0303_0303_0303
      case 4: return random | 0x8080_8080_8080_8080
      default: return random
      }
    }
  }

  extension VectorTrial.Machine {
    /// Takes over what is in one place.
    fileprivate mutating func copy(_ place: VectorTrial.Place, from other: Self, bytes: Int) {
      switch place {
      case .vector(let number):
        for word in 0..<4 {
          registers[vector: number, word] = other.registers[vector: number, word]
        }
      case .general(let number): registers[general: number] = other.registers[general: number]
      case .memory:
        let range = VectorTrial.operandStart..<VectorTrial.operandStart + bytes
        memory.replaceSubrange(range, with: other.memory[range])
      }
    }

    fileprivate func differs(from other: Self, at place: VectorTrial.Place) -> Bool {
      var copy = self
      copy.copy(place, from: other, bytes: memory.count - VectorTrial.operandStart)
      return copy != self
    }
  }
#endif
