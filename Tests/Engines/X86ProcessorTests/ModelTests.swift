import ArchitectureX86
import CProcessor
import Memory
import Testing

@testable import X86Processor

/// What a model announces works, and what it does not announce is undefined: for every model there is.
struct ModelTests {
  /// An instruction, the mode it is tried in, and what CPUID must say for it to be one.
  struct Sample: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var mode: CodeMode = .bits32
    let bytes: [UInt8]
    let isAnnounced: @Sendable (X86.Features) -> Bool

    init(
      _ description: String, _ bytes: [UInt8], in mode: CodeMode = .bits32,
      _ isAnnounced: @escaping @Sendable (X86.Features) -> Bool
    ) {
      testDescription = description
      self.mode = mode
      self.bytes = bytes
      self.isAnnounced = isAnnounced
    }
  }

  static let samples: [Sample] = [
    .init("RDTSC", [0x0f, 0x31]) { $0.hasTSC },
    .init("RDMSR", [0x0f, 0x32]) { $0.hasMSR },
    .init("WRMSR", [0x0f, 0x30]) { $0.hasMSR },
    .init("CMPXCHG8B", [0x0f, 0xc7, 0x0e]) { $0.hasCMPXCHG8B },
    .init("CMPXCHG16B", [0x48, 0x0f, 0xc7, 0x0e], in: .bits64) { $0.hasCMPXCHG16B },
    .init("SYSENTER", [0x0f, 0x34]) { $0.hasSYSENTER },
    .init("SYSCALL", [0x0f, 0x05], in: .bits64) { $0.hasSYSCALL },
    .init("SWAPGS", [0x0f, 0x01, 0xf8], in: .bits64) { $0.hasLongMode },
    .init("RDTSCP", [0x0f, 0x01, 0xf9]) { $0.hasRDTSCP },
    .init("CMOVE", [0x0f, 0x44, 0xc1]) { $0.hasCMOV },
    .init("FCMOVB", [0xda, 0xc1]) { $0.hasCMOV },
    .init("FCOMI", [0xdb, 0xf1]) { $0.hasCMOV },
    .init("FUCOMIP", [0xdf, 0xe9]) { $0.hasCMOV },
    .init("NOP of several bytes", [0x0f, 0x1f, 0x00]) { $0.hasCMOV },
    .init("PREFETCHW", [0x0f, 0x0d, 0x08]) { $0.hasPREFETCHW || $0.hasLongMode },
    .init("LAHF", [0x9f], in: .bits64) { $0.hasLAHF64 },
    .init("LAHF outside 64-bit mode", [0x9f]) { _ in true },
    .init("MOVD to MM1", [0x0f, 0x6e, 0xc8]) { $0.hasMMX },
    .init("EMMS", [0x0f, 0x77]) { $0.hasMMX },
    .init("PADDQ on MMX registers", [0x0f, 0xd4, 0xca]) { $0.hasSSE2 },
    .init("PSHUFW", [0x0f, 0x70, 0xca, 0x1b]) { $0.hasSSE },
    .init("FXSAVE", [0x0f, 0xae, 0x06]) { $0.hasFXSR },
    .init("LDMXCSR", [0x0f, 0xae, 0x16]) { $0.hasSSE },
    .init("SFENCE", [0x0f, 0xae, 0xf8]) { $0.hasSSE },
    .init("MFENCE", [0x0f, 0xae, 0xf0]) { $0.hasSSE2 },
    .init("CLFLUSH", [0x0f, 0xae, 0x3e]) { $0.hasCLFLUSH },
    .init("CLFLUSHOPT", [0x66, 0x0f, 0xae, 0x3e]) { $0.hasCLFLUSHOPT },
    .init("CLWB", [0x66, 0x0f, 0xae, 0x36]) { $0.hasCLWB },
    .init("ADDPS", [0x0f, 0x58, 0xca]) { $0.hasSSE },
    .init("ADDSS", [0xf3, 0x0f, 0x58, 0xca]) { $0.hasSSE },
    .init("ADDPD", [0x66, 0x0f, 0x58, 0xca]) { $0.hasSSE2 },
    .init("CVTPS2PD", [0x0f, 0x5a, 0xca]) { $0.hasSSE2 },
    .init("MOVNTI", [0x0f, 0xc3, 0x06]) { $0.hasSSE2 },
    .init("HADDPS", [0xf2, 0x0f, 0x7c, 0xca]) { $0.hasSSE3 },
    .init("MOVSHDUP", [0xf3, 0x0f, 0x16, 0xca]) { $0.hasSSE3 },
    .init("FISTTP", [0xdd, 0x0e]) { $0.hasSSE3 },
    .init("PSHUFB", [0x66, 0x0f, 0x38, 0x00, 0xca]) { $0.hasSSSE3 },
    .init("PALIGNR on MMX registers", [0x0f, 0x3a, 0x0f, 0xca, 3]) { $0.hasSSSE3 },
    .init("PMULLD", [0x66, 0x0f, 0x38, 0x40, 0xca]) { $0.hasSSE41 },
    .init("ROUNDPS", [0x66, 0x0f, 0x3a, 0x08, 0xca, 1]) { $0.hasSSE41 },
    .init("PCMPGTQ", [0x66, 0x0f, 0x38, 0x37, 0xca]) { $0.hasSSE42 },
    .init("PCMPISTRI", [0x66, 0x0f, 0x3a, 0x63, 0xca, 1]) { $0.hasSSE42 },
    .init("CRC32", [0xf2, 0x0f, 0x38, 0xf1, 0xca]) { $0.hasSSE42 },
    .init("POPCNT", [0xf3, 0x0f, 0xb8, 0xc1]) { $0.hasPOPCNT },
    .init("MOVBE", [0x0f, 0x38, 0xf0, 0x0e]) { $0.hasMOVBE },
    .init("AESENC", [0x66, 0x0f, 0x38, 0xdc, 0xca]) { $0.hasAES },
    .init("AESKEYGENASSIST", [0x66, 0x0f, 0x3a, 0xdf, 0xca, 1]) { $0.hasAES },
    .init("VAESENC", [0xc4, 0xe2, 0x69, 0xdc, 0xc9]) { $0.hasAES && $0.hasAVX },
    .init("VAESENC of 256 bits", [0xc4, 0xe2, 0x6d, 0xdc, 0xc9]) { $0.hasVAES },
    .init("VAESIMC of 256 bits", [0xc4, 0xe2, 0x7d, 0xdb, 0xc9]) { _ in false },
    .init("PCLMULQDQ", [0x66, 0x0f, 0x3a, 0x44, 0xca, 1]) { $0.hasPCLMULQDQ },
    .init("VPCLMULQDQ of 256 bits", [0xc4, 0xe3, 0x6d, 0x44, 0xc9, 1]) { $0.hasVPCLMULQDQ },
    .init("SHA256RNDS2", [0x0f, 0x38, 0xcb, 0xca]) { $0.hasSHA },
    .init("SHA1RNDS4", [0x0f, 0x3a, 0xcc, 0xca, 1]) { $0.hasSHA },
    .init("ADCX", [0x66, 0x0f, 0x38, 0xf6, 0xca]) { $0.hasADX },
    .init("ADOX", [0xf3, 0x0f, 0x38, 0xf6, 0xca]) { $0.hasADX },
    .init("RDRAND", [0x0f, 0xc7, 0xf1]) { $0.hasRDRAND },
    .init("RDSEED", [0x0f, 0xc7, 0xf9]) { $0.hasRDSEED },
    .init("RDPID", [0xf3, 0x0f, 0xc7, 0xf9]) { $0.hasRDPID },
    .init("RDFSBASE", [0xf3, 0x0f, 0xae, 0xc1], in: .bits64) { $0.hasFSGSBASE },
    .init("RDFSBASE outside 64-bit mode", [0xf3, 0x0f, 0xae, 0xc1]) { _ in false },
    .init("XSAVE", [0x0f, 0xae, 0x26]) { $0.hasXSAVE },
    .init("XSAVEOPT", [0x0f, 0xae, 0x36]) { $0.hasXSAVEOPT },
    .init("XSAVEC", [0x0f, 0xc7, 0x26]) { $0.hasXSAVEC },
    .init("XSAVES", [0x0f, 0xc7, 0x2e]) { $0.hasXSAVES },
    .init("XGETBV", [0x0f, 0x01, 0xd0]) { $0.hasXSAVE },
    .init("RDPKRU", [0x0f, 0x01, 0xee]) { $0.hasPKU },
    .init("WRPKRU", [0x0f, 0x01, 0xef], in: .bits64) { $0.hasPKU },
    .init("VADDPS", [0xc5, 0xe8, 0x58, 0xca]) { $0.hasAVX },
    .init("VPADDB of 256 bits", [0xc5, 0xed, 0xfc, 0xca]) { $0.hasAVX2 },
    .init("VFMADD132PS", [0xc4, 0xe2, 0x69, 0x98, 0xca]) { $0.hasFMA },
    .init("VCVTPH2PS", [0xc4, 0xe2, 0x79, 0x13, 0xca]) { $0.hasF16C },
    .init("ANDN", [0xc4, 0xe2, 0x68, 0xf2, 0xca]) { $0.hasBMI1 },
    .init("PEXT", [0xc4, 0xe2, 0x6a, 0xf5, 0xca]) { $0.hasBMI2 },
    .init("UD0", [0x0f, 0xff, 0xc1]) { _ in false },
    .init("UD1", [0x0f, 0xb9, 0xc1]) { _ in false },
    .init("UD2", [0x0f, 0x0b]) { _ in false },
    .init("SALC", [0xd6]) { _ in true },
    .init("SALC in 64-bit mode", [0xd6], in: .bits64) { _ in false },
    .init("CPUID", [0x0f, 0xa2]) { _ in true },
    .init("BSWAP", [0x0f, 0xc9]) { _ in true },
    .init("XADD", [0x0f, 0xc1, 0xc8]) { _ in true },
  ]

  @Test(arguments: X86.CPUModel.all.map(\.name))
  func `instructions are those that CPUID announces`(_ name: String) throws {
    let model = try #require(X86.CPUModel.all.first { $0.name == name })
    for sample in Self.samples {
      let instruction = try sample.bytes.withUnsafeBytes {
        try Decoder.decode($0, mode: sample.mode)
      }
      #expect(Int(instruction.length) == sample.bytes.count, "\(sample.testDescription)")
      let isDefined = Disassembler(mode: sample.mode, model: model).isDefined(instruction)
      #expect(isDefined == sample.isAnnounced(model.features), "\(sample.testDescription)")
    }
  }

  @Test func `registers and control bits are those that come with features`() throws {
    func machine(_ model: X86.CPUModel) throws -> LongModeCore { try LongModeCore(model: model) }
    let old = try machine(.i486)
    for index in [
      X86.MSR.timeStampCounter, X86.MSR.apicBase, X86.MSR.efer, X86.MSR.lstar, 0x2ff, 0x277,
    ] {
      #expect(throws: Fault.self) { _ = try old.core.readMSR(index) }
    }
    #expect(throws: Fault.self) { try old.core.setCR4(X86.CR4.pageSizeExtensions) }
    #expect(old.core.cpuid(0, 0).eax == 1)
    #expect(old.core.cpuid(1, 0).edx == 1)
    // Beyond the last leaf the last one answers.
    #expect(old.core.cpuid(0x8000_0001, 0) == old.core.cpuid(1, 0))
    let third = try machine(.pentium3)
    #expect(try third.core.readMSR(0x2ff) == 0)
    #expect(throws: Fault.self) { _ = try third.core.readMSR(X86.MSR.efer) }
    #expect(third.core.cpuid(1, 0).eax == 0x686)
    let most = try machine(.max)
    #expect(try most.core.readMSR(X86.MSR.extendedSupervisorState) == 0)
    #expect(throws: Fault.self) { try most.core.writeMSR(X86.MSR.extendedSupervisorState, 1) }
    try most.core.setCR4(most.cpu.pointee.cr4 | X86.CR4.fsgsbase)
  }
}

