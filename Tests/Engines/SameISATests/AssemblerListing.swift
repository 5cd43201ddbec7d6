@testable import SameISA

/// Instructions as the assembler writes them, each beside the text that a disassembler has to make of it.
struct AssemblerListing {
  struct Line {
    let offset: Int
    let text: String
  }

  private(set) var lines: [Line] = []
  /// Jumps are written as if the first instruction ran at address zero.
  private var assembler: Assembler
  private let memory: UnsafeMutablePointer<UInt8>

  private static let capacity = 1 << 20

  init() {
    memory = .allocate(capacity: Self.capacity)
    assembler = Assembler(at: memory, distance: -Int(bitPattern: memory))
  }

  func free() { memory.deallocate() }

  var bytes: [UInt8] {
    [UInt8](UnsafeBufferPointer(start: memory, count: assembler.cursor - memory))
  }

  /// Where the next instruction starts.
  var here: Int { Int(assembler.here) }

  mutating func add(_ text: String, _ write: (inout Assembler) -> Void) {
    lines.append(Line(offset: here, text: text))
    write(&assembler)
    precondition(assembler.cursor - memory < Self.capacity - 64, "the listing is too long")
  }

  // MARK: - Operands

  static let registers = (0...15).map { Register(rawValue: $0)! }

  private static let eight = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]
  private static let bytes = ["al", "cl", "dl", "bl", "spl", "bpl", "sil", "dil"]

  static func name(_ register: Register, _ size: Size = .quadword) -> String {
    let number = Int(register.rawValue)
    switch size {
    case .byte: return number < 8 ? bytes[number] : "r\(number)b"
    case .word: return number < 8 ? eight[number] : "r\(number)w"
    case .doubleword: return number < 8 ? "e" + eight[number] : "r\(number)d"
    case .quadword: return number < 8 ? "r" + eight[number] : "r\(number)"
    }
  }

  static func hex(_ value: some BinaryInteger) -> String {
    (value < 0 ? "-0x" : "0x") + String(value.magnitude, radix: 16)
  }

  /// A constant as it is after its extension to the operand's size.
  static func constant(_ value: Int32, _ size: Size) -> String {
    switch size {
    case .byte: hex(UInt8(truncatingIfNeeded: value))
    case .word: hex(UInt16(truncatingIfNeeded: value))
    case .doubleword: hex(UInt32(bitPattern: value))
    case .quadword: hex(UInt64(bitPattern: Int64(value)))
    }
  }

  static func pointer(_ size: Size) -> String {
    switch size {
    case .byte: "BYTE PTR "
    case .word: "WORD PTR "
    case .doubleword: "DWORD PTR "
    case .quadword: "QWORD PTR "
    }
  }

  /// A memory operand as binutils writes it: `scale` always, a displacement of zero only where the encoding has one.
  static func text(_ a: Address) -> String {
    guard a.base != nil || a.index != nil else {
      return "ds:" + hex(UInt64(bitPattern: Int64(a.displacement)))
    }
    var parts = a.base.map { name($0) } ?? ""
    if let index = a.index {
      parts += (parts.isEmpty ? "" : "+") + name(index) + "*\(1 << a.scale)"
    }
    let hasDisplacement =
      a.displacement != 0 || a.base == nil || a.base == .rbp || a.base == .r13
    if hasDisplacement { parts += (a.displacement < 0 ? "" : "+") + hex(a.displacement) }
    return "[" + parts + "]"
  }

  static let displacements = [0, 1, -1, 127, -128, 128, -129, Int(Int32.max), Int(Int32.min)]

  /// Every base with every displacement, alone and with an index; and no base at all.
  static let addresses: [Address] = {
    let bases: [Register?] = [nil] + registers
    // RSP is no index.
    let indices = registers.filter { $0 != .rsp }
    var all: [Address] = []
    for (number, base) in bases.enumerated() {
      for displacement in displacements { all.append(Address(base, displacement)) }
      for (place, index) in indices.enumerated() {
        let displacement = displacements[(number + place) % displacements.count]
        let scale = UInt8((number * 5 + place) % 4)
        all.append(Address(base, index: index, scale: scale, displacement))
        all.append(Address(base, index: index, scale: 3 - scale, 0))
      }
    }
    return all
  }()

  static let conditions = [
    "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g",
  ]
}

extension Size {
  static let all: [Size] = [.byte, .word, .doubleword, .quadword]
}

// MARK: - What there is to write

extension AssemblerListing {
  private typealias L = AssemblerListing

  /// All of the assembler's methods.
  static func everything() -> AssemblerListing {
    var list = AssemblerListing()
    list.addMoves()
    list.addArithmetic()
    list.addFlagsAndStack()
    list.addTransfers()
    list.addEncodings()
    list.addVectors()
    return list
  }

