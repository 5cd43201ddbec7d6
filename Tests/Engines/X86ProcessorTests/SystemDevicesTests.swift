import ArchitectureX86
import Board
import CProcessor
import Synchronization
import Testing

@testable import X86Processor

/// Accesses that leave the processor: ports (SDM Vol. 1 chapter 19) and registers in memory.
struct SystemDevicesTests {
  private typealias Place = TestMachine.Place
  private static let registers: UInt64 = 0x8000_0000

  /// Answers reads with a number that counts up, and remembers every access.
  private final class Counter: IODevice {
    struct Seen: Equatable {
      var isWrite = false
      var offset: UInt64
      var width: AccessWidth
      var value: UInt64
    }
    private let state = Mutex<(next: UInt64, seen: [Seen])>((1, []))
    var seen: [Seen] { state.withLock { $0.seen } }

    func read(_ access: Access) -> UInt64 {
      state.withLock { state in
        defer { state.next += 1 }
        state.seen.append(
          Seen(offset: access.offset, width: access.width, value: state.next))
        return state.next
      }
    }

    func write(_ value: UInt64, _ access: Access) {
      state.withLock {
        $0.seen.append(
          Seen(isWrite: true, offset: access.offset, width: access.width, value: value))
      }
    }
  }

  /// Computes: whether a third, rounded up, is what the host's modes make of it.
  private final class Calculator: IODevice {
    private let one = Mutex(1.0)

    func read(_ access: Access) -> UInt64 {
      one.withLock { one in one / 3 == 0x1.5555555555555p-2 && -one / 3 == -0x1.5555555555555p-2 }
        ? 1 : 0
    }
    func write(_ value: UInt64, _ access: Access) { _ = read(access) }
  }

  @Test func `devices compute in the host's modes, and leave the guest's flags alone`() {
    let (machine, _) = machine([
      0xec, 0x88, 0xc4,  // in al, dx; mov ah, al
      0x8a, 0x03,  // mov al, [rbx]
      0xee, 0x88, 0x03, 0xf4,  // out dx, al; mov [rbx], al; hlt
    ])
    machine.ports.map(Calculator(), at: 0x200..<0x201)
    machine.deviceRegisters.map(Calculator(), at: 0x9000_0000..<0x9000_1000)
    machine.map(0x9000_0000, to: 0x9000_0000)
    machine.cpu.rbx = 0x9000_0000
    machine.cpu.rdx = 0x200
    machine.cpu.rax = 0
    for modes in [0x1f80, 0x3f80, 0x5f80] as [UInt32] {
      machine.cpu.pointee.mxcsr = modes
      #expect(machine.run(from: Place.code) == .halted)
      #expect(machine.cpu.rax & 0xffff == 0x101)
      #expect(machine.cpu.pointee.mxcsr == modes)
    }
  }

  @Test func `what the processor notes of the guest leaves no flags`() {
    let (machine, _) = machine([0x0f, 0x32, 0xf4])  // rdmsr; hlt
    for index in 0..<40 as Range<UInt64> {
      machine.cpu.rcx = 0x4000_1000 + index
      machine.run(from: Place.code)
      #expect(machine.haltedVector == 13)
    }
    #expect(machine.cpu.pointee.mxcsr == 0x1f80)
  }

  private func machine(_ code: [UInt8]) -> (TestMachine, Counter) {
    let machine = TestMachine()
    let device = Counter()
    machine.ports.map(device, at: 0x100..<0x110)
    machine.deviceRegisters.map(device, at: Self.registers..<Self.registers + 0x2000)
    for page in 0..<2 as Range<UInt64> {
      machine.map(Self.registers + page << 12, to: Self.registers + page << 12)
    }
    machine.write(code, at: Place.code)
    machine.cpu.rbx = Self.registers
    machine.cpu.rdx = 0x104
    return (machine, device)
  }