/// ADX, RDRAND, RDSEED, RDPID, FSGSBASE and SALC: what the host cannot be asked about.
struct AdditionalInstructionTests {
  private func machine() throws -> LongModeCore {
    let machine = try LongModeCore(model: .max)
    machine.cpu.pointee.cr4 |= X86.CR4.fsgsbase
    return machine
  }

  @Test func `random numbers come with CF`() throws {
    let machine = try machine()
    for code in [[0x48, 0x0f, 0xc7, 0xf0], [0x48, 0x0f, 0xc7, 0xf8]] as [[UInt8]] {
      var seen: Set<UInt64> = []
      for _ in 0..<20 {
        machine.cpu.statusFlags = X86.Flags.status
        #expect(try machine.run(code) == nil)
        #expect(machine.cpu.statusFlags == X86.Flags.carry)
        seen.insert(machine.cpu.rax)
      }
      #expect(seen.count == 20)
    }
    machine.cpu.rax = .max
    try machine.run([0x0f, 0xc7, 0xf0])
    #expect(machine.cpu.rax >> 32 == 0)
    machine.cpu.rax = .max
    try machine.run([0x66, 0x0f, 0xc7, 0xf0])
    #expect(machine.cpu.rax >> 16 == .max >> 16)
  }

  @Test func `RDPID reads TSC_AUX`() throws {
    let machine = try machine()
    try machine.core.writeMSR(X86.MSR.tscAux, 0x1234)
    machine.cpu.rcx = .max
    #expect(try machine.run([0xf3, 0x0f, 0xc7, 0xf9]) == nil)
    #expect(machine.cpu.rcx == 0x1234)
  }

