/// What instructions are called and which operands they have, for the disassembler: one row of text for each encoding.
///
/// A row is `map:opcode`, conditions, the mnemonic, and operands in the abbreviations of SDM Vol. 2D §A.2, with a few
/// more that `OperandText` explains. Maps are 1, 2, 8 (0F 38) and a (0F 3A). Of the rows of an opcode the first counts
/// whose conditions hold. Whether an encoding is legal the table does not say: that the translator does, so that the
/// two cannot disagree about what the processor carries out.
struct InstructionTable: Sendable {
  struct Row: Sendable {
    /// For operands of 16, 32 and 64 bits, or one for all.
    var mnemonics: [String]
    /// Which size chooses among them: "^" the stack's, "@" the address', else the operand's.
    var sizing: Character?
    var operands: [String]

    fileprivate var mandatoryPrefix: UInt8?
    fileprivate var digit: UInt8?
    fileprivate var modRM: UInt8?
    fileprivate var isMemory: Bool?
    fileprivate var isW: Bool?
    fileprivate var isWide: Bool?
    fileprivate var isIn64BitMode: Bool?
    fileprivate var extendsOpcode = false
    fileprivate var isVEXOnly = false
    /// Whether the mnemonic takes a "v" with a VEX prefix.
    fileprivate var mayHaveVEX = false
  }

  static let all = InstructionTable(generalRows + "\n" + x87Rows + vectorRows)

  private var rows: [Key: [Row]] = [:]

  private struct Key: Hashable {
    var map: UInt8
    var opcode: UInt8
  }

  private init(_ text: String) {
    for line in text.split(separator: "\n") {
      var words = line.split(separator: " ")
      let place = words.removeFirst().split(separator: ":")
      var row = Row(mnemonics: [], operands: [])
      while let word = words.first, row.takeCondition(word) { words.removeFirst() }
      row.takeMnemonic(words.removeFirst())
      row.operands = words.first?.split(separator: ",").map(String.init) ?? []
      let map: OpcodeMap =
        switch place[0] {
        case "1": .oneByte
        case "2": .twoByte
        case "8": .threeByte38
        default: .threeByte3A
        }
      let key = Key(map: map.rawValue, opcode: UInt8(place[1], radix: 16) ?? 0)
      rows[key, default: []].append(row)
    }
  }

  /// The row of an instruction; `nil`: there is none.
  func row(of i: Instruction) -> Row? {
    rows[Key(map: i.map.rawValue, opcode: i.opcode)]?.first { $0.matches(i) }
  }

  static func hex(_ value: Int) -> String {
    let digits = String(value, radix: 16)
    return digits.count < 2 ? "0" + digits : digits
  }
}

extension InstructionTable.Row {
  fileprivate mutating func takeCondition(_ word: Substring) -> Bool {
    switch word {
    case "np": mandatoryPrefix = 0
    case "66": mandatoryPrefix = 0x66
    case "f2": mandatoryPrefix = 0xf2
    case "f3": mandatoryPrefix = 0xf3
    case "m": isMemory = true
    case "r": isMemory = false
    case "w0": isW = false
    case "w1": isW = true
    case "l0": isWide = false
    case "l1": isWide = true
    case "64": isIn64BitMode = true
    case "n64": isIn64BitMode = false
    case "rexb": extendsOpcode = true
    case "vex": isVEXOnly = true
    default:
      if word.hasPrefix("/") {
        digit = UInt8(word.dropFirst())
      } else if word.hasPrefix("=") {
        modRM = UInt8(word.dropFirst(), radix: 16)
      } else {
        return false
      }
    }
    return true
  }

  fileprivate mutating func takeMnemonic(_ word: Substring) {
    var word = word
    if word.hasPrefix("(v)") {
      mayHaveVEX = true
      word = word.dropFirst(3)
    }
    if let first = word.first, first == "^" || first == "@" {
      sizing = first
      word = word.dropFirst()
    }
    mnemonics = word.split(separator: "|").map(String.init)
  }

  fileprivate func matches(_ i: Instruction) -> Bool {
    if i.vex != nil { guard isVEXOnly || mayHaveVEX else { return false } }
    if i.vex == nil, isVEXOnly { return false }
    if let mandatoryPrefix, mandatoryPrefix != i.mandatoryPrefix { return false }
    if let digit, digit != i.extension3 { return false }
    if let modRM, i.isMemory || modRM != i.modRM { return false }
    if let isMemory, isMemory != i.isMemory { return false }
    // Where W only makes a general register wide, it counts in 64-bit mode only, with VEX or without.
    let w = isVEXOnly ? i.vex?.isW ?? false : i.rex & 8 != 0
    if let isW, isW != w { return false }
    if let isWide, isWide != (i.vex?.isWide ?? false) { return false }
    if let isIn64BitMode, isIn64BitMode != (i.mode == .bits64) { return false }
    return !extendsOpcode || i.rex & 1 != 0
  }

  /// The mnemonic as this instruction has it.
  func mnemonic(of i: Instruction) -> String {
    let size =
      switch sizing {
      case "^": i.stackOperandLog2 - 1
      case "@": Int(i.addressSize)
      default: i.operandLog2 - 1
      }
    let name = mnemonics.count == 1 ? mnemonics[0] : mnemonics[min(size, mnemonics.count - 1)]
    return mayHaveVEX && i.vex != nil ? "v" + name : name
  }
}
