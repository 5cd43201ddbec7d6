import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// Code that changes: SDM Vol. 3A §8.1.3 "Handling Self- and Cross-Modifying Code"; and code without end.
struct SystemCodeTests {
  private typealias Place = TestMachine.Place

  private func machine(_ code: [UInt8]) -> TestMachine {
    let machine = TestMachine()
    machine.write(code, at: Place.code)
    return machine
  }

  @Test func `an instruction may change the one behind it`() {
    let machine = machine([
      0xc6, 0x05, 0x01, 0x00, 0x00, 0x00, 0x07,  // mov byte ptr [rip + 1], 7
      0xb0, 0x01,  // mov al, 1: its operand is what was changed
      0xf4,
    ])
    machine.run(from: Place.code)
    #expect(machine.cpu.rax & 0xff == 7)
  }

  @Test func `a loop may change itself at every turn`() {
    let machine = machine([
      0xb9, 0x64, 0x00, 0x00, 0x00,  // mov ecx, 100
      0x05, 0x00, 0x00, 0x00, 0x00,  // add eax, 0: the constant counts up
      0xff, 0x05, 0xf6, 0xff, 0xff, 0xff,  // inc dword ptr [rip - 10]
      0xff, 0xc9,  // dec ecx
      0x75, 0xf1,  // jnz add
      0xf4,
    ])
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 4950)
  }

  @Test func `code may be changed through another mapping of its page`() {
    let machine = machine([
      0xe8, 0x0b, 0x00, 0x00, 0x00,  // call 0x10
      0xc6, 0x03, 0x29,  // mov byte ptr [rbx], 41
      0xe8, 0x03, 0x00, 0x00, 0x00,  // call 0x10
      0xf4, 0x90, 0x90,
      0x83, 0xc0, 0x01,  // 0x10: add eax, 1
      0xc3,
    ])
    machine.map(0x70_0000_0000, to: Place.code)
    machine.cpu.rbx = 0x70_0000_0012
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 42)
  }

  @Test func `code that was copied anew runs anew`() {
    // A routine in another page, copied there by a string instruction, called, and copied again.
    let machine = machine([
      0xb9, 0x08, 0x00, 0x00, 0x00,  // mov ecx, 8
      0x48, 0x89, 0xdf,  // mov rdi, rbx
      0xf3, 0xa4,  // rep movsb
      0xff, 0xd3,  // call rbx
      0xff, 0xcd,  // dec ebp
      0x75, 0xf0,  // jnz
      0xf4,
    ])
    machine.cpu.rbx = Place.code + 0x1800
    machine.cpu.rsi = Place.data
    machine.cpu.set(Slot.rbp, 2 as UInt64)
    machine.cpu.rax = 0
    machine.write([0x83, 0xc0, 0x01, 0xc3, 0, 0, 0, 0], at: Place.data)  // add eax, 1; ret
    machine.write([0x6b, 0xc0, 0x2a, 0xc3, 0, 0, 0, 0], at: Place.data + 8)  // imul eax, eax, 42
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 42)
  }

  @Test func `a device may change code between two runs`() {
    let machine = machine([0xb0, 0x01, 0xf4])
    machine.run(from: Place.code)
    machine.write([0xb0, 0x02, 0xf4], at: Place.code)
    machine.run(from: Place.code)
    #expect(machine.cpu.rax & 0xff == 2)
  }

  @Test func `a store may change the end of an instruction that began on the page before`() {
    let machine = machine([
      0xc7, 0x03, 0x44, 0x33, 0x22, 0x11,  // mov dword ptr [rbx], 0x11223344
      0xff, 0xe1,  // jmp rcx
    ])
    machine.write([0xb8, 0, 0, 0, 0, 0xf4], at: Place.code + 0x1fff)  // mov eax, 0; hlt
    machine.cpu.rbx = Place.code + 0x2000
    machine.cpu.rcx = Place.code + 0x1fff
    machine.run(from: Place.code + 0x1fff)
    #expect(machine.cpu.rax == 0)
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 0x1122_3344)
  }

  @Test func `a full cache of decoded code is emptied and filled again`() {
    // 2000 times inc eax, decoded anew at each turn because the page changed.
    let machine = machine((0..<2000).flatMap { _ in [0xff, 0xc0] as [UInt8] } + [0xf4])
    for turn in 1...1200 as ClosedRange<UInt64> {
      machine.write([0xff, 0xc0], at: Place.code)
      machine.run(from: Place.code)
      guard machine.cpu.rax == turn * 2000 else {
        Issue.record("after turn \(turn) EAX is \(machine.cpu.rax)")
        break
      }
    }
    #expect(machine.core.statistics.cacheResets.current > 0)
  }

  @Test func `ten million instructions need no more stack than one`() {
    let machine = machine([
      0xb9, 0x40, 0x42, 0x0f, 0x00,  // mov ecx, 1000000
      0x48, 0x01, 0xd0,  // add rax, rdx
      0x48, 0x89, 0x03,  // mov [rbx], rax
      0x48, 0x33, 0x03,  // xor rax, [rbx]
      0x48, 0xff, 0xc0,  // inc rax
      0x50, 0x5e,  // push rax; pop rsi
      0xe8, 0x05, 0x00, 0x00, 0x00,  // call the RET behind HLT
      0xff, 0xc9,  // dec ecx
      0x75, 0xe9,  // jnz add
      0xf4, 0xc3,
    ])
    machine.cpu.rbx = Place.data
    machine.cpu.rdx = 3
    #expect(machine.run(from: Place.code) == .halted)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rcx == 0)
    #expect(machine.cpu.rsi == 1)
  }
}
