import ArchitectureX86
import Foundation
import Kit
import Testing

@testable import X86Processor

/// What instructions are called, against the GNU disassembler where the host has one, and against the translator.
struct DisassemblerTests {
  private static let modes: [CodeMode] = [.bits64, .bits32, .bits16]
  private static let model = X86.CPUModel.all.last!

  private func text(
    _ bytes: [UInt8], _ mode: CodeMode = .bits64, at address: UInt64 = 0,
    _ model: X86.CPUModel = Self.model
  ) -> String {
    do throws(DisassemblyError) {
      return try Disassembler(mode: mode, model: model).disassemble(bytes, at: address).text
    } catch {
      return "\(error)"
    }
  }

  @Test func `operands are named as the manual names them`() {
    #expect(text([0x48, 0xff, 0xc0]) == "inc rax")
    #expect(text([0x0f, 0x0b]) == "ud2")
    #expect(text([0xf0, 0x01, 0x03]) == "lock add dword ptr [rbx], eax")
    #expect(text([0xf0, 0x01, 0xc3]) == "undefined")
    #expect(text([0xf3, 0xa4]) == "rep movsb")
    #expect(text([0x64, 0x8b, 0x44, 0x8d, 0xf8]) == "mov eax, dword ptr fs:[rbp + rcx*4 - 0x8]")
    #expect(text([0x8b, 0x05, 0x10, 0, 0, 0]) == "mov eax, dword ptr [rip + 0x10]")
    #expect(text([0xeb, 0xfe], at: 0x1000) == "jmp 0x1000")
    #expect(text([0x8a, 0x26, 0x34, 0x12], .bits16) == "mov ah, byte ptr [0x1234]")
    #expect(text([0x8b, 0x42, 0xff], .bits16) == "mov ax, word ptr [bp + si - 0x1]")
    #expect(text([0xc5, 0xec, 0x58, 0xd9]) == "vaddps ymm3, ymm2, ymm1")
    #expect(text([0xc5, 0xec, 0x58, 0xd9], .bits64, at: 0, .x86_64v2) == "undefined")
    #expect(text([0x66, 0x0f, 0x71, 0xd1, 4]) == "psrlw xmm1, 0x4")
    #expect(text([0xd8, 0xc3]) == "fadd st(0), st(3)")
    #expect(text([0x27], .bits32) == "daa")
    #expect(text([0x27]) == "undefined")
    #expect(text([0x48]) == "truncated")
    #expect(text([UInt8](repeating: 0x66, count: 16)) == "tooLong")
  }

  // MARK: - Every encoding there is

  private struct Encoding {
    var bytes: [UInt8]
    var instruction: Instruction
  }

  /// Encodings of each opcode, with what may choose among instructions: prefixes, ModRM, VEX.
  private func encodings(_ mode: CodeMode, _ body: (Encoding) -> Void) {
    var random = SeededNumbers(seed: 11)
    var starts: [[UInt8]] = []
    for map in [[], [0x0f], [0x0f, 0x38], [0x0f, 0x3a]] as [[UInt8]] {
      let prefixes: [[UInt8]] =
        [[], [0x66], [0xf3], [0xf2], [0x66, 0xf2]] + (map.isEmpty ? [[0xf0], [0x67]] : [])
      for prefix in prefixes {
        starts.append(prefix + map)
        if mode == .bits64 { starts += [prefix + [0x48] + map, prefix + [0x45] + map] }
      }
    }
    for map in 1...3 as ClosedRange<UInt8> {
      for last in 0..<32 as Range<UInt8> {
        // VEX.vvvv names none, or register 2; both lengths; each prefix; W.
        let vvvv: UInt8 = last & 8 == 0 ? 0x78 : 0x68
        starts.append([0xc4, 0xe0 | map, last << 3 & 0x80 | vvvv | last & 7])
      }
    }
    for start in starts {
      for opcode in 0...255 as ClosedRange<UInt8> {
        for index in 0..<256 {
          let modRM = UInt8(index)
          // Each digit with memory, in one shape or another, and with a register; where ModRM is more of the
          // opcode, all.
          let isOpcode = start.count < 2 && (0xd8...0xdf ~= opcode || opcode == 0x01)
          let shape: UInt8 = opcode & 1 == 0 ? 0x04 : 0x40
          guard modRM >= 0xc0 ? isOpcode || modRM & 7 == opcode & 1 : modRM & 0xc7 == shape else {
            continue
          }
          let tail = (0..<11).map { _ in UInt8(truncatingIfNeeded: random.next()) }
          let bytes = start + [opcode, modRM] + tail
          let decoded = bytes.withUnsafeBytes { try? Decoder.decode($0, mode: mode) }
          // Not where the opcode was one more prefix.
          guard let decoded, decoded.opcode == opcode, decoded.length > start.count else {
            continue
          }
          body(Encoding(bytes: Array(bytes[..<Int(decoded.length)]), instruction: decoded))
          // Without ModRM one is enough.
          if !OpcodeFormat.hasModRM(decoded) { break }
        }
      }
    }
  }

