import ArchitectureX86
import Board
import CProcessor
import Testing

@testable import X86Processor

/// Virtual-8086 mode and virtual interrupts: SDM Vol. 3A chapter 20; I/O permissions: SDM Vol. 1 §19.5.
struct VirtualModeTests {
  private typealias Place = TestMachine.Place
  private typealias ProtectedPlace = TestMachine.ProtectedPlace
  private typealias Raised = TestMachine.Raised
  private static let vif = X86.Flags.virtualInterrupt
  private static let vip = X86.Flags.virtualInterruptPending

  /// Virtual-8086 code at 1000:0, with its stack at 3000:0800.
  private func machine(
    _ code: [UInt8], ioPrivilege: UInt64, extended: Bool = false, flags: UInt64 = 0
  ) -> TestMachine {
    let machine = TestMachine.protected([])
    machine.write(code, at: 0x1_0000)
    machine.cpu.rflags =
      X86.Flags.virtual8086 | ioPrivilege << 12 | X86.Flags.interrupt | flags
    machine.cpu.pointee.privilege = 3
    machine.cpu.pointee.cr4 = extended ? X86.CR4.virtual8086 : 0
    for (segment, selector) in [0x2000, 0x1000, 0x3000, 0x2100, 0, 0].enumerated() {
      machine.core.loadParagraph(segment, UInt16(selector))
    }
    machine.core.modeChanged()
    machine.cpu.rsp = 0x800
    // The redirection bit map, below an I/O map that permits nothing.
    machine.write([0x88, 0], at: ProtectedPlace.taskState + 102)
    machine.write([UInt8](repeating: 0, count: 32), at: ProtectedPlace.taskState + 0x68)
    machine.write([UInt8](repeating: 0xff, count: 32), at: ProtectedPlace.taskState + 0x88)
    machine.cpu.pointee.tr_limit = 0xa7
    machine.cpu.pointee.tr_attributes = 0x8b
    return machine
  }

  private func run(_ machine: TestMachine) -> Raised {
    machine.run(from: 0x1_0000)
    return machine.raised
  }

  /// Instructions that IOPL keeps from virtual-8086 code.
  static let sensitive: [(String, [UInt8])] = [
    ("CLI", [0xfa]), ("STI", [0xfb]), ("PUSHF", [0x9c]), ("POPF", [0x9d]), ("INT n", [0xcd, 0x31]),
    ("IRET", [0xcf]),
  ]

  @Test func `without VME an IOPL below 3 makes six instructions fault`() {
    for (name, bytes) in Self.sensitive {
      let machine = machine(bytes, ioPrivilege: 2)
      #expect(run(machine) == Raised(13, code: 0, at: 0), "\(name)")
    }
  }

  @Test func `with IOPL 3 they work on IF`() {
    // cli; pushf; pop ax; sti; pushf; pop bx; hlt
    let machine = machine([0xfa, 0x9c, 0x58, 0xfb, 0x9c, 0x5b, 0xf4], ioPrivilege: 3)
    #expect(run(machine) == Raised(13, code: 0, at: 6))
    #expect(machine.cpu.rax & 0x3200 == 0x3000)
    #expect(machine.cpu.rbx & 0x3200 == 0x3200)
  }

  @Test func `with VME they work on VIF`() {
    // sti; pushf; pop ax; cli; pushf; pop bx; hlt
    let machine = machine(
      [0xfb, 0x9c, 0x58, 0xfa, 0x9c, 0x5b, 0xf4], ioPrivilege: 0, extended: true)
    #expect(run(machine) == Raised(13, code: 0, at: 6))
    #expect(machine.cpu.rax & 0x3200 == 0x3200)
    #expect(machine.cpu.rbx & 0x3200 == 0x3000)
    // The frame has IF itself, and the IOPL that holds.
    #expect(machine.word(3) & 0x1a_3200 == 0x2_0200 & 0x1a_3200)
  }