  @Test func `the bases of FS and GS are read and written where CR4 permits it`() throws {
    let machine = try machine()
    machine.cpu.rcx = 0x1234_5678_9abc
    #expect(try machine.run([0xf3, 0x48, 0x0f, 0xae, 0xd1]) == nil)  // wrfsbase rcx
    #expect(machine.cpu.segmentBase(4) == 0x1234_5678_9abc)
    #expect(try machine.run([0xf3, 0x0f, 0xae, 0xd9]) == nil)  // wrgsbase ecx
    #expect(machine.cpu.segmentBase(5) == 0x5678_9abc)
    #expect(try machine.run([0xf3, 0x48, 0x0f, 0xae, 0xc0]) == nil)  // rdfsbase rax
    #expect(machine.cpu.rax == 0x1234_5678_9abc)
    #expect(try machine.run([0xf3, 0x0f, 0xae, 0xc0]) == nil)  // rdfsbase eax
    #expect(machine.cpu.rax == 0x5678_9abc)
    machine.cpu.rcx = 1 << 60
    #expect(try machine.run([0xf3, 0x48, 0x0f, 0xae, 0xd1]) == X86.Exception.generalProtection)
    machine.cpu.pointee.cr4 &= ~X86.CR4.fsgsbase
    #expect(try machine.run([0xf3, 0x48, 0x0f, 0xae, 0xc0]) == X86.Exception.invalidOpcode)
  }