  @Test func `IN and OUT move bytes, words and doublewords`() {
    let (machine, device) = machine([
      0xec, 0x66, 0xed, 0xed,  // in al, dx; in ax, dx; in eax, dx
      0xee, 0x66, 0xef, 0xef, 0xf4,  // out dx, al; out dx, ax; out dx, eax; hlt
    ])
    machine.cpu.rax = 0xffff_ffff_ffff_ffff
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 3)
    #expect(
      device.seen == [
        .init(offset: 4, width: .byte, value: 1), .init(offset: 4, width: .word, value: 2),
        .init(offset: 4, width: .doubleword, value: 3),
        .init(isWrite: true, offset: 4, width: .byte, value: 3),
        .init(isWrite: true, offset: 4, width: .word, value: 3),
        .init(isWrite: true, offset: 4, width: .doubleword, value: 3),
      ])
  }

  @Test func `a port where nothing answers reads as ones`() {
    let (machine, _) = machine([0xe5, 0x40, 0xf4])  // in eax, 0x40
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.cpu.rax == 0xffff_ffff)
  }

  @Test func `repeated INS and OUTS move one element at a time`() {
    let (machine, device) = machine([0xf3, 0x6c, 0xf3, 0x66, 0x6f, 0xf4])
    machine.cpu.rcx = 4
    machine.cpu.rdi = Place.data + 0xffe
    machine.run(from: Place.code)  // REP OUTSW finds RCX zero
    #expect(machine.cpu.rdi == Place.data + 0x1002)
    #expect(machine.bytes(at: Place.data + 0xffe, count: 4) == [1, 2, 3, 4])
    machine.cpu.rcx = 2
    machine.cpu.rsi = Place.data + 0xffe
    machine.run(from: Place.code + 2)
    #expect(machine.cpu.rcx == 0)
    #expect(
      device.seen.suffix(2) == [
        .init(isWrite: true, offset: 4, width: .word, value: 0x201),
        .init(isWrite: true, offset: 4, width: .word, value: 0x403),
      ])
  }

  @Test func `a page fault keeps INS from reading the port`() {
    let (machine, device) = machine([0xf3, 0x6c, 0xf4])
    machine.cpu.rcx = 4
    machine.cpu.rdi = 0x7000_0000_0000
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 14)
    #expect(device.seen.isEmpty)
    #expect(machine.cpu.rcx == 4)
  }

  @Test func `the task state says which ports privilege level 3 may use`() {
    let (machine, device) = machine([0xec, 0xfe, 0xc2, 0xec, 0xf4])  // in al, dx; inc dl; in al, dx
    machine.map(0x60_0000_0000, to: Place.code, 7)
    machine.cpu.pointee.tr_limit = 0x67 + 0x40
    // 0x104 alone.
    machine.write([0xef, 0xff], at: Place.taskState + 0x68 + 0x20)
    machine.setPrivilege(3)
    machine.run(from: 0x60_0000_0000)
    #expect(device.seen.count == 1)
    #expect(machine.haltedVector == 13)
    #expect(machine.frame?.rip == 0x60_0000_0003)
  }

  @Test func `registers are read and written once, in their width`() {
    let (machine, device) = machine([
      0x8a, 0x03,  // mov al, [rbx]
      0x66, 0x8b, 0x43, 0x10,  // mov ax, [rbx + 16]
      0x8b, 0x43, 0x20,  // mov eax, [rbx + 32]
      0x48, 0x8b, 0x43, 0x30,  // mov rax, [rbx + 48]
      0x89, 0x43, 0x40,  // mov [rbx + 64], eax
      0xc6, 0x43, 0x50, 0x77,  // mov byte ptr [rbx + 80], 0x77
      0xf4,
    ])
    machine.run(from: Place.code)
    #expect(
      device.seen == [
        .init(offset: 0, width: .byte, value: 1), .init(offset: 16, width: .word, value: 2),
        .init(offset: 32, width: .doubleword, value: 3),
        .init(offset: 48, width: .quadword, value: 4),
        .init(isWrite: true, offset: 64, width: .doubleword, value: 4),
        .init(isWrite: true, offset: 80, width: .byte, value: 0x77),
      ])
    #expect(machine.cpu.rax == 4)
  }

  @Test func `a read-modify-write of a register is one read and one write`() {
    let (machine, device) = machine([0x81, 0x03, 0x00, 0x01, 0, 0, 0xf0, 0xff, 0x43, 0x04, 0xf4])
    machine.run(from: Place.code)  // add dword ptr [rbx], 0x100; lock inc dword ptr [rbx + 4]
    #expect(
      device.seen == [
        .init(offset: 0, width: .doubleword, value: 1),
        .init(isWrite: true, offset: 0, width: .doubleword, value: 0x101),
        .init(offset: 4, width: .doubleword, value: 2),
        .init(isWrite: true, offset: 4, width: .doubleword, value: 3),
      ])
  }

  @Test func `string instructions reach registers element by element`() {
    let (machine, device) = machine([0xf3, 0xa5, 0xf4])  // rep movsd
    machine.cpu.rcx = 3
    machine.cpu.rsi = Self.registers
    machine.cpu.rdi = Place.data
    machine.run(from: Place.code)
    #expect(device.seen.map(\.offset) == [0, 4, 8])
    #expect(machine.read(Place.data) == 0x2_0000_0001)
    machine.write(0x1111_1111_2222_2222, at: Place.data)
    machine.cpu.rcx = 2
    machine.cpu.rsi = Place.data
    machine.cpu.rdi = Self.registers + 0x10
    machine.run(from: Place.code)
    #expect(
      device.seen.suffix(2) == [
        .init(isWrite: true, offset: 0x10, width: .doubleword, value: 0x2222_2222),
        .init(isWrite: true, offset: 0x14, width: .doubleword, value: 0x1111_1111),
      ])
  }

  @Test func `vectors reach registers by halves`() {
    // movdqu xmm0, [rbx]; movdqu [rbx + 32], xmm0
    let (machine, device) = machine([
      0xf3, 0x0f, 0x6f, 0x03, 0xf3, 0x0f, 0x7f, 0x43, 0x20, 0xf4,
    ])
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(device.seen.filter(\.isWrite).map(\.offset).min() == 0x20)
    #expect(device.seen.allSatisfy { $0.width == .quadword })
  }
}
