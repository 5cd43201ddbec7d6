import ArchitectureX86
import CProcessor
import Memory
import Testing

@testable import X86Processor

/// When instructions with a VEX prefix fault: SDM Vol. 2A §2.4 "AVX and SSE Instruction Exception Classification".
struct VEXExceptionTests {
  private static let base: UInt64 = 0x3040
  private let addPackedSingle: [UInt8] = [0xc5, 0xec, 0x58, 0xcb]  // vaddps ymm1, ymm2, ymm3
  private let andNot: [UInt8] = [0xc4, 0xe2, 0x70, 0xf2, 0xc2]  // andn eax, ecx, edx

  // MARK: - Availability

  @Test(arguments: VEXInstructions.all)
  func `a model that does not announce an instruction has not got it`(
    group: VEXInstructions
  ) throws {
    // Without their features these are BSF, BSR and, for the assembler, nothing else.
    guard group.legacy.isEmpty || group.testDescription == "MOVBE" else { return }
    let machine = try LongModeCore()
    machine.cpu.rbx = Self.base
    for encoding in group.encodings {
      #expect(try machine.run(encoding.code) == X86.Exception.invalidOpcode)
    }
  }

  @Test func `without LZCNT and TZCNT these opcodes are BSR and BSF`() throws {
    let machine = try LongModeCore()
    machine.cpu.rax = 0x80
    #expect(try machine.run([0xf3, 0x0f, 0xbd, 0xc8]) == nil)
    #expect(machine.cpu.rcx == 7)
  }

  @Test(arguments: VEXInstructions.avx + VEXInstructions.avx2)
  func `vectors need XCR0, CR4 and a task that owns them`(group: VEXInstructions) throws {
    let machine = try LongModeCore.withAVX()
    machine.cpu.rbx = Self.base
    func expect(_ vector: UInt8) throws {
      machine.core.modeChanged()
      for encoding in group.encodings.prefix(40) {
        #expect(try machine.run(encoding.code) == vector)
      }
    }
    machine.cpu.pointee.xcr0 = 3
    try expect(X86.Exception.invalidOpcode)
    machine.cpu.pointee.xcr0 = 7
    machine.cpu.pointee.cr4 &= ~X86.CR4.xsave
    try expect(X86.Exception.invalidOpcode)
    machine.cpu.pointee.cr4 |= X86.CR4.xsave
    machine.cpu.pointee.cr0 |= X86.CR0.taskSwitched
    try expect(X86.Exception.deviceNotAvailable)
  }

  @Test func `CR0.EM and CR4.OSFXSR say nothing about VEX`() throws {
    let machine = try LongModeCore.withAVX()
    machine.cpu.pointee.cr0 |= X86.CR0.emulation
    machine.cpu.pointee.cr4 &= ~X86.CR4.fxsave
    machine.core.modeChanged()
    #expect(try machine.run(addPackedSingle) == nil)
  }

  @Test func `general registers need no extended state`() throws {
    let machine = try LongModeCore(model: .x86_64v3)
    #expect(try machine.run(andNot) == nil)
  }

  @Test func `real mode and virtual-8086 mode know no VEX`() throws {
    let machine = try LongModeCore.withAVX()
    machine.cpu.pointee.code_mode = CodeMode.bits16.rawValue
    for code in [addPackedSingle, andNot] {
      #expect(try machine.run(code, mode: .bits16) == nil)
      machine.cpu.pointee.cr0 &= ~X86.CR0.protection
      #expect(try machine.run(code, mode: .bits16) == X86.Exception.invalidOpcode)
      machine.cpu.pointee.cr0 |= X86.CR0.protection
      machine.cpu.pointee.system_flags |= X86.Flags.virtual8086
      #expect(try machine.run(code, mode: .bits16) == X86.Exception.invalidOpcode)
      machine.cpu.pointee.system_flags &= ~X86.Flags.virtual8086
    }
  }

