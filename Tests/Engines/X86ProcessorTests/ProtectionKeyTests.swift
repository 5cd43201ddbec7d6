import ArchitectureX86
import CProcessor
import Memory
import Testing

@testable import X86Processor

/// Protection keys for user-mode pages: SDM Vol. 3A §4.6.2 "Protection Keys", §4.7 "Page-Fault Exceptions".
struct ProtectionKeyTests {
  private typealias Place = TestMachine.Place
  private static let page: UInt64 = 0x60_0010_0000
  private static let code: UInt64 = 0x60_0020_0000
  private static let xsave: UInt32 = 1 << 26
  private static let pku: UInt32 = 1 << 3
  private static let key: UInt64 = 5

  private static let accessDisable: UInt32 = 1 << 10
  private static let writeDisable: UInt32 = 2 << 10

  /// A machine with keys in use, and a page of the user's with key 5 at `page`; `code` is what level 3 can run.
  private func machine(_ code: [UInt8], user: Bool = true) -> TestMachine {
    let machine = TestMachine(features: (Self.xsave, 0, Self.pku))
    machine.map(Self.page, to: Place.data, 7 | Self.key << 59)
    machine.map(Self.code, to: Place.code, 5)
    machine.cpu.pointee.cr4 |= X86.CR4.protectionKeys | X86.CR4.xsave
    machine.cpu.pointee.xcr0 = X86.StateComponents.x87 | X86.StateComponents.protectionKeys
    machine.core.modeChanged()
    machine.core.flushTranslations(global: true)
    machine.write(code, at: Place.code)
    if user { machine.setPrivilege(3) }
    machine.cpu.rbx = Self.page
    machine.write(0x1234, at: Place.data)
    return machine
  }

  // MARK: - The instructions

  @Test func `RDPKRU and WRPKRU need CR4.PKE and registers of zero`() throws {
    let machine = try LongModeCore(model: .max)
    let (read, write) = ([0x0f, 0x01, 0xee] as [UInt8], [0x0f, 0x01, 0xef] as [UInt8])
    for code in [read, write] {
      #expect(try machine.run(code) == X86.Exception.invalidOpcode)
    }
    #expect(machine.core.cpuid(7, 0).ecx & 0x18 == 8)
    try machine.core.setCR4(machine.cpu.pointee.cr4 | X86.CR4.protectionKeys)
    #expect(machine.core.cpuid(7, 0).ecx & 0x18 == 0x18)
    // The upper halves of RCX and RDX do not count.
    machine.cpu.rax = 0xffff_ffff_5555_5554
    machine.cpu.rcx = 1 << 32
    machine.cpu.rdx = 1 << 32
    #expect(try machine.run(write) == nil)
    (machine.cpu.rax, machine.cpu.rdx) = (.max, .max)
    #expect(try machine.run(read) == nil)
    #expect(machine.cpu.rax == 0x5555_5554 && machine.cpu.rdx == 0)
    machine.cpu.rdx = 1
    #expect(try machine.run(write) == X86.Exception.generalProtection)
    #expect(try machine.run(read) == nil)
    machine.cpu.rcx = 1
    for code in [read, write] {
      #expect(try machine.run(code) == X86.Exception.generalProtection)
    }
    machine.cpu.rcx = 0
    for prefix in [0x66, 0xf2, 0xf3, 0xf0] as [UInt8] {
      #expect(try machine.run([prefix] + read) == X86.Exception.invalidOpcode)
    }
    // Level 3 may use both.
    machine.cpu.pointee.privilege = 3
    machine.core.modeChanged()
    #expect(try machine.run(read) == nil)
    #expect(try machine.run(write) == nil)
  }

