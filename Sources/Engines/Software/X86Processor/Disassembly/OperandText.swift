import ArchitectureX86

/// An instruction's operands as text, in Intel's syntax.
///
/// Operands are named by SDM Vol. 2D §A.2.1 "Codes for Addressing Method" and §A.2.2 "Codes for Operand Type". In
/// addition: type `s` is the stack's operand size, `f` that of a near branch, `o` 16 bytes, `t` 10 bytes; `Wh`, `W4`
/// and `W8` are a half, a quarter and an eighth of the vector, `W2` is MOVDDUP's; `Xd`, `Xq` and `Yq` are vectors of
/// addresses (Y with indices in an XMM register); `RvMw` and its kin are one thing as a register and another in memory;
/// `Rm` and `Gm` are registers as wide as the mode; `Ti` is ST(i); `Ibs` is a sign-extended byte; `I2` is ENTER's second.
struct OperandText {
  private let i: Instruction
  private let address: UInt64

  init(_ instruction: Instruction, _ address: UInt64) {
    i = instruction
    self.address = address
  }

  /// `nil`: the instruction has no such operand, for lack of a VEX prefix.
  func operand(_ code: String) -> String? {
    if code.hasPrefix("R"), code.count == 4 {
      return i.isMemory
        ? memory(Int(widths[code.last!] ?? 0)) : register(i.rm, log2(code.dropFirst().first!))
    }
    guard let method = code.first, method.isUppercase else { return fixed(code) }
    let type = code.dropFirst()
    switch method {
    case "E": return i.isMemory ? memory(1 << log2(type.first!)) : register(i.rm, log2(type.first!))
    case "G": return register(i.reg, type == "m" ? modeLog2 : log2(type.first!))
    case "B": return register(i.vex?.register ?? 0, log2("y"))
    case "Z": return register(i.opcode & 7 | (i.rex & 1) << 3, log2(type.first!))
    case "R": return register(i.rm, type == "m" ? modeLog2 : log2(type.first!))
    case "M": return memory(memorySize(type))
    case "X", "Y":
      return memory(type == "d" ? 4 : 8, vectorIndex: method == "X" && isWide ? "ymm" : "xmm")
    case "I": return immediate(type)
    case "J": return hex((address &+ UInt64(i.length) &+ i.immediate) & branchMask(type))
    case "O": return memoryText(type == "b" ? 1 : 1 << i.operandLog2, hex(i.immediate))
    case "A": return hex(UInt64(i.secondImmediate)) + ":" + hex(i.immediate)
    case "S": return segments[Int(i.extension3)]
    case "C": return "cr\(i.reg)"
    case "D": return "dr\(i.reg)"
    case "T": return "st(\(i.modRM & 7))"
    case "P": return "mm\(i.reg & 7)"
    case "Q": return i.isMemory ? memory(type == "d" ? 4 : 8) : "mm\(i.rm & 7)"
    case "V": return vector(i.reg, type)
    case "H":
      guard i.vex != nil else {
        // Shifts by a constant, whose destination is the r/m operand.
        return nil
      }
      return vector(i.vex?.register ?? 0, type)
    case "W":
      return i.isMemory ? memory(vectorSize(type)) : vector(i.rm, type == "2" ? "x" : type)
    case "L":
      return vector(
        UInt8(truncatingIfNeeded: i.immediate >> 4) & (i.mode == .bits64 ? 15 : 7), "x")
    default: return code
    }
  }

  // MARK: - Registers

  private var segments: [String] { ["es", "cs", "ss", "ds", "fs", "gs", "?", "?"] }