  @Test func `with VME POPF and IRET set VIF, and fault where an interrupt waits`() {
    // push 0x200; popf; hlt
    let loads = machine([0x68, 0, 2, 0x9d, 0xf4], ioPrivilege: 0, extended: true)
    #expect(run(loads) == Raised(13, code: 0, at: 4))
    #expect(UInt64(loads.word(3)) & Self.vif != 0)
    let waits = machine([0x68, 0, 2, 0x9d, 0xf4], ioPrivilege: 0, extended: true, flags: Self.vip)
    #expect(run(waits) == Raised(13, code: 0, at: 3))
    #expect(waits.word(4) == 0x7fe)
    let steps = machine([0x68, 0, 1, 0x9d, 0xf4], ioPrivilege: 0, extended: true)
    #expect(run(steps) == Raised(13, code: 0, at: 3))
    let enables = machine([0xfb], ioPrivilege: 0, extended: true, flags: Self.vip)
    #expect(run(enables) == Raised(13, code: 0, at: 0))
    // push 0x202; push 0x1000; push 0x20; iret
    let returns = machine(
      [0x68, 2, 2, 0x68, 0, 0x10, 0x6a, 0x20, 0xcf], ioPrivilege: 0, extended: true)
    returns.write([0xf4], at: 0x1_0020)
    #expect(run(returns) == Raised(13, code: 0, at: 0x20))
    #expect(UInt64(returns.word(3)) & Self.vif != 0)
    #expect(returns.word(4) == 0x800)
    // Of 32 bits they fault all the same.
    let wide = machine([0x66, 0x9c], ioPrivilege: 0, extended: true)
    #expect(run(wide) == Raised(13, code: 0, at: 0))
  }

  @Test(arguments: [0, 3] as [UInt64])
  func `with VME INT n goes to the program's own handler where the bit map says so`(
    _ ioPrivilege: UInt64
  ) {
    let machine = machine(
      [0xcd, 0x21, 0xf4], ioPrivilege: ioPrivilege, extended: true, flags: Self.vif)
    machine.write([0x40, 0x00, 0x00, 0x10], at: 0x21 * 4)
    machine.write([0xf4], at: 0x1_0040)
    #expect(run(machine) == Raised(13, code: 0, at: 0x40))
    let frame = machine.bytes(at: 0x3_07fa, count: 6)
    #expect(frame[0...3] == [2, 0, 0, 0x10])
    let pushed = UInt64(frame[4]) | UInt64(frame[5]) << 8
    #expect(pushed & 0x3200 == 0x3200)
    let flags = UInt64(machine.word(3))
    #expect(flags & Self.vif == (ioPrivilege == 3 ? Self.vif : 0))
    #expect(flags & X86.Flags.interrupt == (ioPrivilege == 3 ? 0 : X86.Flags.interrupt))
    #expect(machine.word(4) == 0x7fa)
  }

