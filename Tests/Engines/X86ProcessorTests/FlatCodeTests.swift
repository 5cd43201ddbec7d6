import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// 32-bit code whose segments hold all 4 GiB, so that it need not ask where they end: until one is loaded that does not.
struct FlatCodeTests {
  private typealias Place = TestMachine.Place
  private typealias Raised = TestMachine.Raised

  private enum Selector {
    static let short: UInt64 = 0x70
    static let based: UInt64 = 0x78
  }

  /// A machine in which DX is a selector that code loads after three rounds, and ESI and EDI are pointers.
  private func machine(_ code: [UInt8], loading selector: UInt64 = 0) -> TestMachine {
    let machine = TestMachine.protected(code)
    machine.setDescriptor(0x70, base: 0, limit: 0xfff, rights: 0x4093)
    machine.setDescriptor(0x78, base: Place.data, limit: 0xfffff, rights: 0xc093)
    machine.write(1, at: Place.data + 0x1000)
    machine.write(0x5a, at: 2 * Place.data + 0x1000)
    machine.cpu.set(Slot.rdx, selector)
    machine.cpu.set(Slot.rdi, Place.data)
    machine.cpu.set(Slot.rsi, 0xffff_fffe as UInt64)
    return machine
  }

  /// MOV ECX, 3; again: an access; DEC ECX; JNZ again; CMP EAX, 5Ah; JE end; MOV a segment, DX; INC ECX; JMP again; HLT
  private func loop(_ access: [UInt8], segment: UInt8) -> [UInt8] {
    let count = UInt8(access.count)
    return [0xb9, 3, 0, 0, 0] + access + [0x49, 0x75, 0 &- count &- 3, 0x83, 0xf8, 0x5a, 0x74, 5]
      + [0x8e, 0xc2 | segment << 3, 0x41, 0xeb, 0 &- count &- 13, 0xf4]
  }

  /// MOV EAX, [201000h]
  private static let read: [UInt8] = [0xa1, 0x00, 0x10, 0x20, 0x00]

  @Test func `a limit that comes later is kept`() {
    let machine = machine(loop(Self.read, segment: 3), loading: Selector.short)
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(13, code: 0, at: Place.code + 5))
    #expect(machine.cpu.rax == 1)
  }

  @Test func `a base that comes later counts`() {
    let machine = machine(loop(Self.read, segment: 3), loading: Selector.based)
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 0x5a)
  }

  @Test func `a null selector reaches nothing`() {
    let machine = machine(loop(Self.read, segment: 3), loading: 0)
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(13, code: 0, at: Place.code + 5))
  }

  @Test(arguments: [4, 5] as [UInt8])
  func `FS and GS have their bases and limits`(segment: UInt8) {
    // MOV EAX, FS:[1000h] or GS:[1000h]
    let read: [UInt8] = [0x60 | segment, 0xa1, 0x00, 0x10, 0x00, 0x00]
    for (selector, vector) in [(Selector.based, nil), (Selector.short, 13), (0, 13)] {
      let machine = machine(loop(read, segment: segment), loading: selector)
      machine.cpu.setSegment(
        Int(segment), selector: 0x18, base: 2 * Place.data, limit: 0xffff_ffff,
        attributes: 0xc093)
      // What the first rounds find; then another.
      machine.write(1, at: 2 * Place.data + 0x1000)
      machine.write(0x5a, at: Place.data + 0x1000)
      machine.run(from: Place.code)
      #expect(machine.haltedVector == vector)
      #expect(machine.cpu.rax == (vector == nil ? 0x5a : 1))
    }
  }

  @Test func `an access across the end of 4 GiB faults`() {
    for access in [[0x8b, 0x07], [0x64, 0x8b, 0x07]] as [[UInt8]] {
      // MOV ECX, 4; again: MOV EAX, [EDI] or FS:[EDI]; XCHG ESI, EDI; DEC ECX; JNZ again; HLT
      let machine = machine(
        [0xb9, 4, 0, 0, 0] + access + [0x87, 0xf7, 0x49, 0x75, 0xfb &- UInt8(access.count), 0xf4])
      machine.cpu.setSegment(
        4, selector: 0x18, base: 0x10_0000, limit: 0xffff_ffff, attributes: 0xc093)
      machine.run(from: Place.code)
      #expect(machine.raised == Raised(13, code: 0, at: Place.code + 5))
    }
  }

  @Test func `what is put on the stack has 32 bits`() {
    let machine = machine([
      0xb9, 5, 0, 0, 0,  // mov ecx, 5
      0xe8, 4, 0, 0, 0,  // again: call function
      0x49, 0x75, 0xf8,  // dec ecx; jnz again
      0xf4,
      0x55, 0x89, 0xe5, 0x53,  // function: push ebp; mov ebp, esp; push ebx
      0x68, 0x44, 0x33, 0x22, 0x11,  // push 11223344h
      0x6a, 0xfe,  // push -2
      0xff, 0x35, 0x00, 0x10, 0x20, 0x00,  // push dword [201000h]
      0x58, 0x5e, 0x5b, 0x43, 0x4e,  // pop eax; pop esi; pop ebx; inc ebx; dec esi
      0x89, 0x1d, 0x04, 0x10, 0x20, 0x00,  // mov [201004h], ebx
      0xa3, 0x08, 0x10, 0x20, 0x00,  // mov [201008h], eax
      0x5b, 0xc9, 0xc2, 0x00, 0x00,  // pop ebx; leave; ret 0
    ])
    let stack = machine.cpu.rsp
    machine.cpu.set(Slot.rbx, 0x7777_7777 as UInt64)
    machine.cpu.set(Slot.rbp, 0x8888_8888 as UInt64)
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rsp == stack)
    #expect(machine.cpu.get(Slot.rbx, UInt64.self) == 0x7777_7777)
    #expect(machine.cpu.get(Slot.rbp, UInt64.self) == 0x8888_8888)
    #expect(machine.cpu.get(Slot.rsi, UInt64.self) == 0xffff_fffd)
    #expect(machine.read(Place.data + 0x1004) == 0x1_1122_3345)
    #expect(machine.read(stack - 8) >> 32 == Place.code + 10)
  }

  @Test func `jumps and calls through memory and registers have 32 bits`() {
    let machine = machine([
      0xb9, 5, 0, 0, 0,  // mov ecx, 5
      0xb8, 0x20, 0x00, 0x10, 0x00,  // again: mov eax, target
      0xff, 0xd0,  // call eax
      0xff, 0x15, 0x00, 0x20, 0x20, 0x00,  // call [202000h]
      0xff, 0x25, 0x04, 0x20, 0x20, 0x00,  // jmp [202004h]
      0xf4, 0xf4,
      0x49, 0x75, 0xe7, 0xf4,  // 1Ah: dec ecx; jnz again; hlt
      0xf4, 0xf4,
      0x43, 0xc3,  // 20h: inc ebx; ret
    ])
    machine.write((Place.code + 0x1a) << 32 | Place.code + 0x20, at: Place.data + 0x2000)
    machine.cpu.set(Slot.rbx, 0 as UInt64)
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.get(Slot.rbx, UInt64.self) == 10)
    #expect(machine.cpu.pointee.rip == Place.code + 0x1e)
  }
}