  @Test func `outside 64-bit mode there are eight registers of 32 bits`() throws {
    let machine = try LongModeCore.withAVX()
    machine.cpu.pointee.code_mode = CodeMode.bits32.rawValue
    (machine.cpu.rcx, machine.cpu.rdx) = (0xffff_ffff_0000_00ff, 0x1234_5678_ffff_0ff0)
    // VEX.B, VEX.W and the top bit of VEX.vvvv name nothing here.
    #expect(try machine.run([0xc4, 0xc2, 0xb0, 0xf2, 0xc2], mode: .bits32) == nil)
    #expect(machine.cpu.rax == 0xffff_0f00)
  }

  // MARK: - Encodings

  @Test(arguments: VEXInstructions.all)
  func `prefixes before VEX make an instruction undefined`(group: VEXInstructions) throws {
    guard group.legacy.isEmpty else { return }
    let machine = try LongModeCore.withAVX()
    machine.cpu.rbx = Self.base
    for prefix in [0x66, 0xf2, 0xf3, 0xf0, 0x48] as [UInt8] {
      for encoding in group.encodings.prefix(8) {
        #expect(try machine.run([prefix] + encoding.code) == X86.Exception.invalidOpcode)
      }
    }
  }

  @Test(arguments: VEXInstructions.all)
  func `VEX.vvvv and VEX.L must be what the instruction takes`(group: VEXInstructions) throws {
    guard group.legacy.isEmpty else { return }
    let machine = try LongModeCore.withAVX()
    machine.cpu.rbx = Self.base
    for encoding in group.encodings.prefix(60) {
      var code = encoding.code
      if !group.hasFirst {
        code[2] &= ~0x08
        // What has a first source in one of its forms.
        let hasRegisterForm =
          group.map == 1 && (0x10...0x17 ~= code[3] || 0x51...0x53 ~= code[3] || code[3] == 0x5a)
        if !hasRegisterForm {
          #expect(try machine.run(code) == X86.Exception.invalidOpcode, "\(code)")
        }
        code[2] |= 0x08
      }
      if group.lengths.count == 1 {
        code[2] ^= 4
        #expect(try machine.run(code) == X86.Exception.invalidOpcode, "\(code)")
      }
    }
  }