  @Test func `with VME INT n goes to the monitor where the bit map says so`() {
    for ioPrivilege in [0, 3] as [UInt64] {
      let machine = machine([0xcd, 0x31], ioPrivilege: ioPrivilege, extended: true)
      machine.write([2], at: ProtectedPlace.taskState + 0x68 + 6)
      #expect(
        run(machine)
          == (ioPrivilege == 3 ? Raised(0x31, at: 2) : Raised(13, code: 0, at: 0)))
    }
  }

  @Test func `INT3 and INTO are not sensitive to IOPL`() {
    #expect(run(machine([0xcc], ioPrivilege: 0)) == Raised(3, at: 1))
    #expect(run(machine([0xce], ioPrivilege: 0, flags: X86.Flags.overflow)) == Raised(4, at: 1))
  }

  @Test func `a handler at a level other than 0 refuses virtual-8086 code`() {
    let machine = machine([0xcc], ioPrivilege: 0)
    machine.setDescriptor(0x70, base: 0, limit: 0xfffff, rights: 0xc0fb)
    machine.setProtectedGate(3, handler: Place.handlers, selector: 0x70)
    #expect(run(machine) == Raised(13, code: 0x70, at: 0))
  }

  @Test func `an address beyond 64 KiB is a fault`() {
    #expect(run(machine([0x67, 0xa0, 0, 0, 1, 0], ioPrivilege: 0)) == Raised(13, code: 0, at: 0))
    #expect(
      run(machine([0x66, 0x67, 0x36, 0xa1, 0xfe, 0xff, 0, 0], ioPrivilege: 0))
        == Raised(12, code: 0, at: 0))
  }

  @Test func `what protected mode alone has is undefined`() {
    for bytes in [[0x0f, 0x00, 0xd8], [0x0f, 0x02, 0xc0], [0x63, 0xc0]] as [[UInt8]] {
      #expect(run(machine(bytes, ioPrivilege: 3)) == Raised(6, at: 0))
    }
  }

  // MARK: - PVI

  @Test func `with PVI CLI and STI at level 3 work on VIF`() {
    for (flags, second) in [(0, nil), (Self.vip, 0)] as [(UInt64, UInt64?)] {
      let machine = TestMachine.protected([0xfb, 0xcd, 0x31])
      machine.cpu.pointee.cr4 = X86.CR4.protectedVirtualInterrupts
      machine.setFlat(user: true)
      machine.cpu.rflags = 2 | flags
      machine.run(from: Place.code)
      if second == nil {
        #expect(machine.haltedVector == 0x31)
        #expect(UInt64(machine.word(2)) & Self.vif != 0)
        #expect(UInt64(machine.word(2)) & X86.Flags.interrupt == 0)
      } else {
        #expect(machine.raised == Raised(13, code: 0))
      }
    }
  }

  // MARK: - Ports

  private final class Port: IODevice, @unchecked Sendable {
    func read(_ access: Access) throws(IOError) -> UInt64 { 0x5a5a_5a5a }
    func write(_ value: UInt64, _ access: Access) throws(IOError) {}
  }

  @Test func `the bit map decides which ports code may use`() {
    // in al, 0x40; in ax, 0x41; in al, dx. Bits 0x40 and 0x41 are clear, 0x42 is set.
    let cases: [([UInt8], UInt64, Bool)] = [
      ([0xe4, 0x40], 0, true), ([0xe5, 0x40], 0, true), ([0xe5, 0x41], 0, false),
      ([0xe4, 0x42], 0, false), ([0xec], 0x41, true), ([0xec], 0x100, false),
      ([0xee], 0x41, true), ([0x6c], 0x41, true), ([0x6c], 0x42, false),
      ([0x66, 0xe5, 0x3e], 0, true),
    ]
    for isVirtual in [false, true] {
      for (bytes, port, isPermitted) in cases {
        // In virtual-8086 mode IOPL 3 permits nothing: there the map decides alone.
        let machine = machine(bytes + [0xcd, 0x31], ioPrivilege: isVirtual ? 3 : 0)
        // In 32-bit code a prefix makes a word of it, or nothing a doubleword.
        let wide: [UInt8] =
          bytes[0] == 0x66 ? [0xe5, 0x3e] : bytes[0] == 0xe5 ? [0x66] + bytes : bytes
        machine.write([0xfc], at: ProtectedPlace.taskState + 0x88 + 8)
        machine.write([0x00], at: ProtectedPlace.taskState + 0x88 + 7)
        if !isVirtual {
          machine.write(wide + [0xcd, 0x31], at: Place.code)
          machine.cpu.rflags = 2
          machine.setFlat(user: true)
        }
        machine.cpu.set(Slot.rdi, UInt64(isVirtual ? 0 : Place.data))
        machine.cpu.rdx = port
        machine.run(from: isVirtual ? 0x1_0000 : Place.code)
        #expect(machine.haltedVector == (isPermitted ? 0x31 : 13), "\(bytes) \(isVirtual)")
      }
    }
  }

  @Test func `a task without a bit map permits no ports`() {
    let machine = machine([0xe4, 0], ioPrivilege: 0)
    machine.cpu.pointee.tr_limit = 0x67
    #expect(run(machine) == Raised(13, code: 0, at: 0))
    // A 16-bit task has none.
    let old = self.machine([0xe4, 0x40], ioPrivilege: 0)
    old.write([UInt8](repeating: 0, count: 32), at: ProtectedPlace.taskState + 0x88)
    old.cpu.pointee.tr_attributes = 0x83
    old.write(
      SampleBuilder.bytes(0xf000 | 0x18 << 16, 4),
      at: ProtectedPlace.taskState + 2)
    #expect(run(old).vector == 13)
  }
}
