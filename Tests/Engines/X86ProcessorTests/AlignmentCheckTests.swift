import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// Alignment checks: SDM Vol. 3A §6.15, "Interrupt 17 - Alignment Check Exception (#AC)". What is said of each
/// instruction is what an AMD processor does.
struct AlignmentCheckTests {
  private typealias Place = TestMachine.Place
  private static let page: UInt64 = 0x60_0010_0000
  private static let code: UInt64 = 0x60_0020_0000
  /// INT 80h, the end of what raises nothing.
  private static let end: [UInt8] = [0xcd, 0x80]

  /// A machine with checks on, whose user has a page of data at RBX and a stack at its end.
  private func machine(_ code: [UInt8], user: Bool = true) -> TestMachine {
    // XSAVE, AVX; AVX2
    let machine = TestMachine(features: (1 << 26 | 1 << 28, 1 << 5, 0))
    machine.map(Self.page, to: Place.data, 7)
    machine.map(Self.code, to: Place.code, 5)
    machine.cpu.pointee.cr4 |= X86.CR4.xsave
    machine.cpu.pointee.xcr0 = 7
    machine.cpu.pointee.cr0 |= X86.CR0.alignmentMask
    machine.cpu.rflags = X86.Flags.alignmentCheck
    machine.core.modeChanged()
    machine.core.flushTranslations(global: true)
    machine.write(code + Self.end, at: Place.code)
    if user { machine.setPrivilege(3) }
    machine.cpu.rbx = Self.page
    machine.cpu.rsi = Self.page + 1
    machine.cpu.rdi = Self.page + 0x100
    machine.cpu.rsp = Self.page + 0x1000
    machine.cpu.rcx = 0
    return machine
  }

  struct Trial: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var code: [UInt8]
    /// `nil`: none.
    var vector: Int?