  @Test func `unknown opcodes and maps are undefined`() throws {
    let machine = try LongModeCore.withAVX()
    machine.cpu.rbx = Self.base
    let codes: [[UInt8]] = [
      [0xc5, 0xf8, 0x00, 0xc0], [0xc4, 0xe0, 0x78, 0x58, 0xc0], [0xc4, 0xe4, 0x78, 0x58, 0xc0],
      [0xc4, 0xff, 0x78, 0x58, 0xc0], [0xc5, 0xf8, 0x6f, 0xc1], [0xc5, 0xfb, 0xd6, 0xc1],
      [0xc4, 0xe2, 0x7b, 0xf0, 0xc1], [0xc4, 0xe2, 0x79, 0x10, 0xc1],
      [0xc4, 0xe2, 0x7b, 0xf1, 0xc1],
      [0xc4, 0xe2, 0xe9, 0x0c, 0xcb], [0xc4, 0xe2, 0xe9, 0x46, 0xcb],
      [0xc4, 0xe3, 0x7d, 0x00, 0xca, 0],
      [0xc5, 0xf8, 0xae, 0xd0], [0xc5, 0xf8, 0x2b, 0xc1], [0xc4, 0xe2, 0x78, 0xf3, 0xc0],
      [0xc5, 0xf9, 0x71, 0x13, 0x01], [0xc5, 0xfa, 0x7f - 0x7f, 0xc0],
    ]
    for code in codes { #expect(try machine.run(code) == X86.Exception.invalidOpcode, "\(code)") }
  }

  @Test func `every VEX opcode either works or is undefined`() throws {
    let machine = try LongModeCore.withAVX()
    var known = 0
    for map in 1...3 as ClosedRange<UInt8> {
      for third in 0...255 as ClosedRange<UInt8> where third & 0x78 == 0x78 || third & 0x78 == 0x60
      {
        for opcode in 0...255 as ClosedRange<UInt8> {
          for modRM in [0xca, 0x0b, 0xd9] as [UInt8] {
            machine.cpu.rbx = Self.base
            let code = [0xc4, 0xe0 | map, third, opcode, modRM, 0x11, 0, 0, 0]
            let length = try LongModeCore.length(of: code)
            let exception = try machine.run(Array(code.prefix(length)))
            let isFine =
              exception == nil || exception == X86.Exception.invalidOpcode
              || exception == X86.Exception.generalProtection
            #expect(isFine, "\(code) raised \(exception ?? 0)")
            if exception == nil { known += 1 }
          }
        }
      }
    }
    #expect(known > 1500)
  }

  @Test(arguments: [CodeMode.bits64, .bits32, .bits16])
  func `random instructions end in one way or another`(mode: CodeMode) throws {
    let machine = try LongModeCore.withAVX()
    machine.cpu.pointee.code_mode = mode.rawValue
    machine.cpu.pointee.address_mask = mode == .bits64 ? .max : 0xffff_ffff
    for segment in [0, 2, 3, 4, 5] {
      machine.cpu.setSegment(segment, selector: 16, base: 0, limit: 0xffff_ffff, attributes: 0xc093)
    }
    var random = VectorSamples(seed: 9)
    for _ in 0..<60_000 {
      for register in 0..<16 as Range<UInt8> {
        let choice = random.next()
        machine.cpu.set(register * 8, choice & 7 == 0 ? choice : choice & 0xffff)
      }
      let n = random.next()
      let first = 0xe0 | UInt8(truncatingIfNeeded: n) & 0x1f
      var code: [UInt8] = [0xc4, first & ~0x1c | (n & 0xf00 == 0 ? first & 0x1c : 0)]
      code += (0..<12).map { UInt8(truncatingIfNeeded: random.next() >> UInt64($0)) }
      let decoded = try code.withUnsafeBytes { try Decoder.decode($0, mode: mode) }
      let exception = try machine.run(Array(code.prefix(Int(decoded.length))), mode: mode)
      let known: [UInt8?] = [
        nil, X86.Exception.invalidOpcode, X86.Exception.generalProtection, X86.Exception.pageFault,
        X86.Exception.stackFault, X86.Exception.simd,
      ]
      #expect(known.contains(exception), "\(code)")
    }
  }

  @Test func `VLDMXCSR loads what MXCSR may be`() throws {
    let machine = try LongModeCore.withAVX()
    machine.cpu.rsi = 0x3001
    try machine.memory.store(0x9fc0 as UInt32, at: GPA(0x3001))
    #expect(try machine.run([0xc5, 0xf8, 0xae, 0x16]) == nil)
    #expect(machine.cpu.pointee.mxcsr == 0x9fc0)
    try machine.memory.store(0x1_9fc0 as UInt32, at: GPA(0x3001))
    #expect(try machine.run([0xc5, 0xf8, 0xae, 0x16]) == X86.Exception.generalProtection)
  }

  // MARK: - Memory

  @Test func `only aligned moves ask for alignment`() throws {
    let machine = try LongModeCore.withAVX()
    machine.cpu.rsi = 0x3010
    let aligned: [[UInt8]] = [
      [0xc5, 0xfc, 0x28, 0x0e], [0xc5, 0xfd, 0x7f, 0x0e], [0xc5, 0xfc, 0x2b, 0x0e],
      [0xc5, 0xfd, 0xe7, 0x0e], [0xc4, 0xe2, 0x7d, 0x2a, 0x0e],
    ]
    for code in aligned { #expect(try machine.run(code) == X86.Exception.generalProtection) }
    machine.cpu.rsi = 0x3020
    for code in aligned { #expect(try machine.run(code) == nil) }
    machine.cpu.rsi = 0x3008
    #expect(try machine.run([0xc5, 0xf8, 0x28, 0x0e]) == X86.Exception.generalProtection)
    #expect(try machine.run([0xc5, 0xe8, 0x58, 0x0e]) == nil)
    #expect(try machine.run([0xc5, 0xfe, 0x6f, 0x0e]) == nil)
  }

  @Test func `a load or store that faults on its second page changes nothing`() throws {
    let machine = try LongModeCore.withAVX()
    let pattern = SIMD4<UInt64>(1, 2, 3, 4)
    machine.cpu.setWide(1, pattern)
    machine.cpu.rsi = LongModeCore.absentPage - 24
    for code in [[0xc5, 0xfe, 0x6f, 0x0e], [0xc5, 0xfe, 0x7f, 0x0e]] as [[UInt8]] {
      #expect(try machine.run(code) == X86.Exception.pageFault)
      #expect(machine.cpu.pointee.cr2 == LongModeCore.absentPage)
      #expect(machine.cpu.wide(1) == pattern)
    }
    #expect(try machine.memory.load(UInt64.self, at: GPA(LongModeCore.absentPage - 24)) == 0)
    machine.cpu.rsi = LongModeCore.absentPage - 8
    #expect(try machine.run([0xf3, 0x0f, 0x6f, 0x0e]) == X86.Exception.pageFault)
    #expect(machine.cpu.wide(1) == pattern)
  }

  @Test func `masked moves touch what the mask chooses alone`() throws {
    let machine = try LongModeCore.withAVX()
    machine.cpu.rsi = LongModeCore.absentPage - 16
    machine.cpu.setWide(1, SIMD4<UInt64>(1, 2, 3, 4))
    machine.cpu.setWide(2, SIMD4<UInt64>(1 << 63, 1 << 63, 0, 0))
    let load: [UInt8] = [0xc4, 0xe2, 0xed, 0x8c, 0x0e]  // vpmaskmovq ymm1, ymm2, [rsi]
    let store: [UInt8] = [0xc4, 0xe2, 0xed, 0x8e, 0x0e]
    #expect(try machine.run(store) == nil)
    #expect(try machine.memory.load(UInt64.self, at: GPA(LongModeCore.absentPage - 8)) == 2)
    machine.cpu.setWide(1, SIMD4<UInt64>(9, 9, 9, 9))
    #expect(try machine.run(load) == nil)
    #expect(machine.cpu.wide(1) == SIMD4<UInt64>(1, 2, 0, 0))
    machine.cpu.setWide(1, SIMD4<UInt64>(9, 9, 9, 9))
    machine.cpu.setWide(2, SIMD4<UInt64>(1 << 63, 0, 0, 1 << 63))
    for code in [load, store] {
      #expect(try machine.run(code) == X86.Exception.pageFault)
      #expect(machine.cpu.wide(1) == SIMD4<UInt64>(9, 9, 9, 9))
      #expect(try machine.memory.load(UInt64.self, at: GPA(LongModeCore.absentPage - 16)) == 1)
    }
  }

  // MARK: - Gathers: SDM Vol. 2C, VGATHERDPS

  @Test func `a gather that faults keeps what it has, and goes on from there`() throws {
    let machine = try LongModeCore.withAVX()
    let absent = LongModeCore.absentPage
    try machine.memory.store(0x11 as UInt64, at: GPA(0x3000))
    try machine.memory.store(0x22 as UInt64, at: GPA(0x3008))
    try machine.memory.store(0x44 as UInt64, at: GPA(0x3018))
    machine.cpu.rsi = 0x3000
    machine.cpu.setWide(1, SIMD4<UInt64>(repeating: 0xff))
    machine.cpu.setWide(2, SIMD4<UInt64>(1 << 63, 0, 1 << 63 | 5, 1 << 63))
    machine.cpu.setWide(3, SIMD4<UInt64>(0, 8, absent - 0x3000, 0x18))
    let gather: [UInt8] = [0xc4, 0xe2, 0xed, 0x91, 0x0c, 0x1e]  // vpgatherqq ymm1, [rsi+ymm3], ymm2
    #expect(try machine.run(gather) == X86.Exception.pageFault)
    #expect(machine.cpu.pointee.cr2 == absent)
    #expect(machine.cpu.wide(1) == SIMD4<UInt64>(0x11, 0xff, 0xff, 0xff))
    #expect(machine.cpu.wide(2) == SIMD4<UInt64>(0, 0, .max, .max))
    machine.cpu.setWide(3, SIMD4<UInt64>(0, 8, 8, 0x18))
    #expect(try machine.run(gather) == nil)
    #expect(machine.cpu.wide(1) == SIMD4<UInt64>(0x11, 0xff, 0x22, 0x44))
    #expect(machine.cpu.wide(2) == SIMD4<UInt64>(repeating: 0))
  }

  @Test func `a gather needs three different registers, and memory by SIB`() throws {
    let machine = try LongModeCore.withAVX()
    let codes: [[UInt8]] = [
      [0xc4, 0xe2, 0xf5, 0x91, 0x0c, 0x1e],  // destination and mask
      [0xc4, 0xe2, 0xed, 0x91, 0x1c, 0x1e],  // destination and index
      [0xc4, 0xe2, 0xe5, 0x91, 0x0c, 0x1e],  // mask and index
      [0xc4, 0xe2, 0xed, 0x91, 0x0e], [0xc4, 0xe2, 0xed, 0x91, 0xcb],
    ]
    for code in codes { #expect(try machine.run(code) == X86.Exception.invalidOpcode) }
  }

  // MARK: - Unmasked floating-point exceptions

  @Test func `an unmasked exception in either half keeps the destination and reports both`() throws
  {
    let machine = try LongModeCore.withAVX()
    machine.cpu.pointee.cr4 |= X86.CR4.simdExceptions
    let (one, zero, inexact) = (
      0x3f80_0000_3f80_0000 as UInt64, 0 as UInt64, 0x4040_0000_4040_0000 as UInt64
    )
    for (low, high) in [(zero, inexact), (inexact, zero)] {
      machine.cpu.setWide(1, SIMD4<UInt64>(repeating: 7))
      machine.cpu.setWide(2, SIMD4<UInt64>(repeating: one))
      machine.cpu.setWide(3, SIMD4<UInt64>(low, low, high, high))
      machine.cpu.pointee.mxcsr = 0x1f80 & ~0x200  // division by zero
      // vdivps ymm1, ymm2, ymm3
      #expect(try machine.run([0xc5, 0xec, 0x5e, 0xcb]) == X86.Exception.simd)
      #expect(machine.cpu.wide(1) == SIMD4<UInt64>(repeating: 7))
      // Before the exception nothing is computed, so nothing is inexact.
      #expect(machine.cpu.pointee.mxcsr & 0x3f == 4)
    }
    machine.cpu.pointee.mxcsr = 0x1f80 & ~0x1000  // precision
    machine.cpu.setWide(3, SIMD4<UInt64>(one, one, inexact, inexact))
    #expect(try machine.run([0xc5, 0xec, 0x5e, 0xcb]) == X86.Exception.simd)
    #expect(machine.cpu.wide(1) == SIMD4<UInt64>(repeating: 7))
    machine.cpu.pointee.cr4 &= ~X86.CR4.simdExceptions
    #expect(try machine.run([0xc5, 0xec, 0x5e, 0xcb]) == X86.Exception.invalidOpcode)
    // vfmadd213ps ymm1, ymm2, ymm3
    machine.cpu.pointee.cr4 |= X86.CR4.simdExceptions
    machine.cpu.pointee.mxcsr = 0
    machine.cpu.setWide(1, SIMD4<UInt64>(one, one, 0x7f80_0001, 0))
    #expect(try machine.run([0xc4, 0xe2, 0x6d, 0xa8, 0xcb]) == X86.Exception.simd)
    #expect(machine.cpu.wide(1) == SIMD4<UInt64>(one, one, 0x7f80_0001, 0))
    #expect(machine.cpu.pointee.mxcsr & 0x3f == 1)
  }
}