  private static let names = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]

  private func register(_ number: UInt8, _ log2: Int) -> String {
    if number >= 8 { return "r\(number)" + ["b", "w", "d", ""][log2] }
    let name = Self.names[Int(number)]
    switch log2 {
    case 0:
      if number < 4 { return String(name.first!) + "l" }
      return i.rex == 0 || i.vex != nil
        ? String(Self.names[Int(number) - 4].first!) + "h" : name + "l"
    case 1: return name
    case 2: return "e" + name
    default: return "r" + name
    }
  }

  private func vector(_ number: UInt8, _ type: Substring) -> String {
    (type == "x" && isWide ? "ymm" : "xmm") + "\(number)"
  }

  private var isWide: Bool { i.vex?.isWide ?? false }

  private func fixed(_ code: String) -> String {
    switch code {
    case "rAX": register(0, i.operandLog2)
    case "eAX": register(0, min(i.operandLog2, 2))
    case "st0": "st(0)"
    default: code
    }
  }

  // MARK: - Sizes

  private var modeLog2: Int { i.mode == .bits64 ? 3 : 2 }

  private var widths: [Character: UInt8] { ["b": 1, "w": 2, "d": 4, "q": 8, "o": 16, "t": 10] }

  /// The size of a general operand as a power of two.
  private func log2(_ type: Character) -> Int {
    switch type {
    case "b": 0
    case "w": 1
    case "d": 2
    case "q": 3
    case "y": i.rex & 8 != 0 ? 3 : 2
    case "s": i.stackOperandLog2
    case "f": i.mode == .bits64 ? 3 : i.operandLog2
    default: i.operandLog2
    }
  }

  private func memorySize(_ type: Substring) -> Int {
    switch type {
    case "": 0
    case "x": isWide ? 32 : 16
    case "v": 1 << i.operandLog2
    case "y": 1 << log2("y")
    case "p": 2 + (1 << i.operandLog2)
    case "a": 2 << i.operandLog2
    default: Int(widths[type.first!] ?? 0)
    }
  }

  private func vectorSize(_ type: Substring) -> Int {
    let whole = isWide ? 32 : 16
    return switch type {
    case "x": whole
    case "h": whole / 2
    case "4": whole / 4
    case "8": whole / 8
    case "2": isWide ? 32 : 8
    default: Int(widths[type.first!] ?? 0)
    }
  }

  // MARK: - Constants

  private func immediate(_ type: Substring) -> String {
    let value = i.immediate
    return switch type {
    case "b": hex(value & 0xff)
    case "bs":
      hex(value & mask(i.opcode == 0x6a && i.map == .oneByte ? i.stackOperandLog2 : i.operandLog2))
    case "w": hex(value & 0xffff)
    case "s": hex(value & mask(i.stackOperandLog2))
    case "2": hex(UInt64(i.secondImmediate))
    default: hex(value & mask(i.operandLog2))
    }
  }

  private func mask(_ log2: Int) -> UInt64 { log2 == 3 ? .max : 1 << UInt64(8 << log2) - 1 }

  /// What an instruction pointer is cut to.
  private func branchMask(_ type: Substring) -> UInt64 {
    i.mode == .bits64 ? .max : i.operandLog2 == 1 ? 0xffff : 0xffff_ffff
  }

  private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }

  // MARK: - Memory

  private func memory(_ size: Int, vectorIndex: String? = nil) -> String {
    var terms: [String] = []
    let log2 = Int(i.addressSize) + 1
    func name(_ number: UInt8) -> String {
      let wide =
        number >= 8
        ? "r\(number)" + ["b", "w", "d", ""][log2]
        : ["", "", "e", "r"][log2] + Self.names[Int(number)]
      return wide
    }
    if i.isRIPRelative { terms.append(i.addressSize == 2 ? "rip" : "eip") }
    if let base = i.base { terms.append(name(base)) }
    if let vectorIndex {
      terms.append(vectorIndex + "\(i.index ?? 4)" + (i.scale == 0 ? "" : "*\(1 << i.scale)"))
    } else if let index = i.index {
      terms.append(name(index) + (i.scale == 0 ? "" : "*\(1 << i.scale)"))
    }
    let displacement = Int64(i.displacement)
    var text = terms.joined(separator: " + ")
    if terms.isEmpty {
      let mask: UInt64 = i.addressSize == 2 ? .max : i.addressSize == 1 ? 0xffff_ffff : 0xffff
      text = hex(UInt64(bitPattern: displacement) & mask)
    } else if displacement != 0 {
      text += (displacement < 0 ? " - " : " + ") + hex(displacement.magnitude)
    }
    return memoryText(size, text)
  }

  private func memoryText(_ size: Int, _ place: String) -> String {
    let keywords = [
      1: "byte ptr ", 2: "word ptr ", 4: "dword ptr ", 6: "fword ptr ", 8: "qword ptr ",
      10: "tbyte ptr ", 16: "xmmword ptr ", 32: "ymmword ptr ",
    ]
    let segment = i.segmentOverride.flatMap {
      i.mode == .bits64 && $0 < 4 ? nil : segments[Int($0)] + ":"
    }
    return (keywords[size] ?? "") + (segment ?? "") + "[" + place + "]"
  }
}