  private mutating func addMoves() {
    for (step, size) in Size.all.enumerated() {
      for to in L.registers {
        for from in L.registers {
          add("mov \(L.name(to, size)),\(L.name(from, size))") { $0.move(to, from, size) }
        }
      }
      for (number, address) in L.addresses.enumerated() {
        let register = L.registers[(number + 3 * step) % 16]
        let memory = L.pointer(size) + L.text(address)
        add("mov \(L.name(register, size)),\(memory)") { $0.load(register, address, size) }
        add("mov \(memory),\(L.name(register, size))") { $0.store(address, register, size) }
      }
      for value in [0, 1, -1, 0x1234_5678, Int32.min] {
        for address in [Address(.rsp, 8), Address(.r13), Address(nil, index: .r12, scale: 3, 4)] {
          add("mov \(L.pointer(size))\(L.text(address)),\(L.constant(value, size))") {
            $0.storeConstant(address, value, size)
          }
        }
      }
    }
    for (number, address) in L.addresses.enumerated() {
      let register = L.registers[number % 16]
      add("lea \(L.name(register)),\(L.text(address))") { $0.loadAddress(register, address) }
      for size in [Size.byte, .word] {
        add("movzx \(L.name(register, .doubleword)),\(L.pointer(size))\(L.text(address))") {
          $0.loadZeroExtended(register, address, size)
        }
      }
    }
    for to in L.registers {
      for from in L.registers {
        add("movzx \(L.name(to, .doubleword)),\(L.name(from, .byte))") {
          $0.zeroExtendByte(to, from)
        }
      }
      for value in [0, 1, 0xffff_ffff, 0x1_0000_0000, .max, 1 << 63] as [UInt64] {
        addConstant(to, value)
      }
      addConstant(to, 0xffff_ffff_8000_0000)
    }
    for to in L.registers.prefix(8) {
      for from in L.registers.prefix(4) {
        add("movzx \(L.name(to, .doubleword)),\(["ah", "ch", "dh", "bh"][Int(from.rawValue)])") {
          $0.zeroExtendSecondByte(to, of: from)
        }
      }
    }
  }

  /// Loaded in the shortest encoding there is.
  private mutating func addConstant(_ to: Register, _ value: UInt64) {
    let isShort = value <= UInt64(UInt32.max)
    let isSigned = Int64(bitPattern: value) == Int64(Int32(truncatingIfNeeded: value))
    let name = isShort ? L.name(to, .doubleword) : L.name(to)
    add("\(isShort || isSigned ? "mov" : "movabs") \(name),\(L.hex(value))") {
      $0.loadConstant(to, value)
    }
  }

  private mutating func addArithmetic() {
    let operations: [(Assembler.Operation, String)] = [
      (.add, "add"), (.or, "or"), (.adc, "adc"), (.sbb, "sbb"), (.and, "and"), (.sub, "sub"),
      (.xor, "xor"), (.cmp, "cmp"),
    ]
    for (number, (operation, text)) in operations.enumerated() {
      for size in Size.all {
        for to in L.registers {
          let from = L.registers[(Int(to.rawValue) * 5 + number) % 16]
          add("\(text) \(L.name(to, size)),\(L.name(from, size))") {
            $0.arithmetic(operation, to, from, size)
          }
          for value in [0, 5, 127, -128, 128, -129, 0x1234, Int32.min] {
            add("\(text) \(L.name(to, size)),\(L.constant(value, size))") {
              $0.arithmetic(operation, to, constant: value, size)
            }
          }
        }
        for (place, address) in L.addresses.enumerated() where place % 8 == number {
          let memory = L.pointer(size) + L.text(address)
          let register = L.registers[(place + number) % 16]
          add("\(text) \(L.name(register, size)),\(memory)") {
            $0.arithmetic(operation, register, address, size)
          }
          let value: Int32 = place % 3 == 0 ? -1 : 0x7654
          add("\(text) \(memory),\(L.constant(value, size))") {
            $0.arithmetic(operation, address, constant: value, size)
          }
        }
      }
    }
    for size in Size.all {
      for register in L.registers {
        let name = L.name(register, size)
        for value in [1, 0x1f80, -1] as [Int32] {
          add("test \(name),\(L.constant(value, size))") {
            $0.test(register, constant: value, size)
          }
        }
        let other = L.registers[15 - Int(register.rawValue)]
        // ModRM.rm is the first operand.
        add("test \(L.name(other, size)),\(name)") { $0.test(register, other, size) }
        add("not \(name)") { $0.not(register, size) }
        for (shift, text) in [
          (Assembler.Shift.left, "shl"), (.right, "shr"), (.arithmeticRight, "sar"),
        ] {
          for count in [1, 7, 63] as [UInt8] {
            add("\(text) \(name),\(L.hex(count))") { $0.shift(shift, register, count, size) }
          }
        }
      }
    }
  }

  private mutating func addFlagsAndStack() {
    add("lahf") { $0.loadFlags() }
    add("sahf") { $0.storeFlags() }
    for register in L.registers {
      for (code, condition) in L.conditions.enumerated() {
        add("set\(condition) \(L.name(register, .byte))") {
          $0.set(register, if: Condition(rawValue: UInt8(code)))
        }
      }
      add("push \(L.name(register))") { $0.push(register) }
      add("pop \(L.name(register))") { $0.pop(register) }
    }
    add("ret") { $0.returnNear() }
  }