  @Test func `models that do not announce keys have nothing of them`() throws {
    for model in X86.CPUModel.all where model.name != "max" {
      #expect(model.leaf(7, 0).map { $0.ecx & 0x18 } ?? 0 == 0)
      #expect(model.features.stateComponents & X86.StateComponents.protectionKeys == 0)
      let machine = try LongModeCore(model: model)
      #expect(throws: Fault.self) {
        try machine.core.setCR4(machine.cpu.pointee.cr4 | X86.CR4.protectionKeys)
      }
    }
  }

  @Test func `without keys max is the same but for them`() {
    let (with, without) = (X86.CPUModel.max, X86.CPUModel.maxWithoutKeys)
    var features = with.features
    features.leaf7ECX &= ~(1 << 3)
    #expect(features == without.features)
    #expect(without.leaf(0xd, 0)?.ecx == 832)
    #expect(without.leaf(0xd, 9) == .init())
  }

  // MARK: - Accesses

  struct Trial: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var rights: UInt32
    var user: Bool
    var writes: Bool
    var protects = true
    /// The page fault's code.
    var code: UInt64?
  }

  static let trials: [Trial] = [
    Trial(
      testDescription: "AD, user reads", rights: accessDisable, user: true, writes: false,
      code: 0x25),
    Trial(
      testDescription: "AD, user writes", rights: accessDisable, user: true, writes: true,
      code: 0x27),
    Trial(testDescription: "WD, user reads", rights: writeDisable, user: true, writes: false),
    Trial(
      testDescription: "WD, user writes", rights: writeDisable, user: true, writes: true, code: 0x27
    ),
    Trial(
      testDescription: "AD, supervisor reads", rights: accessDisable, user: false, writes: false,
      code: 0x21),
    Trial(
      testDescription: "AD, supervisor writes", rights: accessDisable, user: false, writes: true,
      code: 0x23),
    Trial(
      testDescription: "AD, supervisor writes without WP", rights: accessDisable, user: false,
      writes: true,
      protects: false, code: 0x23),
    Trial(
      testDescription: "WD, supervisor reads", rights: writeDisable, user: false, writes: false),
    Trial(
      testDescription: "WD, supervisor writes", rights: writeDisable, user: false, writes: true,
      code: 0x23),
    Trial(
      testDescription: "WD, supervisor writes without WP", rights: writeDisable, user: false,
      writes: true,
      protects: false),
    Trial(
      testDescription: "other keys", rights: ~(accessDisable | writeDisable | 3), user: true,
      writes: true),
  ]

  /// PKRU is set first, then after the page was read and written, so that the TLB knows it.
  @Test(arguments: trials, [false, true])
  func `PKRU decides on data accesses`(_ trial: Trial, _ isKnown: Bool) {
    let access: UInt8 = trial.writes ? 0x89 : 0x8b
    // [mov [rbx], eax; mov ecx, [rbx];] xor ecx, ecx; xor edx, edx; mov eax, esi; wrpkru; access; hlt
    let prologue: [UInt8] = isKnown ? [0x89, 0x03, 0x8b, 0x0b] : []
    let code =
      prologue + [0x31, 0xc9, 0x31, 0xd2, 0x89, 0xf0, 0x0f, 0x01, 0xef, access, 0x03, 0xf4]
    let machine = machine(code, user: trial.user)
    if !trial.protects { machine.cpu.pointee.cr0 &= ~X86.CR0.writeProtect }
    machine.cpu.rsi = UInt64(trial.rights)
    machine.run(from: trial.user ? Self.code : Place.code)
    if let code = trial.code {
      #expect(machine.haltedVector == 14)
      #expect(machine.frame?.code == code)
      #expect(machine.cpu.pointee.cr2 == Self.page)
    } else {
      // HLT, which level 3 may not use.
      #expect(machine.haltedVector == (trial.user ? 13 : nil))
    }
  }

  @Test func `rights that come back are heeded, and a key is not asked of fetches`() {
    // xor ecx, ecx; xor edx, edx; mov eax, 0x400; wrpkru; xor eax, eax; wrpkru; mov [rbx], eax; mov eax, [rbx]; hlt
    let machine = machine([
      0x31, 0xc9, 0x31, 0xd2, 0xb8, 0, 4, 0, 0, 0x0f, 0x01, 0xef, 0x31, 0xc0, 0x0f, 0x01, 0xef,
      0x89, 0x03, 0x8b, 0x03, 0xf4,
    ])
    machine.map(Self.code, to: Place.code, 5 | Self.key << 59)
    machine.cpu.pointee.pkru = Self.accessDisable
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 13)
    #expect(machine.cpu.rax == 0)
  }

  @Test func `keys mean nothing without CR4.PKE, and nothing on the supervisor's pages`() {
    let machine = machine([0x8b, 0x03, 0xf4], user: false)
    machine.cpu.pointee.pkru = .max
    machine.map(Self.page, to: Place.data, 3 | Self.key << 59)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil && machine.cpu.rax == 0x1234)
    machine.map(Self.page, to: Place.data, 7 | Self.key << 59)
    machine.core.flushTranslations(global: true)
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 14)
    machine.enterLongMode()
    machine.cpu.pointee.pkru = .max
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
  }

  @Test func `a write denied twice names both reasons, and one to an absent page none`() {
    for (flags, code) in [(5, 0x27), (6, 6)] as [(UInt64, UInt64)] {
      let machine = machine([0x89, 0x03, 0xf4])
      machine.map(Self.page, to: Place.data, flags | Self.key << 59)
      machine.cpu.pointee.pkru = Self.writeDisable
      machine.run(from: Self.code)
      #expect(machine.haltedVector == 14)
      #expect(machine.frame?.code == code)
    }
  }

  @Test func `what other keys lose does not concern a page`() {
    // mov [rbx], eax (known); wrpkru for key 6; mov [rbx], eax; wrpkru for key 5; mov [rbx], eax
    let change: [UInt8] = [0x31, 0xc9, 0x31, 0xd2, 0x0f, 0x01, 0xef]
    let machine = machine(
      [0x89, 0x03, 0xb8, 0, 0x30, 0, 0] + change + [0x89, 0x03, 0xb8, 0, 0x38, 0, 0] + change
        + [0x89, 0x03, 0xf4])
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 14)
    #expect(machine.frame?.rip == Self.code + 28)
    #expect(machine.read(Place.data) & 0xffff_ffff == 0x3000)
  }

  // MARK: - XSAVE

  /// `[rsi]` is the area. The instructions are tried on `max`, whose PKRU lies behind AVX state.
  private func enabledCore() throws -> LongModeCore {
    let machine = try LongModeCore(model: .max)
    machine.cpu.pointee.cr4 |= X86.CR4.xsave | X86.CR4.protectionKeys
    machine.cpu.pointee.xcr0 = 0x207
    machine.core.modeChanged()
    machine.cpu.rsi = 0x3040
    machine.cpu.rax = .max
    machine.cpu.rdx = .max
    return machine
  }

  @Test func `CPUID describes the component`() throws {
    let model = X86.CPUModel.max
    #expect(model.leaf(0xd, 0) == .init(eax: 0x207, ebx: 576, ecx: 2696))
    #expect(model.leaf(0xd, 1)?.ebx == 840)
    #expect(model.leaf(0xd, 9) == .init(eax: 8, ebx: 2688))
    let machine = try enabledCore()
    #expect(machine.core.cpuid(0xd, 0).ebx == 2696)
    #expect(machine.core.cpuid(0xd, 1).ebx == 840)
    machine.cpu.pointee.xcr0 = 0x203
    #expect(machine.core.cpuid(0xd, 0).ebx == 2696)
    #expect(machine.core.cpuid(0xd, 1).ebx == 584)
    machine.cpu.pointee.xcr0 = 7
    #expect(machine.core.cpuid(0xd, 0).ebx == 832)
    #expect(machine.core.cpuid(0xd, 1).ebx == 832)
  }

  static let forms: [(save: [UInt8], restore: [UInt8], offset: UInt64)] = [
    ([0x48, 0x0f, 0xae, 0x26], [0x48, 0x0f, 0xae, 0x2e], 2688),  // XSAVE, XRSTOR
    ([0x48, 0x0f, 0xae, 0x36], [0x48, 0x0f, 0xae, 0x2e], 2688),  // XSAVEOPT
    ([0x48, 0x0f, 0xc7, 0x26], [0x48, 0x0f, 0xae, 0x2e], 832),  // XSAVEC
    ([0x48, 0x0f, 0xc7, 0x2e], [0x48, 0x0f, 0xc7, 0x1e], 832),  // XSAVES, XRSTORS
  ]

  @Test(arguments: 0..<4)
  func `PKRU is saved and restored at its place`(_ form: Int) throws {
    let (save, restore, offset) = Self.forms[form]
    let machine = try enabledCore()
    let area = machine.cpu.rsi
    machine.cpu.pointee.pkru = 0x1234_5678
    machine.cpu.setVector(UInt8(X86_VECTOR_UPPER), SIMD2<UInt64>(1, 2))
    #expect(try machine.run(save) == nil)
    #expect(try machine.memory.load(UInt64.self, at: GPA(area + 512)) & 0x204 == 0x204)
    #expect(try machine.memory.load(UInt64.self, at: GPA(area + offset)) == 0x1234_5678)
    machine.cpu.pointee.pkru = 0
    #expect(try machine.run(restore) == nil)
    #expect(machine.cpu.pointee.pkru == 0x1234_5678)
    #expect(machine.cpu.vector(UInt8(X86_VECTOR_UPPER)) == SIMD2<UInt64>(1, 2))
    // Without AVX state asked for, the compacted form has PKRU right behind the header.
    machine.cpu.rax = 0x200
    machine.cpu.rdx = 0
    #expect(try machine.run(save) == nil)
    let place = offset == 832 ? 576 : offset
    #expect(try machine.memory.load(UInt64.self, at: GPA(area + place)) == 0x1234_5678)
    machine.cpu.pointee.pkru = 0
    #expect(try machine.run(restore) == nil)
    #expect(machine.cpu.pointee.pkru == 0x1234_5678)
    // What the area does not hold becomes initial; what is not asked for stays.
    try machine.memory.store(0 as UInt64, at: GPA(area + 512))
    machine.cpu.rax = 7
    #expect(try machine.run(restore) == nil)
    #expect(machine.cpu.pointee.pkru == 0x1234_5678)
    machine.cpu.rax = 0x200
    #expect(try machine.run(restore) == nil)
    #expect(machine.cpu.pointee.pkru == 0)
  }

  @Test func `XGETBV tells whether PKRU is in use, and XSETBV takes its bit`() throws {
    let machine = try enabledCore()
    machine.cpu.rcx = 1
    machine.cpu.pointee.pkru = 4
    #expect(try machine.run([0x0f, 0x01, 0xd0]) == nil)
    #expect(machine.cpu.rax == 0x201)
    (machine.cpu.rcx, machine.cpu.rax, machine.cpu.rdx) = (0, 0x201, 0)
    #expect(try machine.run([0x0f, 0x01, 0xd1]) == nil)
    machine.cpu.rax = 0x200
    #expect(try machine.run([0x0f, 0x01, 0xd1]) == X86.Exception.generalProtection)
  }

  @Test func `an area whose PKRU is out of reach is neither saved nor restored`() throws {
    let machine = try enabledCore()
    machine.cpu.pointee.pkru = 4
    #expect(try machine.run(Self.forms[0].save) == nil)
    let area = LongModeCore.absentPage - 2688
    for offset in stride(from: 0, to: 832, by: 8) as StrideTo<UInt64> {
      let word = try machine.memory.load(UInt64.self, at: GPA(machine.cpu.rsi + offset))
      try machine.memory.store(word, at: GPA(area + offset))
    }
    machine.cpu.rsi = area
    machine.cpu.pointee.mxcsr = 0x1fc0
    machine.cpu.mxcsr = 0x1fc0
    for code in [Self.forms[0].save, Self.forms[0].restore] {
      #expect(try machine.run(code) == X86.Exception.pageFault)
      #expect(machine.cpu.pointee.cr2 == LongModeCore.absentPage)
      #expect(try machine.memory.load(UInt32.self, at: GPA(area + 24)) == 0x1f80)
      #expect(machine.cpu.mxcsr == 0x1fc0)
    }
  }

  @Test func `XRSTOR takes rights away from pages that are known`() {
    // mov [rbx], eax; mov eax, 0x200; xor edx, edx; xrstor [rsi]; mov [rbx], eax
    let machine = machine(
      [
        0x89, 0x03, 0xb8, 0, 2, 0, 0, 0x31, 0xd2, 0x0f, 0xae, 0x2e, 0x89, 0x03, 0xf4,
      ])
    machine.map(Self.page + 0x1000, to: Place.data + 0x1000, 7)
    machine.write(0x200, at: Place.data + 0x1000 + 512)
    machine.write(UInt64(Self.writeDisable), at: Place.data + 0x1000 + 2688)
    machine.cpu.rsi = Self.page + 0x1000
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 14)
    #expect(machine.frame?.code == 0x27)
    #expect(machine.frame?.rip == Self.code + 12)
  }

  // MARK: - State in and out

  @Test func `a saved state has PKRU, and one without it clears it`() throws {
    let machine = try enabledCore()
    machine.cpu.pointee.pkru = 0x5555_5554
    var state = machine.core.state
    #expect(state.xsave.count == 2696 && state.xsave[513] == 2)
    let other = try LongModeCore(model: .max)
    try other.core.restore(state)
    #expect(other.cpu.pointee.pkru == 0x5555_5554)
    #expect(other.core.state.xsave == state.xsave)
    // As machines were saved before there were keys.
    state.xsave = Array(state.xsave.prefix(832))
    state.xsave[513] = 0
    state.xcr0 = 7
    try other.core.restore(state)
    #expect(other.cpu.pointee.pkru == 0)
    state.xcr0 = 0x207
    #expect(throws: StateError.self) { try LongModeCore(model: .x86_64v3).core.restore(state) }
  }
}