  @Test func `SALC spreads CF over AL`() throws {
    let machine = try machine()
    machine.cpu.rax = 0x1234
    machine.cpu.statusFlags = X86.Flags.carry
    #expect(try machine.run([0xd6], mode: .bits32) == nil)
    #expect(machine.cpu.rax == 0x12ff && machine.cpu.statusFlags == X86.Flags.carry)
    machine.cpu.statusFlags = 0
    try machine.run([0xd6], mode: .bits16)
    #expect(machine.cpu.rax == 0x1200)
  }
}

/// XSAVEC, XSAVES and XRSTORS: SDM Vol. 1 §13.10 to §13.12. `[rsi]` is the area.
struct CompactedStateTests {
  private static let area: UInt64 = 0x3ec0
  private let xsavec: [UInt8] = [0x48, 0x0f, 0xc7, 0x26]
  private let xsaves: [UInt8] = [0x48, 0x0f, 0xc7, 0x2e]
  private let xrstors: [UInt8] = [0x48, 0x0f, 0xc7, 0x1e]
  private let xrstor: [UInt8] = [0x48, 0x0f, 0xae, 0x2e]

  private func machine() throws -> LongModeCore {
    let machine = try LongModeCore.withAVX()
    machine.cpu.rsi = Self.area
    (machine.cpu.rax, machine.cpu.rdx) = (7, 0)
    return machine
  }

  private func word(_ machine: LongModeCore, _ offset: UInt64) throws -> UInt64 {
    try machine.memory.load(UInt64.self, at: GPA(Self.area + offset))
  }

