import ArchitectureX86
import CProcessor
import Memory
import Testing

@testable import X86Processor

/// Exceptions other than those of memory: availability, unmasked floating-point exceptions.
struct VectorExceptionTests {
  private let addPackedDouble: [UInt8] = [0x66, 0x0f, 0x58, 0xca]
  private let movq: [UInt8] = [0x0f, 0x6f, 0xca]
  private let fld1: [UInt8] = [0xd9, 0xe8]
  private let fwait: [UInt8] = [0x9b]

  // SDM Vol. 3A Table 2-2, §12.1, §13.1.3
  @Test func `CR0 and CR4 decide what may run`() throws {
    let machine = try LongModeCore()
    let plain = machine.cpu.pointee.cr0
    machine.cpu.pointee.cr0 = plain | X86.CR0.taskSwitched
    #expect(try machine.run(addPackedDouble) == X86.Exception.deviceNotAvailable)
    #expect(try machine.run(movq) == X86.Exception.deviceNotAvailable)
    #expect(try machine.run(fld1) == X86.Exception.deviceNotAvailable)
    #expect(try machine.run(fwait) == nil)
    machine.cpu.pointee.cr0 = plain | X86.CR0.taskSwitched | X86.CR0.monitorCoprocessor
    #expect(try machine.run(fwait) == X86.Exception.deviceNotAvailable)
    machine.cpu.pointee.cr0 = plain | X86.CR0.emulation
    #expect(try machine.run(addPackedDouble) == X86.Exception.invalidOpcode)
    #expect(try machine.run(movq) == X86.Exception.invalidOpcode)
    #expect(try machine.run(fld1) == X86.Exception.deviceNotAvailable)
    machine.cpu.pointee.cr0 = plain
    machine.cpu.pointee.cr4 &= ~X86.CR4.fxsave
    #expect(try machine.run(addPackedDouble) == X86.Exception.invalidOpcode)
    #expect(try machine.run(movq) == nil)
    #expect(try machine.run(fld1) == nil)
  }

