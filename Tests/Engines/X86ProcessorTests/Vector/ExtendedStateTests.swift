import ArchitectureX86
import CProcessor
import Memory
import Testing

@testable import X86Processor

/// XSAVE and its kin: SDM Vol. 1 chapter 13. `[rsi]` is the area of each instruction.
struct ExtendedStateTests {
  private static let area: UInt64 = 0x3ec0  // reaches into the next page
  private let xsave: [UInt8] = [0x48, 0x0f, 0xae, 0x26]
  private let xrstor: [UInt8] = [0x48, 0x0f, 0xae, 0x2e]
  private let xsaveopt: [UInt8] = [0x48, 0x0f, 0xae, 0x36]
  private let xgetbv: [UInt8] = [0x0f, 0x01, 0xd0]
  private let xsetbv: [UInt8] = [0x0f, 0x01, 0xd1]

  /// A processor whose system uses XSAVE, with every component enabled.
  private func enabledCore() throws -> LongModeCore {
    let machine = try LongModeCore(model: .x86_64v3)
    machine.cpu.pointee.cr4 |= X86.CR4.xsave
    machine.cpu.pointee.xcr0 = 7
    machine.core.modeChanged()
    machine.cpu.rsi = Self.area
    request(machine, .max)
    return machine
  }

  private func request(_ machine: LongModeCore, _ components: UInt64) {
    machine.cpu.rax = components & 0xffff_ffff
    machine.cpu.rdx = components >> 32
  }

  private func fill(_ machine: LongModeCore) {
    for index in 0..<16 as Range<UInt8> {
      machine.cpu.setVector(index, SIMD2<UInt64>(UInt64(index), 1))
      machine.cpu.setVector(UInt8(X86_VECTOR_UPPER) + index, SIMD2<UInt64>(UInt64(index), 2))
    }
  }

  private func header(_ machine: LongModeCore) throws -> UInt64 {
    try machine.memory.load(UInt64.self, at: GPA(Self.area + 512))
  }

  // MARK: - Control

  @Test func `a model without XSAVE has none of it`() throws {
    let machine = try LongModeCore()
    machine.cpu.rsi = Self.area
    for code in [xsave, xrstor, xsaveopt, xgetbv, xsetbv] {
      #expect(try machine.run(code) == X86.Exception.invalidOpcode)
    }
    #expect(throws: Fault.self) { try machine.core.setCR4(machine.cpu.pointee.cr4 | X86.CR4.xsave) }
    #expect(machine.core.cpuid(0xd, 0) == .init())
  }

  @Test func `nothing works before the system enables it`() throws {
    let machine = try enabledCore()
    machine.cpu.pointee.cr4 &= ~X86.CR4.xsave
    for code in [xsave, xrstor, xsaveopt, xgetbv, xsetbv] {
      #expect(try machine.run(code) == X86.Exception.invalidOpcode)
    }
    #expect(machine.core.cpuid(1, 0).ecx & 1 << 27 == 0)
    try machine.core.setCR4(machine.cpu.pointee.cr4 | X86.CR4.xsave)
    #expect(machine.core.cpuid(1, 0).ecx & 1 << 27 != 0)
    machine.cpu.rcx = 0
    #expect(try machine.run(xgetbv) == nil)
  }

  @Test func `prefixes that mean other instructions make these undefined`() throws {
    let machine = try enabledCore()
    machine.cpu.rcx = 0
    for prefix in [0x66, 0xf2, 0xf3, 0xf0] as [UInt8] {
      for code in [xsave, xrstor, xgetbv, xsetbv] {
        #expect(try machine.run([prefix] + code) == X86.Exception.invalidOpcode)
      }
    }
  }

  @Test func `XCR0 takes what the model has`() throws {
    let machine = try enabledCore()
    machine.cpu.rcx = 0
    for (value, isTaken) in [
      (1, true), (3, true), (7, true), (0, false), (2, false), (5, false), (6, false), (0xf, false),
      (1 << 32 | 7, false),
    ] as [(UInt64, Bool)] {
      request(machine, value)
      #expect(try machine.run(xsetbv) == (isTaken ? nil : X86.Exception.generalProtection))
      guard isTaken else { continue }
      #expect(machine.cpu.pointee.xcr0 == value)
      request(machine, .max)
      #expect(try machine.run(xgetbv) == nil)
      #expect(machine.cpu.rax == value && machine.cpu.rdx == 0)
      #expect(machine.core.cpuid(0xd, 0).ebx == (value == 7 ? 832 : 576))
    }
    request(machine, 7)
    machine.cpu.rcx = 1
    #expect(try machine.run(xsetbv) == X86.Exception.generalProtection)
    machine.cpu.rcx = 2
    #expect(try machine.run(xgetbv) == X86.Exception.generalProtection)
    machine.cpu.rcx = 0
    machine.cpu.pointee.privilege = 3
    #expect(try machine.run(xsetbv) == X86.Exception.generalProtection)
  }

