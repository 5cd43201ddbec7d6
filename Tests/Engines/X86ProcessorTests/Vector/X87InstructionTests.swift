import ArchitectureX86
import CProcessor
import Memory
import Testing

@testable import X86Processor

/// x87 instructions as the processor decodes them: operands in memory, flags, AX, images.
struct X87InstructionTests {
  private let machine: LongModeCore

  init() throws {
    machine = try LongModeCore()
    machine.cpu.rsi = 0x3000
    try machine.run([0xdb, 0xe3])  // fninit
  }

  @Test func `operands of every format come from memory and go back`() throws {
    let value = -3.0
    try machine.memory.store(Int16(-3), at: GPA(0x3000))
    try machine.run([0xdf, 0x06])  // fild word [rsi]
    try machine.run([0xdd, 0x16])  // fst qword [rsi]
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x3000)) == value.bitPattern)
    try machine.run([0xdd, 0x06])  // fld qword [rsi]
    try machine.run([0xd9, 0x1e])  // fstp dword [rsi]
    #expect(try machine.memory.load(UInt32.self, at: GPA(0x3000)) == Float(value).bitPattern)
    try machine.run([0xd9, 0x06])  // fld dword [rsi]
    try machine.run([0xdb, 0x1e])  // fistp dword [rsi]
    #expect(try machine.memory.load(Int32.self, at: GPA(0x3000)) == -3)
    try machine.run([0xda, 0x0e])  // fimul dword [rsi]
    try machine.run([0xdf, 0x3e])  // fistp qword [rsi]
    #expect(try machine.memory.load(Int64.self, at: GPA(0x3000)) == 9)
    #expect(machine.cpu.x87.pointee.tags == 0)
  }

  @Test func `no x87 instruction leaves flags in MXCSR`() throws {
    for modrm in 0xe0...0xff as ClosedRange<UInt8> {
      try machine.run([0xdb, 0xe3])  // fninit
      try machine.run([0xd9, 0xe8])  // fld1
      try machine.run([0xd9, 0xeb])  // fldpi
      try machine.run([0xd9, modrm])
      #expect(machine.cpu.pointee.mxcsr == 0x1f80, "d9 \(modrm)")
    }
  }

  @Test func `a store of ten bytes leaves what lies behind it`() throws {
    try machine.memory.store(UInt64.max, at: GPA(0x3008))
    try machine.run([0xd9, 0xe8])  // fld1
    try machine.run([0xdb, 0x3e])  // fstp tbyte [rsi]
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x3000)) == 1 << 63)
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x3008)) == 0xffff_ffff_ffff_3fff)
    // FBSTP
    try machine.run([0xd9, 0xe8])
    try machine.run([0xdf, 0x36])
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x3000)) == 1)
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x3008)) == 0xffff_ffff_ffff_0000)
  }

  @Test func `comparisons set RFLAGS, conditional moves follow them`() throws {
    try machine.run([0xd9, 0xe8])  // fld1
    try machine.run([0xd9, 0xee])  // fldz
    machine.cpu.statusFlags = X86.Flags.status
    try machine.run([0xdb, 0xf1])  // fcomi st0, st1: 0 < 1
    #expect(machine.cpu.statusFlags == X86.Flags.carry)
    try machine.run([0xda, 0xc9])  // fcmove st0, st1: no
    #expect(machine.cpu.x87.pointee[0].significand == 0)
    try machine.run([0xda, 0xc1])  // fcmovb st0, st1: yes
    #expect(machine.cpu.x87.pointee[0].significand == 1 << 63)
    try machine.run([0xdf, 0xe9])  // fucomip st0, st1: equal
    #expect(machine.cpu.statusFlags == X86.Flags.zero)
    #expect(machine.cpu.x87.pointee.status.top == 7)
  }

  @Test func `the environment tells where instruction and operand lay`() throws {
    machine.cpu.setSegment(3, selector: 0x18, base: 0, limit: 0xffff_ffff, attributes: 0xc093)
    try machine.memory.store(1.0.bitPattern, at: GPA(0x3010))
    try machine.run([0xdd, 0x46, 0x10])  // fld qword [rsi + 16]
    #expect(try machine.run([0xd9, 0x36]) == nil)  // fnstenv [rsi]
    let words = try (0..<7 as Range<UInt64>).map {
      try machine.memory.load(UInt32.self, at: GPA(0x3000 + $0 * 4))
    }
    #expect(words[0] == 0xffff_037f)
    #expect(words[3] == 0x1000)
    #expect(words[4] == 0x0546_0008)
    #expect(words[5] == 0x3010)
    #expect(words[6] == 0xffff_0018)
    // The form with a 16-bit operand is half as long.
    try machine.memory.store(UInt64.max, at: GPA(0x300e))
    #expect(try machine.run([0x66, 0xd9, 0x36]) == nil)
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x300e)) == .max)
    #expect(try machine.run([0x66, 0xd9, 0x26]) == nil)  // fldenv [rsi]
    #expect(machine.cpu.x87.pointee.lastInstruction.offset == 0x1000)
  }

  @Test func `undefined escapes are undefined`() throws {
    for code: [UInt8] in [
      [0xd9, 0x0e], [0xdb, 0x26], [0xd9, 0xd1], [0xdd, 0x2e], [0xdf, 0xe1],
    ] {
      #expect(try machine.run(code) == X86.Exception.invalidOpcode)
    }
  }
}
