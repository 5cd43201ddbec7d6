#if arch(x86_64) && os(Linux)
  import ArchitectureX86
  import CProcessor
  import Kit
  import Testing

  @testable import SameISA
  @testable import X86Processor

  /// What forms say of vector instructions, against what the host's own processor does.
  @Suite(.serialized)
  struct VectorFormTests {
    private let host = VectorHost()
    private let forms: [(instruction: VectorInstruction, form: NativeForm)]

    init() {
      let features = host.features
      forms = VectorInstruction.all.compactMap { instruction in
        NativeForm.vector(instruction.decoded, guest: X86.CPUModel.max.features, host: features)
          .map { (instruction, $0) }
      }
    }

    private var onMemory: [(instruction: VectorInstruction, form: NativeForm)] {
      forms.filter { $0.instruction.decoded.isMemory && $0.form.memoryBytes > 0 }
    }

    /// Runs an instruction with its memory operand that far into the page.
    private func run(at offset: Int) -> VectorHost.Exception? {
      var state = VectorHostState()
      state[general: VectorInstruction.base] = UInt64(UInt(bitPattern: host.memory + offset))
      return host.run(&state)
    }

    private func report(_ complaints: [String], _ location: SourceLocation = #_sourceLocation) {
      for complaint in complaints.prefix(40) {
        Issue.record(Comment(rawValue: complaint), sourceLocation: location)
      }
    }

    @Test func `there are forms enough`() {
      #expect(forms.count > 500)
      #expect(onMemory.count > 250)
    }

    // MARK: - Memory

    @Test func `memory operands have as many bytes as forms say`() {
      var complaints: [String] = []
      for (instruction, form) in onMemory {
        host.load(instruction.bytes)
        let end = VectorHost.pageSize - form.memoryBytes
        let fault = VectorHost.Exception.pageFault(write: form.rm.isWritten)
        func expect(_ offset: Int, _ expected: VectorHost.Exception?) {
          let found = run(at: offset)
          if found != expected {
            complaints.append(
              "\(instruction) at \(offset): \(found as Any), not \(expected as Any)")
          }
        }
        expect(0, nil)
        expect(end, nil)
        // What must be aligned is as long as that, and so lies in the page or not.
        if form.alignment > 1, form.alignment != form.memoryBytes {
          complaints.append("\(instruction): aligned to another size than its own")
        }
        expect(end + form.alignment, fault)
        expect(-form.alignment, fault)
      }
      report(complaints)
    }

    @Test func `memory operands must be aligned where forms say so`() {
      var complaints: [String] = []
      for (instruction, form) in onMemory {
        host.load(instruction.bytes)
        for offset in [1, 2, 4, 8, 16, 32] {
          let found = run(at: 1024 + offset)
          let isAligned = offset % form.alignment == 0
          // AMD's processors take SHA's operands as they lie; the SDM has them aligned like SSE's.
          if found == nil, isAligned || isSHA(instruction.decoded) { continue }
          if found != .generalProtection || isAligned {
            complaints.append("\(instruction) + \(offset): \(found as Any)")
          }
        }
      }
      report(complaints)
    }

    private func isSHA(_ i: Instruction) -> Bool {
      switch (i.map, i.opcode) {
      case (.threeByte38, 0xc8...0xcd), (.threeByte3A, 0xcc): true
      default: false
      }
    }

    @Test func `memory operands are written where forms say so`() {
      host.setWritable(false)
      defer { host.setWritable(true) }
      var complaints: [String] = []
      for (instruction, form) in onMemory {
        host.load(instruction.bytes)
        let found = run(at: 1024)
        if found != (form.rm.isWritten ? .pageFault(write: true) : nil) {
          complaints.append("\(instruction): \(found as Any)")
        }
        if form.rm.isWritten, form.rm.isRead {
          complaints.append("\(instruction) is said to modify memory")
        }
      }
      report(complaints)
    }

    // MARK: - Registers

    /// How often each instruction runs with other operands; and at most, if something said of it does not show.
    private static let rounds = 48
    private static let mostRounds = 4000

    @Test func `operands are read and written as forms say, and nothing else is`() {
      var complaints: [String] = []
      for (number, (instruction, form)) in forms.enumerated() {
        var trial = VectorTrial(instruction, form, host, seed: UInt64(number))
        var rounds = 0
        while rounds < Self.rounds || rounds < Self.mostRounds && trial.isUndecided {
          trial.run()
          rounds += 1
        }
        complaints += trial.complaints.prefix(3).map { "\(instruction): \($0)" }
      }
      report(complaints)
    }

    // MARK: - Other readings

    @Test func `the interpreter defines whatever has a form`() {
      for (instruction, _) in forms {
        #expect(isDefined(instruction, .max), "\(instruction)")
      }
    }

    /// Models announce less and less; a form is there if the interpreter defines the instruction, and has one at all.
    @Test(arguments: X86.CPUModel.all)
    func `a model's forms are the instructions that it announces`(_ model: X86.CPUModel) {
      var complaints: [String] = []
      for (instruction, _) in forms {
        let form = NativeForm.vector(
          instruction.decoded, guest: model.features, host: host.features)
        if (form != nil) != isDefined(instruction, model) {
          complaints.append(
            "\(instruction) in \(model.name): \(form == nil ? "no form" : "a form")")
        }
        let onSuchHost = NativeForm.vector(
          instruction.decoded, guest: X86.CPUModel.max.features, host: model.features)
        if (onSuchHost == nil) != (form == nil) {
          complaints.append("\(instruction) on a host like \(model.name)")
        }
      }
      report(complaints)
    }

    /// Models as there are none, so that each instruction asks for all that the interpreter asks for.
    @Test func `no form is there without a feature that the interpreter asks for`() {
      var complaints: [String] = []
      for bit in 0..<32 as Range<UInt32> {
        for word in [\X86.Features.leaf1ECX, \.leaf1EDX, \.leaf7EBX, \.leaf7ECX] {
          var model = X86.CPUModel.max
          guard model.features[keyPath: word] >> bit & 1 != 0 else { continue }
          model.features[keyPath: word] &= ~(1 << bit)
          for (instruction, _) in forms where !isDefined(instruction, model) {
            let max = X86.CPUModel.max.features
            if NativeForm.vector(instruction.decoded, guest: model.features, host: max) != nil {
              complaints.append("\(instruction) in a model without bit \(bit)")
            }
            if NativeForm.vector(instruction.decoded, guest: max, host: model.features) != nil {
              complaints.append("\(instruction) on a host without bit \(bit)")
            }
          }
        }
      }
      report(complaints)
    }

    @Test func `what the interpreter alone does is known`() {
      let max = X86.CPUModel.max
      for instruction in VectorInstruction.all
      where isDefined(instruction, max) && !isLeftToInterpreter(instruction.decoded) {
        let form = NativeForm.vector(
          instruction.decoded, guest: max.features, host: max.features)
        #expect(form != nil, "\(instruction)")
      }
    }

    /// Instructions that are not on XMM and YMM registers, or that have no form on purpose.
    private func isLeftToInterpreter(_ i: Instruction) -> Bool {
      let isWideElement = i.vex?.isWide ?? false
      let isVEXW = i.vex?.isW ?? false
      switch i.map {
      case .oneByte: return true
      case .twoByte: break
      case .threeByte38:
        switch i.opcode {
        case 0x00...0x0b, 0x1c...0x1e: return i.mandatoryPrefix == 0  // MMX
        case 0x2c...0x2f, 0x8c, 0x8e: return i.vex != nil  // masked moves
        case 0x99...0xbf: return isWideElement && i.opcode & 1 != 0 && i.opcode & 0xf > 8
        case 0xf0...0xf7: return true  // general registers
        default: return false
        }
      case .threeByte3A:
        switch i.opcode {
        case 0x0a, 0x0b: return isWideElement
        case 0x0f: return i.mandatoryPrefix == 0  // MMX
        case 0x14, 0x15, 0x20, 0x60...0x63: return isVEXW
        case 0xf0: return true  // RORX
        default: return false
        }
      }
      let isElement = i.mandatoryPrefix & 0xf0 == 0xf0
      switch i.opcode {
      case 0x10, 0x11, 0x51...0x53, 0x58, 0x59, 0x5a, 0x5c...0x5f, 0xc2:
        return isWideElement && isElement
      case 0x2e, 0x2f: return isWideElement
      case 0x2a, 0x2c, 0x2d: return !isElement || isWideElement  // MMX's without F3 and F2
      case 0x12...0x17, 0x28, 0x29, 0x2b, 0x50, 0x54...0x57, 0x5b, 0xc6: return false
      case 0x60...0x7f, 0xd0...0xf6, 0xf8...0xfe:
        return i.vex == nil && (i.mandatoryPrefix == 0 || isElement && i.opcode == 0xd6)  // MMX
      case 0xc4, 0xc5: return i.vex == nil ? i.mandatoryPrefix == 0 : isVEXW
      case 0xf7: return true  // masked moves
      default: return i.vex == nil  // general registers
      }
    }

    private func isDefined(_ instruction: VectorInstruction, _ model: X86.CPUModel) -> Bool {
      withUnsafeTemporaryAllocation(of: x86_op.self, capacity: 32) { ops in
        var translator = Translator(into: ops.baseAddress!, capacity: 32)
        translator.features = model.features
        if case .sequential = translator.translate(instruction.decoded, at: 0) { return true }
        return false
      }
    }

    @Test func `prefixes that do not belong have no form`() {
      for (instruction, _) in forms {
        let bytes = instruction.bytes
        let isVEX = instruction.decoded.vex != nil
        // LOCK and a short address, before all else; 66 beside F2 and F3; all of them and REX before VEX.
        var strange: [[UInt8]] = [[0xf0] + bytes, [0x67] + bytes]
        if isVEX { strange += [0x66, 0xf2, 0xf3, 0x48].map { [$0] + bytes } }
        if instruction.decoded.repeatPrefix != 0 { strange.append([0x66] + bytes) }
        for bytes in strange {
          guard let other = VectorInstruction(bytes) else { continue }
          let form = NativeForm.vector(
            other.decoded, guest: X86.CPUModel.max.features, host: host.features)
          #expect(form == nil, "\(other)")
        }
      }
    }
  }
#endif