  @Test func `XGETBV tells which components are in use`() throws {
    let machine = try enabledCore()
    machine.cpu.rcx = 1
    #expect(try machine.run(xgetbv) == nil)
    #expect(machine.cpu.rax == 1)
    machine.cpu.setVector(3, SIMD2<UInt64>(0, 1))
    #expect(try machine.run(xgetbv) == nil)
    #expect(machine.cpu.rax == 3)
    machine.cpu.setVector(UInt8(X86_VECTOR_UPPER) + 15, SIMD2<UInt64>(1, 0))
    #expect(try machine.run(xgetbv) == nil)
    #expect(machine.cpu.rax == 7)
  }

  @Test func `CPUID describes the area`() {
    let model = X86.CPUModel.x86_64v3
    #expect(model.leaf(0xd, 0) == .init(eax: 7, ebx: 576, ecx: 832))
    #expect(model.leaf(0xd, 1) == .init(eax: 5))
    #expect(model.leaf(0xd, 2) == .init(eax: 256, ebx: 576))
    #expect(model.leaf(0xd, 3) == .init())
  }

  // MARK: - Areas

  @Test func `all components go through memory`() throws {
    let machine = try enabledCore()
    fill(machine)
    machine.cpu.pointee.mxcsr = 0x9fc5
    try machine.run([0xdb, 0xe3])  // fninit
    try machine.run([0xd9, 0xe8])  // fld1
    #expect(try machine.run(xsave) == nil)
    #expect(try header(machine) == 7)
    #expect(try machine.memory.load(UInt64.self, at: GPA(Self.area + 576 + 15 * 16)) == 15)
    resetVectorState(machine.cpu)
    try machine.run([0xdb, 0xe3])
    #expect(try machine.run(xrstor) == nil)
    for index in 0..<16 as Range<UInt8> {
      #expect(machine.cpu.vector(index) == SIMD2<UInt64>(UInt64(index), 1))
      #expect(
        machine.cpu.vector(UInt8(X86_VECTOR_UPPER) + index) == SIMD2<UInt64>(UInt64(index), 2))
    }
    #expect(machine.cpu.pointee.mxcsr == 0x9fc5)
    #expect(machine.cpu.x87.pointee[0].significand == 1 << 63)
  }

  @Test func `what is not asked for stays as it is`() throws {
    let machine = try enabledCore()
    fill(machine)
    try machine.memory.store(0xff00 as UInt64, at: GPA(Self.area + 512))
    try machine.memory.store(0x5555 as UInt16, at: GPA(Self.area))
    try machine.memory.store(0x1234 as UInt64, at: GPA(Self.area + 160))
    request(machine, 4)
    #expect(try machine.run(xsave) == nil)
    #expect(try header(machine) == 0xff04)
    #expect(try machine.memory.load(UInt16.self, at: GPA(Self.area)) == 0x5555)
    #expect(try machine.memory.load(UInt64.self, at: GPA(Self.area + 160)) == 0x1234)
    #expect(try machine.memory.load(UInt32.self, at: GPA(Self.area + 24)) == 0x1f80)
    #expect(try machine.memory.load(UInt64.self, at: GPA(Self.area + 592)) == 1)
  }

  @Test func `components that the area does not hold are initialised`() throws {
    let machine = try enabledCore()
    fill(machine)
    try machine.run([0xd9, 0xe8])  // fld1
    try machine.memory.store(0 as UInt64, at: GPA(Self.area + 512))
    try machine.memory.store(0xffff as UInt32, at: GPA(Self.area + 24))
    request(machine, 5)
    #expect(try machine.run(xrstor) == nil)
    #expect(machine.cpu.vector(3) == SIMD2<UInt64>(3, 1))
    #expect(machine.cpu.vector(UInt8(X86_VECTOR_UPPER) + 3) == SIMD2<UInt64>(0, 0))
    #expect(machine.cpu.x87.pointee.control.rawValue == 0x37f)
    #expect(machine.cpu.x87.pointee.tags == 0)
    // MXCSR comes from the area with either of SSE and AVX, whether those are held or not.
    #expect(machine.cpu.pointee.mxcsr == 0xffff)
    request(machine, 2)
    #expect(try machine.run(xrstor) == nil)
    #expect(machine.cpu.vector(3) == SIMD2<UInt64>(0, 0))
  }

  @Test func `XSAVEOPT leaves out what is initial`() throws {
    let machine = try enabledCore()
    machine.cpu.setVector(1, SIMD2<UInt64>(7, 7))
    try machine.memory.store(0x1234 as UInt64, at: GPA(Self.area + 576))
    #expect(try machine.run(xsaveopt) == nil)
    #expect(try header(machine) == 3)
    #expect(try machine.memory.load(UInt64.self, at: GPA(Self.area + 576)) == 0x1234)
    #expect(try machine.run(xsave) == nil)
    #expect(try header(machine) == 3)
    #expect(try machine.memory.load(UInt64.self, at: GPA(Self.area + 576)) == 0)
  }

  // MARK: - Exceptions

  @Test func `CR0 and the area's address are checked`() throws {
    let machine = try enabledCore()
    for code in [xsave, xrstor, xsaveopt] {
      machine.cpu.rsi = Self.area + 32
      #expect(try machine.run(code) == X86.Exception.generalProtection)
      machine.cpu.rsi = LongModeCore.absentPage - 576
      request(machine, 7)
      #expect(try machine.run(code) == X86.Exception.pageFault)
      #expect(machine.cpu.pointee.cr2 == LongModeCore.absentPage)
      request(machine, 3)
      #expect(try machine.run(code) == nil)
      machine.cpu.pointee.cr0 |= X86.CR0.taskSwitched
      #expect(try machine.run(code) == X86.Exception.deviceNotAvailable)
      machine.cpu.pointee.cr0 &= ~X86.CR0.taskSwitched
    }
  }

  @Test func `XRSTOR refuses headers and MXCSR with reserved bits`() throws {
    let machine = try enabledCore()
    #expect(try machine.run(xsave) == nil)
    for (offset, isRefused) in [(512, true), (520, true), (528, true), (536, false), (568, false)] {
      let place = GPA(Self.area + UInt64(offset) + 7)
      try machine.memory.store(0x80 as UInt8, at: place)
      fill(machine)
      let expected = isRefused ? X86.Exception.generalProtection : nil
      #expect(try machine.run(xrstor) == expected)
      if isRefused { #expect(machine.cpu.vector(3) == SIMD2<UInt64>(3, 1)) }
      try machine.memory.store(0 as UInt8, at: place)
    }
    // A component that XCR0 does not enable
    machine.cpu.pointee.xcr0 = 3
    try machine.memory.store(7 as UInt64, at: GPA(Self.area + 512))
    #expect(try machine.run(xrstor) == X86.Exception.generalProtection)
    machine.cpu.pointee.xcr0 = 7
    try machine.memory.store(0x1_1f80 as UInt32, at: GPA(Self.area + 24))
    #expect(try machine.run(xrstor) == X86.Exception.generalProtection)
    request(machine, 1)
    #expect(try machine.run(xrstor) == nil)
  }

  // MARK: - State in and out

  @Test func `a saved state has the upper halves, and one without them clears those`() throws {
    let machine = try enabledCore()
    fill(machine)
    var state = machine.core.state
    #expect(state.xsave.count == 832 && state.xsave[512] == 7)
    #expect(state.xcr0 == 7)
    let other = try LongModeCore(model: .x86_64v3)
    try other.core.restore(state)
    #expect(other.cpu.vector(UInt8(X86_VECTOR_UPPER) + 9) == SIMD2<UInt64>(9, 2))
    #expect(other.core.state.xsave == state.xsave)
    state.xsave = Array(state.xsave.prefix(576))
    try other.core.restore(state)
    #expect(other.cpu.vector(9) == SIMD2<UInt64>(9, 1))
    #expect(other.cpu.vector(UInt8(X86_VECTOR_UPPER) + 9) == SIMD2<UInt64>(0, 0))
    #expect(throws: StateError.self) { try LongModeCore().core.restore(state) }
    #expect(try LongModeCore().core.state.xsave.count == 576)
  }
}
