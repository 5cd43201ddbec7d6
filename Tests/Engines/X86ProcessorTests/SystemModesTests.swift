import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// From power-on to 64-bit mode: SDM Vol. 3A §9.8 and §9.9.
struct SystemModesTests {
  private typealias Place = TestMachine.Place

  /// A machine in real mode at 0:7c00.
  private func realModeMachine() -> TestMachine {
    let machine = TestMachine()
    machine.core.reset(asBootstrap: true)
    machine.core.loadParagraph(1, 0)
    machine.core.modeChanged()
    return machine
  }

  @Test func `a program goes from real mode by protected mode to 64-bit mode`() {
    let machine = realModeMachine()
    machine.write([0xff, 0x0f, 0, 0, 1, 0], at: 0x7d00)  // limit and base for LGDT
    machine.write([0x00, 0x7e, 0, 0], at: 0x21 * 4)
    machine.write([0x43, 0xcf], at: 0x7e00)  // inc bx; iret
    machine.write(
      [
        0xfa,  // cli
        0x31, 0xc0,  // xor ax, ax
        0x8e, 0xd8, 0x8e, 0xd0,  // mov ds, ax; mov ss, ax
        0xbc, 0x00, 0x70,  // mov sp, 0x7000
        0xcd, 0x21,  // int 0x21
        0x89, 0x1e, 0x10, 0x7d,  // mov [0x7d10], bx
        0x0f, 0x01, 0x16, 0x00, 0x7d,  // lgdt [0x7d00]
        0x0f, 0x20, 0xc0,  // mov eax, cr0
        0x0c, 0x01,  // or al, 1
        0x0f, 0x22, 0xc0,  // mov cr0, eax
        0x66, 0xea, 0x40, 0x7c, 0, 0, 0x50, 0,  // jmp 0x50:0x7c40
      ], at: 0x7c00)
    machine.write(
      [
        0xb8, 0x18, 0, 0, 0,  // mov eax, 0x18
        0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0,  // mov ds, eax; mov es, eax; mov ss, eax
        0xbc, 0x00, 0x70, 0, 0,  // mov esp, 0x7000
        0x0f, 0x20, 0xe0,  // mov eax, cr4
        0x83, 0xc8, 0x20,  // or eax, 0x20
        0x0f, 0x22, 0xe0,  // mov cr4, eax
        0xb8, 0x00, 0x10, 0, 0,  // mov eax, 0x1000
        0x0f, 0x22, 0xd8,  // mov cr3, eax
        0xb9, 0x80, 0, 0, 0xc0,  // mov ecx, 0xc0000080
        0x0f, 0x32,  // rdmsr
        0x0d, 0x00, 0x01, 0, 0,  // or eax, 0x100
        0x0f, 0x30,  // wrmsr
        0x0f, 0x20, 0xc0,  // mov eax, cr0
        0x0d, 0, 0, 0, 0x80,  // or eax, 0x80000000
        0x0f, 0x22, 0xc0,  // mov cr0, eax
        0xea, 0xa0, 0x7c, 0, 0, 0x10, 0,  // jmp 0x10:0x7ca0
      ], at: 0x7c40)
    machine.write(
      [
        0x48, 0xbb, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,  // mov rbx, …
        0x53, 0x59,  // push rbx; pop rcx
        0x0f, 0x20, 0xc0,  // mov rax, cr0
        0xf4,
      ], at: 0x7ca0)
    #expect(machine.run(from: 0x7c00) == .halted)
    #expect(machine.read(0x7d10) & 0xffff == 1)
    #expect(machine.cpu.pointee.rip == 0x7cb0)
    #expect(machine.cpu.rcx == 0x1122_3344_5566_7788)
    #expect(machine.cpu.rax == 0x8000_0011 | 0x6000_0000)
    #expect(machine.cpu.pointee.code_mode == 2)
    #expect(machine.cpu.pointee.efer == X86.EFER.longModeEnable | X86.EFER.longModeActive)
  }

  @Test func `after power-on the first instruction is fetched below 4 GiB`() {
    let machine = TestMachine()
    machine.core.reset(asBootstrap: true)
    #expect(machine.core.state.rip == 0xfff0)
    #expect(machine.core.state.segments[1].base == 0xffff_0000)
    #expect(machine.cpu.pointee.rip == 0xffff_fff0)
  }

