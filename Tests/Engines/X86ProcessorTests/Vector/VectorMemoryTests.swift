import ArchitectureX86
import CProcessor
import Memory
import Testing

@testable import X86Processor

/// Memory operands: alignment, page boundaries, faults. `[rsi]` is the operand of each instruction.
struct VectorMemoryTests {
  private static let pattern = SIMD2<UInt64>(0x1122_3344_5566_7788, 0x99aa_bbcc_ddee_ff00)

  @Test func `a load crosses from one page into the next`() throws {
    let machine = try LongModeCore()
    machine.cpu.rsi = 0x3ff9
    try machine.memory.store(Self.pattern.x, at: GPA(0x3ff9))
    try machine.memory.store(Self.pattern.y, at: GPA(0x4001))
    #expect(try machine.run([0xf3, 0x0f, 0x6f, 0x0e]) == nil)  // movdqu xmm1, [rsi]
    #expect(machine.cpu.vector(1, as: Quadwords.self) == Self.pattern)
  }

  @Test func `a store crosses from one page into the next`() throws {
    let machine = try LongModeCore()
    machine.cpu.rsi = 0x3ff3
    machine.cpu.setVector(1, Self.pattern)
    #expect(try machine.run([0xf3, 0x0f, 0x7f, 0x0e]) == nil)  // movdqu [rsi], xmm1
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x3ff3)) == Self.pattern.x)
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x3ffb)) == Self.pattern.y)
  }

  @Test(arguments: [LongModeCore.absentPage, LongModeCore.readOnlyPage])
  func `a store that faults on its second page writes nothing`(page: UInt64) throws {
    let machine = try LongModeCore()
    machine.cpu.rsi = page - 8
    machine.cpu.setVector(1, Self.pattern)
    // movdqu [rsi], xmm1
    #expect(try machine.run([0xf3, 0x0f, 0x7f, 0x0e]) == X86.Exception.pageFault)
    #expect(machine.cpu.pointee.cr2 == page)
    #expect(try machine.memory.load(UInt64.self, at: GPA(page - 8)) == 0)
  }

  @Test func `operands of 16 bytes must be aligned unless the instruction says otherwise`() throws {
    let machine = try LongModeCore()
    machine.cpu.rsi = 0x3008
    let aligned: [[UInt8]] = [
      [0x0f, 0x28, 0x0e], [0x66, 0x0f, 0x7f, 0x0e], [0x66, 0x0f, 0xef, 0x0e], [0x0f, 0x58, 0x0e],
      [0x66, 0x0f, 0xe7, 0x0e], [0x0f, 0xae, 0x06],
    ]
    for code in aligned {
      #expect(try machine.run(code) == X86.Exception.generalProtection)
      #expect(machine.cpu.pointee.exception_code == 0)
    }
    let unaligned: [[UInt8]] = [
      [0x0f, 0x10, 0x0e], [0xf3, 0x0f, 0x7f, 0x0e], [0xf2, 0x0f, 0xf0, 0x0e],
      [0x66, 0x0f, 0x3a, 0x63, 0x0e, 0], [0xf2, 0x0f, 0x58, 0x0e],
    ]
    for code in unaligned { #expect(try machine.run(code) == nil) }
  }

  @Test func `scalar loads clear what is above, halves leave it`() throws {
    let machine = try LongModeCore()
    machine.cpu.rsi = 0x3004
    try machine.memory.store(Self.pattern.x, at: GPA(0x3004))
    machine.cpu.setVector(1, SIMD2<UInt64>(repeating: .max))
    try machine.run([0xf3, 0x0f, 0x10, 0x0e])  // movss xmm1, [rsi]
    #expect(machine.cpu.vector(1, as: Quadwords.self) == [0x5566_7788, 0])
    machine.cpu.setVector(1, SIMD2<UInt64>(repeating: .max))
    try machine.run([0x0f, 0x12, 0x0e])  // movlps xmm1, [rsi]
    #expect(machine.cpu.vector(1, as: Quadwords.self) == [Self.pattern.x, .max])
    try machine.run([0x0f, 0x16, 0x0e])  // movhps xmm1, [rsi]
    #expect(machine.cpu.vector(1, as: Quadwords.self) == [Self.pattern.x, Self.pattern.x])
  }

  @Test func `operands shorter than a register do not touch what lies behind them`() throws {
    let machine = try LongModeCore()
    machine.cpu.rsi = LongModeCore.absentPage - 8
    let eightBytes: [[UInt8]] = [
      [0xf2, 0x0f, 0x58, 0x0e], [0x0f, 0x5a, 0x0e], [0xf3, 0x0f, 0xe6, 0x0e],
      [0xf2, 0x0f, 0x12, 0x0e], [0x66, 0x0f, 0x38, 0x30, 0x0e], [0x0f, 0x6f, 0x0e],
      [0x0f, 0xd4, 0x0e], [0x66, 0x0f, 0xd6, 0x0e], [0x0f, 0x17, 0x0e], [0x66, 0x0f, 0x2e, 0x0e],
    ]
    for code in eightBytes { #expect(try machine.run(code) == nil) }
    machine.cpu.rsi = LongModeCore.absentPage - 4
    let fourBytes: [[UInt8]] = [
      [0xf3, 0x0f, 0x58, 0x0e], [0xf3, 0x0f, 0x5a, 0x0e], [0x0f, 0x60, 0x0e],
      [0x66, 0x0f, 0x38, 0x31, 0x0e], [0x66, 0x0f, 0x3a, 0x21, 0x0e, 0], [0x66, 0x0f, 0x6e, 0x0e],
      [0x0f, 0xae, 0x1e], [0xf3, 0x0f, 0x2d, 0x0e],
    ]
    for code in fourBytes { #expect(try machine.run(code) == nil) }
    machine.cpu.rsi = LongModeCore.absentPage - 2
    let twoBytes: [[UInt8]] = [
      [0x66, 0x0f, 0xc4, 0x0e, 0], [0x66, 0x0f, 0x38, 0x32, 0x0e],
      [0x66, 0x0f, 0x3a, 0x15, 0x0e, 0],
    ]
    for code in twoBytes { #expect(try machine.run(code) == nil) }
  }

  @Test func `masked stores write the chosen bytes alone`() throws {
    let machine = try LongModeCore()
    machine.cpu.rdi = 0x3ffc
    machine.cpu.setVector(1, Self.pattern)
    machine.cpu.setVector(2, SIMD2<UInt64>(0x80_00_00_80_00_00_80_00, 0x8000_0000_0000_0000))
    #expect(try machine.run([0x66, 0x0f, 0xf7, 0xca]) == nil)  // maskmovdqu xmm1, xmm2
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x3ffc)) == 0x1100_0044_0000_7700)
    #expect(try machine.memory.load(UInt64.self, at: GPA(0x4004)) == 0x9900_0000_0000_0000)
  }

  @Test func `FXSAVE and FXRSTOR carry the state through memory`() throws {
    let machine = try LongModeCore()
    for index in 0..<16 as Range<UInt8> {
      machine.cpu.setVector(index, SIMD2<UInt64>(UInt64(index), ~UInt64(index)))
    }
    machine.cpu.pointee.mxcsr = 0x9fc5
    try machine.run([0xdb, 0xe3])  // fninit
    try machine.run([0xd9, 0xe8])  // fld1
    // Across two pages, of which the second begins in the middle of XMM4.
    machine.cpu.rsi = 0x3f20
    #expect(try machine.run([0x48, 0x0f, 0xae, 0x06]) == nil)  // fxsave64 [rsi]
    resetVectorState(machine.cpu)
    try machine.run([0xdb, 0xe3])  // fninit
    #expect(try machine.run([0x48, 0x0f, 0xae, 0x0e]) == nil)  // fxrstor64 [rsi]
    for index in 0..<16 as Range<UInt8> {
      #expect(
        machine.cpu.vector(index, as: Quadwords.self)
          == SIMD2<UInt64>(UInt64(index), ~UInt64(index)))
    }
    #expect(machine.cpu.pointee.mxcsr == 0x9fc5)
    #expect(machine.cpu.x87.pointee[0].significand == 1 << 63)
    // MXCSR with a reserved bit
    try machine.memory.store(0x1_1f80 as UInt32, at: GPA(0x3f20 + 24))
    #expect(try machine.run([0x48, 0x0f, 0xae, 0x0e]) == X86.Exception.generalProtection)
  }

  @Test func `x87 operands cross pages and fault before anything happens`() throws {
    let machine = try LongModeCore()
    try machine.run([0xdb, 0xe3])  // fninit
    try machine.run([0xd9, 0xe8])  // fld1
    machine.cpu.rsi = LongModeCore.absentPage - 8
    #expect(try machine.run([0xdb, 0x3e]) == X86.Exception.pageFault)  // fstp tbyte [rsi]
    #expect(machine.cpu.x87.pointee.status.top == 7)
    machine.cpu.rsi = 0x3ffb
    #expect(try machine.run([0xdb, 0x3e]) == nil)
    #expect(machine.cpu.x87.pointee.status.top == 0)
    #expect(try machine.memory.load(UInt16.self, at: GPA(0x4003)) == 0x3fff)
    #expect(try machine.run([0xdb, 0x2e]) == nil)  // fld tbyte [rsi]
    #expect(try machine.run([0xdf, 0xe0]) == nil)  // fnstsw ax
    #expect(machine.cpu.rax & 0x3800 == 0x3800)
    #expect(try machine.run([0xdd, 0x36]) == nil)  // fnsave [rsi]
    #expect(machine.cpu.x87.pointee.tags == 0)
    #expect(try machine.run([0xdd, 0x26]) == nil)  // frstor [rsi]
    #expect(machine.cpu.x87.pointee.tags == 0x80)
  }
}