  @Test(arguments: [false, true])
  func `what is saved comes back, and what was initial is initial again`(_ supervisor: Bool) throws
  {
    let machine = try machine()
    let save = supervisor ? xsaves : xsavec
    machine.cpu.setVector(3, SIMD2<UInt64>(5, 6))
    #expect(try machine.run(save) == nil)
    #expect(try word(machine, 512) == 3)
    #expect(try word(machine, 520) == 1 << 63 | 7)
    machine.cpu.setVector(3, SIMD2<UInt64>(0, 0))
    machine.cpu.setVector(UInt8(X86_VECTOR_UPPER) + 3, SIMD2<UInt64>(1, 1))
    #expect(try machine.run(supervisor ? xrstors : xrstor) == nil)
    #expect(machine.cpu.vector(3, as: SIMD2<UInt64>.self) == SIMD2(5, 6))
    #expect(machine.cpu.vector(UInt8(X86_VECTOR_UPPER) + 3, as: SIMD2<UInt64>.self) == .zero)
  }

  @Test func `MXCSR is part of SSE state`() throws {
    let machine = try machine()
    machine.cpu.mxcsr = 0x1f80
    machine.cpu.rax = 2
    #expect(try machine.run(xsavec) == nil)
    #expect(try word(machine, 512) == 0)
    machine.cpu.mxcsr = 0x9f80
    #expect(try machine.run(xsavec) == nil)
    #expect(try word(machine, 512) == 2)
    machine.cpu.mxcsr = 0x1f80
    #expect(try machine.run(xrstor) == nil)
    #expect(machine.cpu.mxcsr == 0x9f80)
    try machine.memory.store(0 as UInt64, at: GPA(Self.area + 512))
    #expect(try machine.run(xrstor) == nil)
    #expect(machine.cpu.mxcsr == 0x1f80)
  }

  @Test func `areas of another form are refused`() throws {
    let machine = try machine()
    let fault = X86.Exception.generalProtection
    #expect(try machine.run(xsavec) == nil)
    // A component that the form does not have; one that XCR0 does not; a reserved byte.
    for (offset, value) in [(512, 0xf), (520, 1 << 63 | 0x17), (560, 1)] as [(UInt64, UInt64)] {
      let old = try word(machine, offset)
      try machine.memory.store(value, at: GPA(Self.area + offset))
      #expect(try machine.run(xrstor) == fault)
      try machine.memory.store(old, at: GPA(Self.area + offset))
      #expect(try machine.run(xrstor) == nil)
    }
    // XRSTORS takes no standard form.
    try machine.memory.store(0 as UInt64, at: GPA(Self.area + 520))
    #expect(try machine.run(xrstors) == fault)
  }

  @Test func `the supervisor's forms are the supervisor's`() throws {
    let machine = try machine()
    machine.cpu.pointee.privilege = 3
    machine.core.modeChanged()
    #expect(try machine.run(xsavec) == nil)
    #expect(try machine.run(xsaves) == X86.Exception.generalProtection)
    #expect(try machine.run(xrstors) == X86.Exception.generalProtection)
  }
}

/// What is said of model-specific registers that are not there.
struct MissingRegisterTests {
  private final class Remarks: @unchecked Sendable {
    // Sendable although it is not locked: the core that remarks runs on the test's thread.
    var sentences: [String] = []
  }

  @Test func `a missing register is remarked once, and a value refused is not`() throws {
    let machine = try LongModeCore(model: .x86_64v2)
    let remarks = Remarks()
    machine.core.remark = { remarks.sentences.append($0) }
    for index in [0x1234, 0x1234, 0x1235] as [UInt64] {
      machine.cpu.rcx = index
      #expect(try machine.run([0x0f, 0x32]) == X86.Exception.generalProtection)
      #expect(try machine.run([0x0f, 0x30]) == X86.Exception.generalProtection)
    }
    #expect(remarks.sentences.count == 2 && remarks.sentences[0].contains("0x1234"))
    // PAT has no type 2.
    (machine.cpu.rcx, machine.cpu.rax, machine.cpu.rdx) = (0x277, 2, 0)
    #expect(try machine.run([0x0f, 0x30]) == X86.Exception.generalProtection)
    #expect(remarks.sentences.count == 2)
  }

  @Test func `a guest that tries them all is not remarked for ever`() throws {
    let machine = try LongModeCore(model: .x86_64v2)
    let remarks = Remarks()
    machine.core.remark = { remarks.sentences.append($0) }
    for index in 0x5000..<0x6000 as Range<UInt64> {
      machine.cpu.rcx = index
      #expect(try machine.run([0x0f, 0x32]) == X86.Exception.generalProtection)
    }
    #expect(remarks.sentences.count == 100)
  }
}