  @Test func `what is not announced is undefined`() throws {
    let machine = try LongModeCore()
    let undefined: [[UInt8]] = [
      [0x66, 0x0f, 0x38, 0xdc, 0xca],  // aesenc
      [0x66, 0x0f, 0x3a, 0x44, 0xca, 0],  // pclmulqdq
      [0x0f, 0x38, 0xc8, 0xca],  // sha1nexte
      [0x0f, 0x38, 0xf0, 0x0e],  // movbe
      [0xf2, 0x0f, 0x2b, 0x0e],  // movntsd
      [0x66, 0x0f, 0x12, 0xca],  // movlpd between registers
      [0x0f, 0x71, 0xc1, 1],  // group 12 without a shift
      [0x0f, 0x6c, 0xca],  // punpcklqdq on MMX registers
      [0xf3, 0x0f, 0x54, 0xca],
    ]
    for code in undefined { #expect(try machine.run(code) == X86.Exception.invalidOpcode) }
  }

  // SDM Vol. 1 §11.5
  @Test func `an unmasked exception leaves the destination alone and sets its flag`() throws {
    let machine = try LongModeCore()
    machine.cpu.pointee.cr4 |= X86.CR4.simdExceptions
    machine.cpu.pointee.mxcsr = 0x1f80 & ~(1 << 9)  // division by zero unmasked
    machine.cpu.setVector(1, SIMD2<Double>(1, 2))
    machine.cpu.setVector(2, SIMD2<Double>(0, 3))
    #expect(try machine.run([0x66, 0x0f, 0x5e, 0xca]) == X86.Exception.simd)  // divpd xmm1, xmm2
    #expect(machine.cpu.vector(1, as: Doubles.self) == [1, 2])
    #expect(machine.cpu.pointee.mxcsr & 0x3f == 4)
    // The flag stays, and does not make the next instruction fault; precision is masked.
    machine.cpu.setVector(2, SIMD2<Double>(3, 3))
    #expect(try machine.run([0x66, 0x0f, 0x5e, 0xca]) == nil)
    #expect(machine.cpu.pointee.mxcsr & 0x3f == 0x24)
    machine.cpu.pointee.cr4 &= ~X86.CR4.simdExceptions
    machine.cpu.setVector(2, SIMD2<Double>(0, 3))
    #expect(try machine.run([0x66, 0x0f, 0x5e, 0xca]) == X86.Exception.invalidOpcode)
  }

  #if arch(x86_64)
    // SDM Vol. 1 §4.9.1.4, §4.9.1.5: results that would be tiny or too large, exact but for that.
    @Test func `unmasked underflow and overflow are reported of exact results, without precision`()
      throws
    {
      let machine = try LongModeCore()
      machine.cpu.pointee.cr4 |= X86.CR4.simdExceptions
      machine.cpu.pointee.mxcsr = 0x1f80 & ~(1 << 11 | 1 << 10)  // underflow, overflow unmasked
      machine.cpu.setVector(1, SIMD2<Double>(.leastNormalMagnitude, 1))
      machine.cpu.setVector(2, SIMD2<Double>(0.5, 1))
      #expect(try machine.run([0x66, 0x0f, 0x59, 0xca]) == X86.Exception.simd)  // mulpd xmm1, xmm2
      #expect(machine.cpu.vector(1, as: Doubles.self) == [.leastNormalMagnitude, 1])
      #expect(machine.cpu.pointee.mxcsr & 0x3f == 0x10)
      machine.cpu.pointee.mxcsr &= ~0x3f
      machine.cpu.setVector(1, SIMD2<Double>(0x1p1023, 1))
      machine.cpu.setVector(2, SIMD2<Double>(2, 3))
      #expect(try machine.run([0x66, 0x0f, 0x59, 0xca]) == X86.Exception.simd)
      #expect(machine.cpu.pointee.mxcsr & 0x3f == 8)
      // Masked, overflow is always inexact, and an exact tiny result is no underflow.
      machine.cpu.pointee.mxcsr = 0x1f80
      #expect(try machine.run([0x66, 0x0f, 0x59, 0xca]) == nil)
      #expect(machine.cpu.pointee.mxcsr & 0x3f == 0x28)
    }
  #endif

  @Test func `a comparison that faults leaves the flags`() throws {
    let machine = try LongModeCore()
    machine.cpu.pointee.cr4 |= X86.CR4.simdExceptions
    machine.cpu.pointee.mxcsr = 0x1f80 & ~(1 << 7)  // invalid unmasked
    machine.cpu.statusFlags = X86.Flags.carry
    machine.cpu.setVector(1, SIMD2<Double>(.nan, 2))
    #expect(try machine.run([0x66, 0x0f, 0x2f, 0xca]) == X86.Exception.simd)  // comisd
    #expect(machine.cpu.statusFlags == X86.Flags.carry)
    #expect(try machine.run([0x66, 0x0f, 0x2e, 0xca]) == nil)  // ucomisd
  }

  @Test func `MXCSR is loaded and stored`() throws {
    let machine = try LongModeCore()
    machine.cpu.rsi = 0x3000
    try machine.memory.store(0x7f83 as UInt32, at: GPA(0x3000))
    #expect(try machine.run([0x0f, 0xae, 0x16]) == nil)  // ldmxcsr [rsi]
    #expect(machine.cpu.pointee.mxcsr == 0x7f83)
    machine.cpu.setVector(1, SIMD2<Double>(1, 1))
    machine.cpu.setVector(2, SIMD2<Double>(3, 3))
    try machine.run([0x66, 0x0f, 0x5e, 0xca])  // divpd, towards zero
    #expect(machine.cpu.vector(1, as: Doubles.self).x.bitPattern == 0x3fd5_5555_5555_5555)
    #expect(try machine.run([0x0f, 0xae, 0x1e]) == nil)  // stmxcsr [rsi]
    #expect(try machine.memory.load(UInt32.self, at: GPA(0x3000)) == 0x7fa3)
    try machine.memory.store(0x1_1f80 as UInt32, at: GPA(0x3000))
    #expect(try machine.run([0x0f, 0xae, 0x16]) == X86.Exception.generalProtection)
  }

  // SDM Vol. 1 §8.6, Vol. 3A Table 13-2
  @Test func `a pending x87 exception stops the next instruction that waits`() throws {
    let machine = try LongModeCore()
    try machine.run([0xdb, 0xe3])  // fninit
    machine.cpu.rsi = 0x3000
    try machine.memory.store(0x037b as UInt16, at: GPA(0x3000))
    try machine.run([0xd9, 0x2e])  // fldcw [rsi]: division by zero unmasked
    try machine.run([0xd9, 0xe8])  // fld1
    try machine.run([0xd9, 0xee])  // fldz
    #expect(try machine.run([0xd8, 0xf9]) == nil)  // fdivr st0, st1 = 1 / 0
    #expect(try machine.run(fwait) == X86.Exception.x87)
    #expect(try machine.run(movq) == X86.Exception.x87)
    #expect(try machine.run([0x0f, 0x77]) == X86.Exception.x87)  // emms
    #expect(try machine.run([0xdf, 0xe0]) == nil)  // fnstsw ax
    #expect(machine.cpu.rax & 0x84 == 0x84)
    let plain = machine.cpu.pointee.cr0
    machine.cpu.pointee.cr0 &= ~X86.CR0.numericError
    #expect(try machine.run(fwait) == nil)
    #expect(try machine.run(fld1) == nil)
    machine.cpu.pointee.cr0 = plain
    try machine.run([0xdb, 0xe2])  // fnclex
    #expect(try machine.run(fwait) == nil)
  }
}