  private mutating func addTransfers() {
    // Forward, to the instruction after the next, and backward.
    for (code, condition) in L.conditions.enumerated() {
      let behind = L.hex(here + 6 + 5)
      var fixup: Assembler.Fixup?
      add("j\(condition) \(behind)") { fixup = $0.jump(if: Condition(rawValue: UInt8(code))) }
      let start = UInt64(here)
      add("jmp \(L.hex(start))") { $0.jump(to: start) }
      add("j\(condition) 0x10") {
        $0.bind(fixup!)
        $0.jump(if: Condition(rawValue: UInt8(code)), to: 0x10)
      }
    }
    add("call 0x123456") { $0.call(0x12_3456) }
    add("jmp 0x7654321") {
      let fixup = $0.jump()
      $0.bind(fixup, to: 0x765_4321)
    }
    for register in L.registers {
      add("jmp \(L.name(register))") { $0.jump(through: register) }
    }
    for address in L.addresses {
      add("jmp QWORD PTR \(L.text(address))") { $0.jump(through: address) }
    }
  }

  /// Instructions of every map, with prefixes.
  private mutating func addEncodings() {
    for number in 0..<16 as Range<UInt8> {
      let register = Register(rawValue: number)!
      let other = Register(rawValue: 15 - number)!
      let memory = Address(other, index: register == .rsp ? .r12 : register, scale: 1, 0x40)
      var e = Assembler.Encoding(0xb1, map: 1, isW: true)
      e.prefixes.1 = 0xf0
      add("lock cmpxchg QWORD PTR \(L.text(memory)),\(L.name(register))") {
        $0.instruction(e, reg: number, .memory(memory))
      }
      e = .init(0xf1, map: 2)
      e.prefixes = (0x66, 0xf2)
      add("crc32 \(L.name(register, .doubleword)),\(L.name(other, .word))") {
        $0.instruction(e, reg: number, .register(other.rawValue))
      }
      e = .init(0x0f, map: 3)
      e.prefixes.0 = 0x66
      add("palignr xmm\(number),xmm\(other.rawValue),0x5") {
        $0.instruction(e, reg: number, .register(other.rawValue))
        $0.byte(5)
      }
      e = .init(0x69)
      e.prefixes.0 = 0x66
      add("imul \(L.name(register, .word)),\(L.name(other, .word)),0x1234") {
        $0.instruction(e, reg: number, .register(other.rawValue))
        $0.word(0x1234)
      }
      add("imul \(L.name(register)),QWORD PTR \(L.text(memory)),0xffffffffffffff00") {
        $0.instruction(.init(0x69, isW: true), reg: number, .memory(memory))
        $0.doubleword(-256)
      }
    }
    add("movabs rax,ds:0x123456789abcdef0") {
      $0.byte(0x48)
      $0.byte(0xa1)
      $0.quadword(0x1234_5678_9abc_def0)
    }
  }

  private mutating func addVectors() {
    for number in 0..<16 as Range<UInt8> {
      let second = (number * 7 + 3) % 16
      let third = 15 - number
      let index = Register(rawValue: number == 4 ? 12 : number)!
      let memory = Address(Register(rawValue: third)!, index: index, scale: 2, Int(number) - 8)
      add("vpaddd ymm\(number),ymm\(second),ymm\(third)") {
        $0.vexInstruction(
          map: 1, pp: 1, isW: false, isWide: true, opcode: 0xfe, reg: number, vvvv: second,
          .register(third))
      }
      add("vmovdqu xmm\(number),XMMWORD PTR \(L.text(memory))") {
        $0.vexInstruction(
          map: 1, pp: 2, isW: false, isWide: false, opcode: 0x6f, reg: number, vvvv: 0,
          .memory(memory))
      }
      add("vfmadd231pd ymm\(number),ymm\(second),YMMWORD PTR \(L.text(memory))") {
        $0.vexInstruction(
          map: 2, pp: 1, isW: true, isWide: true, opcode: 0xb8, reg: number, vvvv: second,
          .memory(memory))
      }
      let names = [number, second, third].map { L.name(Register(rawValue: $0)!) }
      add("andn \(names[0]),\(names[1]),\(names[2])") {
        $0.vexInstruction(
          map: 2, pp: 0, isW: true, isWide: false, opcode: 0xf2, reg: number, vvvv: second,
          .register(third))
      }
      add("rorx \(L.name(index, .doubleword)),DWORD PTR \(L.text(memory)),0x11") {
        $0.vexInstruction(
          map: 3, pp: 3, isW: false, isWide: false, opcode: 0xf0, reg: index.rawValue, vvvv: 0,
          .memory(memory))
        $0.byte(0x11)
      }
    }
  }
}