  @Test func `real mode cuts addresses to a segment and wraps none of them`() {
    let machine = realModeMachine()
    // mov ax, 0x1000; mov ds, ax; mov al, [0xffff]; mov ax, [0xffff]: the word crosses the limit.
    machine.write([0x00, 0x7e, 0, 0], at: 13 * 4)
    machine.write([0xf4], at: 0x7e00)
    machine.write([0x5a], at: 0x1ffff)
    machine.write(
      [0xb8, 0x00, 0x10, 0x8e, 0xd8, 0xa0, 0xff, 0xff, 0xa1, 0xff, 0xff, 0xf4], at: 0x7c00)
    machine.cpu.rsp = 0x7000
    machine.run(from: 0x7c00)
    #expect(machine.cpu.rax & 0xff == 0x5a)
    #expect(machine.cpu.pointee.rip == 0x7e01)
  }

  /// SLDT, STR, LLDT, LTR, VERR, VERW; LAR, LSL, ARPL with a word of [ebp]: "is not recognized in real-address mode".
  @Test(arguments: [
    [0x0f, 0x00, 0x45], [0x0f, 0x00, 0x4d], [0x0f, 0x00, 0x55], [0x0f, 0x00, 0x5d],
    [0x0f, 0x00, 0x65],
    [0x0f, 0x00, 0x6d], [0x0f, 0x02, 0x45], [0x0f, 0x03, 0x45], [0x63, 0x45],
  ])
  func `real mode refuses what it does not know whatever its operand`(_ bytes: [UInt8]) {
    let machine = realModeMachine()
    machine.write([0x00, 0x7e, 0, 0], at: 6 * 4)
    machine.write([0x80, 0x7e, 0, 0], at: 12 * 4)
    machine.write([0xf4], at: 0x7e00)
    machine.write([0xf4], at: 0x7e80)
    machine.write([0x67] + bytes + [0], at: 0x7c00)
    machine.cpu.rsp = 0x7000
    machine.cpu.set(Slot.rbp, 0x1_0000 as UInt64)
    machine.run(from: 0x7c00)
    #expect(machine.cpu.pointee.rip == 0x7e01)
  }

  @Test func `IRET in real mode leaves VIF, VIP and VM`() {
    // iretd: SDM Vol. 2A, IRET, "EFLAGS := (tempEFLAGS AND 257FD5H) OR (EFLAGS AND 1A0000H)".
    let machine = realModeMachine()
    machine.write([0x66, 0xcf], at: 0x7c00)
    machine.write([0xf4], at: 0x7e00)
    machine.write([0x00, 0x7e, 0, 0, 0, 0, 0, 0, 0xc3, 0x0c, 0x3a, 0], at: 0x7000)
    machine.cpu.rsp = 0x7000
    machine.run(from: 0x7c00)
    #expect(machine.cpu.pointee.rip == 0x7e01)
    #expect(machine.cpu.rflags == X86.Flags.identification | 0xcc3)
  }

  @Test func `a segment's limit outlives the return to real mode`() {
    // "Unreal" mode: firmware and boot loaders reach all memory from real mode so.
    let machine = realModeMachine()
    machine.write([0xff, 0x0f, 0, 0, 1, 0], at: 0x7d00)
    machine.write(
      [
        0x0f, 0x01, 0x16, 0x00, 0x7d,  // lgdt [0x7d00]
        0x0f, 0x20, 0xc0, 0x0c, 0x01, 0x0f, 0x22, 0xc0,  // CR0.PE set
        0xb8, 0x18, 0x00, 0x8e, 0xc0,  // mov ax, 0x18; mov es, ax
        0x0f, 0x20, 0xc0, 0x24, 0xfe, 0x0f, 0x22, 0xc0,  // and cleared
        0x31, 0xc0, 0x8e, 0xc0,  // xor ax, ax; mov es, ax
        0x26, 0x67, 0xc7, 0x05, 0, 0, 0x20, 0, 0x34, 0x12,  // mov word ptr es:[0x200000], 0x1234
        0xf4,
      ], at: 0x7c00)
    machine.run(from: 0x7c00)
    #expect(machine.read(Place.data) == 0x1234)
    #expect(machine.cpu.selector(0) == 0)
  }
}