  @Test(arguments: modes)
  func `whatever the translator carries out has a name`(_ mode: CodeMode) {
    let disassembler = Disassembler(mode: mode, model: Self.model)
    var nameless: Set<String> = []
    encodings(mode) { encoding in
      let i = encoding.instruction
      guard InstructionTable.all.row(of: i) == nil, disassembler.isDefined(i), !isUndefinedX87(i)
      else { return }
      nameless.insert(encoding.bytes.prefix(6).map { String($0, radix: 16) }.joined(separator: " "))
    }
    #expect(nameless.isEmpty)
  }

  /// An encoding among D8 to DF of which the FPU itself says that it is none.
  private func isUndefinedX87(_ i: Instruction) -> Bool {
    guard i.map == .oneByte, 0xd8...0xdf ~= i.opcode else { return false }
    let instruction = X87Instruction(opcode: i.opcode, modrm: i.modRM)
    if i.isMemory { return instruction.memoryOperand == .undefined }
    var state = X87State.initial
    return state.execute(instruction).effect == .undefinedOpcode
  }

  @Test func `the x87 FPU knows what has a name, and nothing else`() {
    for opcode in 0xd8...0xdf as ClosedRange<UInt8> {
      for modRM in 0...255 as ClosedRange<UInt8> {
        let bytes = [opcode, modRM, 0, 0, 0, 0, 0]
        guard let i = try? bytes.withUnsafeBytes({ try Decoder.decode($0, mode: .bits64) }) else {
          continue
        }
        let isNamed = InstructionTable.all.row(of: i) != nil
        #expect(
          isNamed != isUndefinedX87(i), "\(String(opcode, radix: 16)) \(String(modRM, radix: 16))")
      }
    }
  }

  // MARK: - Against objdump

  private static let objdump = "/usr/bin/objdump"
  static let hasObjdump = FileManager.default.isExecutableFile(atPath: objdump)

  @Test(
    .enabled(if: hasObjdump, "the GNU disassembler is not installed: binutils has it"),
    arguments: modes)
  func `lengths and mnemonics are those of the GNU disassembler`(_ mode: CodeMode) throws {
    let disassembler = Disassembler(mode: mode, model: Self.model)
    // One encoding in a slot of 16 bytes, NOPs behind it.
    var image: [UInt8] = []
    var ours: [(bytes: [UInt8], found: Disassembly)] = []
    var seen: [String: Int] = [:]
    encodings(mode) { encoding in
      guard let found = try? disassembler.disassemble(encoding.bytes) else { return }
      // A hundred of each instruction are enough.
      seen[found.mnemonic, default: 0] += 1
      guard seen[found.mnemonic]! <= 100, !Self.isOurs(encoding.instruction) else { return }
      ours.append((encoding.bytes, found))
      image += encoding.bytes + [UInt8](repeating: 0x90, count: 16 - encoding.bytes.count)
    }
    let theirs = try Self.disassemble(image, mode)
    var differences: Set<String> = []
    for (index, (bytes, found)) in ours.enumerated() {
      guard let line = theirs[UInt64(index * 16)] else {
        differences.insert("\(bytes): nothing")
        continue
      }
      let length = line.length
      let name = Self.normal(line.mnemonic, bytes)
      let own = Self.normal(found.mnemonic, bytes)
      // A letter for the operand size, where that is not the mode's.
      let isSame =
        name == own || ["w", "d", "l", "q"].contains { name == own + $0 || own == name + $0 }
      if length != found.length || !isSame {
        let hex = bytes.map { String($0, radix: 16) }.joined(separator: " ")
        differences.insert("\(own) (\(found.length)) is \(name) (\(length)): \(hex)")
      }
    }
    #expect(ours.count > 3000)
    #expect(differences.isEmpty, "\(differences.sorted().prefix(40).joined(separator: "\n"))")
  }

  /// Encodings of which the manual says one thing and the GNU disassembler another: it knows later extensions in the
  /// place of reserved NOPs, calls undocumented aliases bad, and takes a prefix that stands alone for an instruction.
  private static func isOurs(_ i: Instruction) -> Bool {
    switch (i.map, i.opcode) {
    case (.twoByte, 0x0d), (.twoByte, 0x18...0x1f): true
    // ModRM of MOV to and from control registers names registers whatever mod says; LOCK as REX.R of CR8 is AMD's.
    case (.twoByte, 0x20...0x23): true
    // The digit 1 of TEST and 6 of the shifts, group 1 at 82.
    case (.oneByte, 0x82), (.oneByte, 0xd6): true
    // F2, which these do not heed.
    case (.twoByte, 0xbc...0xbd): i.repeatPrefix == 0xf2
    case (.twoByte, 0x09): i.mandatoryPrefix != 0
    // Fences, whatever register ModRM names.
    case (.twoByte, 0xae): !i.isMemory && i.modRM & 7 != 0
    case (.oneByte, 0x90): i.hasOperandSizePrefix
    case (.oneByte, 0x9b): i.rex != 0
    case (.oneByte, 0xd9): !i.isMemory && i.extension3 == 3
    // Aliases of FXCH, FSTP, FCOM and FCOMP, and the instructions of the 8087 and 80287.
    case (.oneByte, 0xdb): !i.isMemory && [0xe0, 0xe1, 0xe4].contains(i.modRM)
    case (.oneByte, 0xdc): !i.isMemory && 2...3 ~= i.extension3
    case (.oneByte, 0xdd): !i.isMemory && i.extension3 == 1
    case (.oneByte, 0xde): !i.isMemory && i.extension3 == 2
    case (.oneByte, 0xdf): !i.isMemory && i.extension3 < 4
    default: false
    }
  }

  private static func normal(_ mnemonic: String, _ bytes: [UInt8]) -> String {
    // What the manual also calls by another name, or the GNU disassembler by one of its own.
    let same = [
      "sal": "shl", "movabs": "mov", "xlat": "xlatb", "pushw": "push", "popw": "pop",
      "callw": "call",
      "retw": "ret", "jmpw": "jmp", "lretw": "retf", "lret": "retf", "retfw": "retf",
      "iretw": "iret",
      "fwait": "wait", "setz": "sete", "jecxz": "jcxz", "jrcxz": "jcxz", "sysretl": "sysret",
      "sysretq": "sysret", "sysretd": "sysret", "sysexitq": "sysexit", "sysexitl": "sysexit",
      "insd": "ins",
      "pushaw": "pusha", "popaw": "popa", "pushfw": "pushf", "popfw": "popf", "enterw": "enter",
      "leavew": "leave", "sgdtw": "sgdt", "data16": "", "rex.W": "", "xchg": "xchg",
      "movsxd": "movsxd",
      "movslq": "movsxd", "fnsetpm": "fnsetpm", "ud2a": "ud2", "ud2b": "ud1", "bndldx": "nop",
      "lock": "", "prefetchwt1": "prefetch", "popal": "popad", "pushal": "pushad",
    ]
    var name = same[mnemonic] ?? mnemonic
    for stem in ["movs", "cmps", "stos", "lods", "scas", "ins", "outs"]
    where name.hasPrefix(stem) && name.count == stem.count + 1 && !bytes.contains(0x0f) {
      name = stem
    }
    // The predicates of CMPPS and the choice of VPCLMULQDQ have names of their own.
    for (stem, ends) in [("cmp", ["ps", "pd", "ss", "sd"]), ("vcmp", ["ps", "pd", "ss", "sd"])] {
      for end in ends where name.hasPrefix(stem) && name.hasSuffix(end) && name != "cmps" {
        name = stem + end
      }
    }
    for middle in ["lqlq", "hqlq", "lqhq", "hqhq"] {
      name = name.replacingOccurrences(of: "pclmul\(middle)dq", with: "pclmulqdq")
    }
    return name
  }

  private static func disassemble(
    _ image: [UInt8], _ mode: CodeMode
  ) throws -> [UInt64: (length: Int, mnemonic: String)] {
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "disassembly-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: "image")
    try Data(image).write(to: file)
    let machine =
      switch mode {
      case .bits64: "i386:x86-64"
      case .bits32: "i386"
      case .bits16: "i8086"
      }
    let arguments = [
      // Intel's reading of an operand-size prefix before a near branch in 64-bit mode: it is ignored.
      "-D", "-b", "binary", "-m", machine, "-M", mode == .bits64 ? "intel,intel64" : "intel",
      "--insn-width=16", file.path,
    ]
    let output = try Program.run(objdump, arguments).output
    var lines: [UInt64: (Int, String)] = [:]
    for line in output.split(separator: "\n") {
      let columns = line.split(separator: "\t")
      guard columns.count >= 3, columns[0].hasSuffix(":"),
        let address = UInt64(columns[0].dropLast().trimmingCharacters(in: .whitespaces), radix: 16)
      else { continue }
      let length = columns[1].split(separator: " ").count
      // Prefixes that it prints as words.
      let prefixes: Set<Substring> = [
        "lock", "rep", "repz", "repnz", "data16", "addr32", "addr16", "data32", "es", "cs", "ss",
        "ds",
        "fs", "gs", "rex", "rex.W", "rex.RB", "rex.R", "rex.B", "rex.WRB", "bnd", "xacquire",
        "xrelease", "{vex}",
      ]
      let words = columns[2].split(separator: " ")
      let mnemonic = words.first { !prefixes.contains($0) } ?? words.first ?? ""
      lines[address] = (length, String(mnemonic))
    }
    return lines
  }
}