    init(_ description: String, _ code: [UInt8], _ vector: Int? = 17) {
      testDescription = description
      self.code = code
      self.vector = vector
    }
  }

  static let trials: [Trial] = [
    .init("MOV of 4 bytes at 4", [0x8b, 0x43, 0x04], nil),
    .init("MOV of 4 bytes at 2", [0x8b, 0x43, 0x02]),
    .init("MOV of 4 bytes to 2", [0x89, 0x43, 0x02]),
    .init("MOV of 8 bytes at 4", [0x48, 0x8b, 0x43, 0x04]),
    .init("MOV of 2 bytes at 1", [0x66, 0x8b, 0x43, 0x01]),
    .init("MOV of a byte at 1", [0x8a, 0x43, 0x01], nil),
    .init("MOVZX of a word at 1", [0x0f, 0xb7, 0x43, 0x01]),
    .init("ADD to memory at 2", [0x01, 0x43, 0x02]),
    .init("ADD with LOCK at 2", [0xf0, 0x01, 0x43, 0x02]),
    .init("ADD with LOCK at 4", [0xf0, 0x01, 0x43, 0x04], nil),
    .init("XCHG at 2", [0x87, 0x43, 0x02]),
    .init("CMPXCHG at 2", [0x0f, 0xb1, 0x4b, 0x02]),
    .init("CMPXCHG8B at 4", [0x0f, 0xc7, 0x4b, 0x04]),
    .init("CMPXCHG16B at 8", [0x48, 0x0f, 0xc7, 0x4b, 0x08], 13),
    .init("BT at 2", [0x0f, 0xa3, 0x4b, 0x02]),
    .init("MOVDQU at 8", [0xf3, 0x0f, 0x6f, 0x43, 0x08]),
    .init("MOVDQU to 8", [0xf3, 0x0f, 0x7f, 0x43, 0x08]),
    .init("MOVDQU at 16", [0xf3, 0x0f, 0x6f, 0x43, 0x10], nil),
    .init("MOVAPS at 8", [0x0f, 0x28, 0x43, 0x08], 13),
    .init("MOVSD at 4", [0xf2, 0x0f, 0x10, 0x43, 0x04]),
    .init("MOVSS at 2", [0xf3, 0x0f, 0x10, 0x43, 0x02]),
    .init("MOVHPS at 4", [0x0f, 0x16, 0x43, 0x04]),
    .init("STMXCSR to 2", [0x0f, 0xae, 0x5b, 0x02]),
    .init("MASKMOVDQU to 4", [0x48, 0x83, 0xc7, 0x04, 0x66, 0x0f, 0xf7, 0xc0]),
    .init("MASKMOVDQU to 8", [0x48, 0x83, 0xc7, 0x08, 0x66, 0x0f, 0xf7, 0xc0], nil),
    .init("VMOVDQU of 32 bytes at 16", [0xc5, 0xfe, 0x6f, 0x43, 0x10], nil),
    .init("VMOVDQU of 32 bytes at 8", [0xc5, 0xfe, 0x6f, 0x43, 0x08]),
    .init("VMOVDQU of 32 bytes to 8", [0xc5, 0xfe, 0x7f, 0x43, 0x08]),
    // vpcmpeqd xmm2, xmm2, xmm2; vpgatherdd xmm0, [rbx+xmm1+1], xmm2
    .init(
      "VPGATHERDD", [0xc5, 0xe9, 0x76, 0xd2, 0xc4, 0xe2, 0x69, 0x90, 0x44, 0x0b, 0x01], nil),
    .init("VMASKMOVPS at 1", [0xc5, 0xe9, 0x76, 0xd2, 0xc4, 0xe2, 0x69, 0x2c, 0x43, 0x01], nil),
    .init("VMASKMOVPS to 1", [0xc5, 0xe9, 0x76, 0xd2, 0xc4, 0xe2, 0x69, 0x2e, 0x43, 0x01], nil),
    .init("FLD of 10 bytes at 8", [0xdb, 0x6b, 0x08], nil),
    .init("FLD of 10 bytes at 4", [0xdb, 0x6b, 0x04]),
    .init("FSTP of 10 bytes to 4", [0xdb, 0xe3, 0xd9, 0xe8, 0xdb, 0x7b, 0x04]),
    .init("FSTP of 8 bytes to 4", [0xdb, 0xe3, 0xd9, 0xe8, 0xdd, 0x5b, 0x04]),
    .init("FBSTP to 4", [0xdb, 0xe3, 0xd9, 0xee, 0xdf, 0x73, 0x04]),
    .init("FNSTCW to 1", [0xd9, 0x7b, 0x01]),
    .init("FNSTENV to 4", [0xd9, 0x73, 0x04], nil),
    .init("FNSTENV to 2", [0xd9, 0x73, 0x02]),
    .init("FNSTENV of 16 bits to 2", [0x66, 0xd9, 0x73, 0x02], nil),
    .init("FNSTENV of 16 bits to 1", [0x66, 0xd9, 0x73, 0x01]),
    .init("FLDENV at 2", [0xd9, 0x63, 0x02]),
    .init("FNSAVE to 4", [0xdd, 0x73, 0x04], nil),
    .init("FNSAVE to 2", [0xdd, 0x73, 0x02]),
    .init("PUSH", [0x48, 0x83, 0xec, 0x04, 0x50]),
    .init("PUSHFQ", [0x48, 0x83, 0xec, 0x04, 0x9c]),
    .init("POP", [0x48, 0x83, 0xec, 0x0c, 0x58]),
    .init("RETF", [0x48, 0x83, 0xec, 0x24, 0x48, 0xcb]),
    .init("IRETQ", [0x48, 0x83, 0xec, 0x44, 0x48, 0xcf]),
    .init("ENTER", [0x48, 0x83, 0xec, 0x04, 0xc8, 0, 0, 0]),
    // The count in ECX first: mov cl, 2
    .init("REP MOVSQ from 1", [0xb1, 0x02, 0xf3, 0x48, 0xa5]),
    .init("REP MOVSB from 1", [0xb1, 0x02, 0xf3, 0xa4], nil),
    .init("REP MOVSQ of none", [0xf3, 0x48, 0xa5], nil),
    .init("REP STOSD to 100h", [0xb1, 0x04, 0xf3, 0xab], nil),
    .init("REP STOSD to 102h", [0xb1, 0x04, 0x66, 0x83, 0xc7, 0x02, 0xf3, 0xab]),
    .init("LODSW at 1", [0x66, 0xad]),
    .init("CMPSD at 1", [0xa7]),
    .init("PREFETCHT0", [0x0f, 0x18, 0x4b, 0x01], nil),
  ]

  @Test(arguments: trials)
  func `accesses must be aligned to their size`(_ trial: Trial) {
    let machine = machine(trial.code)
    machine.run(from: Self.code)
    #expect(machine.haltedVector == trial.vector ?? 0x80)
    if trial.vector == 17 { #expect(machine.frame?.code == 0) }
    // The same without checks: nothing but what is never allowed.
    let unchecked = self.machine(trial.code)
    unchecked.cpu.rflags = 0
    unchecked.run(from: Self.code)
    if trial.vector != 13, trial.testDescription != "RETF", trial.testDescription != "IRETQ" {
      #expect(unchecked.haltedVector == 0x80)
    } else {
      #expect(unchecked.haltedVector != 17)
    }
  }

  @Test func `nothing is checked without AM, without AC, and of the supervisor`() {
    let code: [UInt8] = [0x8b, 0x43, 0x01]
    let masked = machine(code)
    masked.cpu.pointee.cr0 &= ~X86.CR0.alignmentMask
    masked.core.modeChanged()
    masked.run(from: Self.code)
    #expect(masked.haltedVector == 0x80)
    let clear = machine(code)
    clear.cpu.rflags = 0
    clear.run(from: Self.code)
    #expect(clear.haltedVector == 0x80)
    let supervisor = machine(code, user: false)
    supervisor.run(from: Place.code)
    #expect(supervisor.haltedVector == 0x80)
  }

  @Test func `POPF turns checks on and off, whatever the TLB knows`() {
    // mov eax, [rbx+1]; pushfq; or dword [rsp], 40000h; popfq; mov ecx, [rbx+1]
    let code: [UInt8] = [
      0x8b, 0x43, 0x01, 0x9c, 0x81, 0x0c, 0x24, 0, 0, 4, 0, 0x9d, 0x8b, 0x4b, 0x01,
    ]
    let machine = machine(code)
    machine.cpu.rflags = 0
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 17)
    #expect(machine.frame?.rip == Self.code + 12)
    #expect(machine.frame.map { $0.flags & X86.Flags.resume } == X86.Flags.resume)
    // pushfq; and dword [rsp], ~40000h; popfq; mov ecx, [rbx+1]
    let off = self.machine([
      0x9c, 0x81, 0x24, 0x24, 0xff, 0xff, 0xfb, 0xff, 0x9d, 0x8b, 0x4b, 0x01,
    ])
    off.run(from: Self.code)
    #expect(off.haltedVector == 0x80)
  }

  @Test func `the handler's accesses are not checked, and the user's are again behind IRET`() {
    // mov eax, [rbx+1]; mov ecx, [rbx+2]
    let machine = machine([0x8b, 0x43, 0x01, 0x8b, 0x4b, 0x02])
    // mov eax, [data+1]; add qword [rsp+8], 3; add rsp, 8; inc dl; cmp dl, 2; je over; iretq; over: hlt
    let handler = Place.handlers + 0x4000
    machine.write(
      [
        0x8b, 0x04, 0x25, 1, 0, 0x20, 0, 0x48, 0x83, 0x44, 0x24, 0x08, 3, 0x48, 0x83, 0xc4, 0x08,
        0xfe, 0xc2, 0x80, 0xfa, 2, 0x74, 2, 0x48, 0xcf, 0xf4,
      ], at: handler)
    machine.setGate(17, handler: handler)
    machine.cpu.rdx = 0
    machine.run(from: Self.code)
    #expect(machine.cpu.rdx == 2)
    #expect(machine.cpu.pointee.rip == handler + 27)
  }

  @Test func `the check comes before a page fault, and behind an address that is none`() {
    for (address, vector) in [
      (Self.page + 0x1001, 17), (Self.page + 0xffe, 17), (0x8000_0000_0000_0001, 13),
      (Self.page + 0x1000, 14),
    ] as [(UInt64, Int)] {
      let machine = machine([0x8b, 0x03])
      machine.cpu.rbx = address
      machine.run(from: Self.code)
      #expect(machine.haltedVector == vector)
    }
  }

  @Test func `what the processor reads for a user is not checked`() {
    // mov ecx, 2bh; mov ds, ecx, by a descriptor table that is not aligned
    let machine = machine([0xb9, 0x2b, 0, 0, 0, 0x8e, 0xd9])
    let table = Place.descriptors + 0x801
    for selector in stride(from: 0x10, through: 0x58, by: 8) as StrideThrough<UInt64> {
      machine.write(machine.read(Place.descriptors + selector), at: table + selector)
    }
    machine.cpu.pointee.gdtr_base = table
    machine.cpu.pointee.gdtr_limit = 0x5f
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 0x80)
  }

  @Test func `32-bit code is checked too`() {
    // mov eax, [200001h]
    let machine = TestMachine.protected([0xa1, 1, 0, 0x20, 0])
    machine.cpu.pointee.cr0 |= X86.CR0.alignmentMask
    machine.cpu.rflags = X86.Flags.alignmentCheck
    machine.setFlat(user: true)
    machine.run(from: Place.code)
    #expect(machine.raised == TestMachine.Raised(17, code: 0))
  }
}
