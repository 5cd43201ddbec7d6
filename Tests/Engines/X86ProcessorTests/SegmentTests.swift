import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// What may be read, written, executed and pushed in a segment: SDM Vol. 3A §5.3 "Limit Checking" and §5.4 "Type
/// Checking".
struct SegmentTests {
  private typealias Place = TestMachine.Place
  private typealias Selector = TestMachine.Selector
  private typealias Raised = TestMachine.Raised

  /// One access to a segment of one shape.
  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let bytes: [UInt8]
    var segment = 3
    var limit: UInt64 = 0xfff
    var attributes: UInt32 = 0x4093
    var vector: Int?
  }

  static let cases = [
    Case(testDescription: "a read at the limit", bytes: [0xa0, 0xff, 0x0f, 0, 0]),
    Case(testDescription: "a read beyond it", bytes: [0xa0, 0x00, 0x10, 0, 0], vector: 13),
    Case(testDescription: "a word across it", bytes: [0x66, 0xa1, 0xff, 0x0f, 0, 0], vector: 13),
    Case(
      testDescription: "a read of read-only data", bytes: [0xa0, 0, 0, 0, 0], attributes: 0x4091),
    Case(
      testDescription: "a write to read-only data", bytes: [0xa2, 0, 0, 0, 0], attributes: 0x4091,
      vector: 13),
    Case(
      testDescription: "an addition to read-only data", bytes: [0x00, 0x05, 0, 0, 0, 0],
      attributes: 0x4091, vector: 13),
    Case(
      testDescription: "an exchange with read-only data", bytes: [0x86, 0x05, 0, 0, 0, 0],
      attributes: 0x4091, vector: 13),
    Case(
      testDescription: "a vector store to read-only data",
      bytes: [0x0f, 0x11, 0x05, 0, 0, 0, 0], attributes: 0x4091, vector: 13),
    Case(
      testDescription: "an x87 store to read-only data", bytes: [0xd9, 0x1d, 0, 0, 0, 0],
      attributes: 0x4091, vector: 13),
    Case(
      testDescription: "a comparison of read-only data", bytes: [0x38, 0x05, 0, 0, 0, 0],
      attributes: 0x4091),
    Case(
      testDescription: "a read of readable code", bytes: [0x2e, 0xa0, 0, 0, 0x10, 0], segment: 1,
      limit: 0xffff_ffff, attributes: 0xc09b),
    Case(
      testDescription: "a read of execute-only code", bytes: [0x2e, 0xa0, 0, 0, 0x10, 0],
      segment: 1, limit: 0xffff_ffff, attributes: 0xc099, vector: 13),
    Case(
      testDescription: "a write to code", bytes: [0x2e, 0xa2, 0, 0, 0x10, 0], segment: 1,
      limit: 0xffff_ffff, attributes: 0xc09b, vector: 13),
    Case(
      testDescription: "data that grows down, at its limit", bytes: [0xa0, 0xff, 0x0f, 0, 0],
      attributes: 0x4097, vector: 13),
    Case(
      testDescription: "data that grows down, above its limit", bytes: [0xa0, 0, 0x10, 0, 0],
      attributes: 0x4097),
    Case(
      testDescription: "data that grows down, of 16 bits, at its top",
      bytes: [0xa0, 0xff, 0xff, 0, 0], attributes: 0x0097),
    Case(
      testDescription: "data that grows down, of 16 bits, above its top",
      bytes: [0xa0, 0, 0, 1, 0], attributes: 0x0097, vector: 13),
    Case(
      testDescription: "read-only data that grows down, written",
      bytes: [0xa2, 0, 0x10, 0, 0], attributes: 0x4095, vector: 13),
    Case(
      testDescription: "a null segment", bytes: [0xa0, 0, 0, 0, 0], limit: 0, attributes: 0x1_0000,
      vector: 13),
    Case(
      testDescription: "a read through SS beyond its limit", bytes: [0x36, 0xa0, 0, 0x10, 0, 0],
      segment: 2, vector: 12),
    Case(
      testDescription: "a read by EBP beyond the limit of SS", bytes: [0x8a, 0x45, 0], segment: 2,
      vector: 12),
    Case(
      testDescription: "a string that is stored to read-only data", bytes: [0xaa], segment: 0,
      attributes: 0x4091, vector: 13),
    Case(
      testDescription: "a string that is scanned in read-only data", bytes: [0xae], segment: 0,
      attributes: 0x4091),
    Case(
      testDescription: "a push at the bottom of SS", bytes: [0x50], segment: 2, vector: 12),
  ]

  @Test(arguments: cases)
  func `an access needs a segment that permits it`(_ example: Case) {
    let machine = TestMachine.protected(example.bytes + [0xf4])
    machine.cpu.pointee.cr4 = X86.CR4.fxsave
    let isCode = example.segment == 1
    machine.cpu.setSegment(
      example.segment, selector: 0x18, base: isCode ? 0 : Place.data, limit: example.limit,
      attributes: example.attributes)
    machine.core.modeChanged()
    machine.setProtectedGate(12, handler: Place.handlers + 0xc0, selector: 0x70)
    machine.setDescriptor(0x70, base: 0, limit: 0xfffff, rights: 0xc09b)
    if example.segment == 2 {
      // The handler needs another stack, which a change of privilege gives.
      machine.cpu.setSegment(
        1, selector: Selector.userCode32, base: 0, limit: 0xffff_ffff, attributes: 0xc0fb)
      machine.cpu.setSegment(
        2, selector: Selector.userData, base: Place.data, limit: 0xfff,
        attributes: example.attributes | 0x60)
      machine.cpu.pointee.privilege = 3
      machine.core.modeChanged()
      machine.cpu.rsp = 3
    }
    machine.cpu.set(Slot.rbp, 0x1000 as UInt64)
    machine.cpu.set(Slot.rdi, 0 as UInt64)
    machine.run(from: Place.code)
    if let vector = example.vector {
      #expect(machine.raised == Raised(vector, code: 0))
    } else {
      #expect(machine.haltedVector == nil)
    }
  }

  // MARK: - Code

  /// A machine whose code segment starts at `Place.code` plus `start` and holds `limit` + 1 bytes.
  private func machine(
    _ code: [UInt8], start: UInt64 = 0, limit: UInt64, wide: Bool = true
  ) -> TestMachine {
    let machine = TestMachine.protected([])
    machine.write(code, at: Place.code + start)
    machine.cpu.setSegment(
      1, selector: 0x60, base: Place.code + start, limit: limit,
      attributes: wide ? 0x409b : 0x009b)
    machine.core.modeChanged()
    return machine
  }

  @Test func `code ends at its segment's limit`() {
    // inc eax; inc eax; inc eax
    let machine = machine([0x40, 0x40, 0x40], limit: 1)
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(13, code: 0, at: 2))
    #expect(machine.cpu.rax == 2)
  }

  @Test func `an instruction across its segment's limit does not run`() {
    let machine = machine([0x40, 0xb8, 1, 0, 0, 0], limit: 4)
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(13, code: 0, at: 1))
    #expect(machine.cpu.rax == 1)
  }

  @Test func `a jump beyond the limit is the jump's fault`() {
    for jump in [[0xeb, 0x10], [0x74, 0x10], [0xe8, 0x10, 0, 0, 0], [0xe2, 0x10]] as [[UInt8]] {
      let machine = machine([0x31, 0xc0] + jump, limit: 0x10)
      machine.cpu.rcx = 5
      let stack = machine.cpu.rsp
      machine.run(from: Place.code)
      #expect(machine.raised == Raised(13, code: 0, at: 2))
      #expect(machine.cpu.rcx == 5)
      #expect(machine.cpu.rsp == stack - 16)
    }
  }

  @Test func `a return or an indirect jump beyond the limit is its own fault`() {
    // push 0x5000; ret — and — mov eax, 0x5000; jmp eax
    for code in [[0x68, 0, 0x50, 0, 0, 0xc3], [0xb8, 0, 0x50, 0, 0, 0xff, 0xe0]] as [[UInt8]] {
      let machine = machine(code, limit: 0x4fff)
      machine.run(from: Place.code)
      #expect(machine.raised == Raised(13, code: 0, at: 5))
    }
  }

  @Test func `loops, calls and returns work in a page that the segment holds in part`() {
    // mov ecx, 1000; l: call f; dec ecx; jnz l; hlt; f: inc eax; ret
    let code: [UInt8] = [
      0xb9, 0xe8, 3, 0, 0, 0xe8, 4, 0, 0, 0, 0x49, 0x75, 0xf8, 0xf4, 0x40, 0xc3,
    ]
    for start in [0, 0x123, 0xff8] as [UInt64] {
      let machine = machine(code, start: start, limit: UInt64(code.count) - 1)
      machine.cpu.rax = 0
      machine.run(from: Place.code + start)
      #expect(machine.haltedVector == nil)
      #expect(machine.cpu.rax == 1000)
      // What keeps such code uses the library, which computes.
      #expect(machine.cpu.pointee.mxcsr == 0x1f80)
    }
  }

  @Test func `the same page is executed by what each segment holds of it`() {
    // inc eax; nop…; inc eax; hlt: once with a segment that ends before the second, once with one that does not.
    let machine = machine([0x40, 0x90, 0x90, 0x40, 0xf4], limit: 2)
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(13, code: 0, at: 3))
    machine.cpu.setSegment(1, selector: 0x60, base: Place.code, limit: 0xff, attributes: 0x409b)
    machine.core.modeChanged()
    machine.run(from: Place.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 3)
    machine.cpu.setSegment(1, selector: 0x60, base: Place.code, limit: 2, attributes: 0x409b)
    machine.core.modeChanged()
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(13, code: 0, at: 3))
  }

  @Test func `code that runs from page to page stops at the limit between them`() {
    let machine = machine([UInt8](repeating: 0x90, count: 0x2000), limit: 0xfff)
    machine.run(from: Place.code + 0xff0)
    #expect(machine.raised == Raised(13, code: 0, at: 0x1000))
  }

  @Test func `a 16-bit jump backwards past the segment's start wraps to its end`() {
    // At offset 2, in a segment that starts in the middle of a page: jmp -0x12 leads to 0xfff2.
    let machine = machine([0x90, 0x90, 0xeb, 0xee], start: 0x800, limit: 0xffff, wide: false)
    machine.write([0xf4], at: Place.code + 0x800 + 0xfff2)
    machine.write([0x0f, 0x0b], at: Place.code + 0x800 - 0xe)
    machine.run(from: Place.code + 0x800)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.pointee.rip == Place.code + 0x800 + 0xfff3)
  }

  @Test func `code in a bounded page that changes is decoded anew`() {
    // mov byte [next+1], 7; next: mov al, 1; hlt
    let machine = machine(
      [0xc6, 0x05, 0x08, 0x00, 0x10, 0x00, 7, 0xb0, 1, 0xf4], limit: 0xff)
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.cpu.rax & 0xff == 7)
    machine.write([1], at: Place.code + 8)
    machine.run(from: Place.code)
    #expect(machine.cpu.rax & 0xff == 7)
  }

  // MARK: - Loading

  /// A selector for DS and what is said of it.
  struct Load: CustomTestStringConvertible, Sendable {
    let testDescription: String
    var segment: UInt8 = 3
    var selector: UInt16 = 0x70
    var rights: UInt64
    var user = false
    var raised: (vector: Int, code: UInt32)?
  }

  static let loads = [
    Load(testDescription: "writable data", rights: 0x4093),
    Load(testDescription: "readable code in DS", rights: 0x409b),
    Load(testDescription: "execute-only code in DS", rights: 0x4099, raised: (13, 0x70)),
    Load(testDescription: "a task in DS", rights: 0x0089, raised: (13, 0x70)),
    Load(
      testDescription: "kernel's data at level 3", rights: 0x4093, user: true, raised: (13, 0x70)),
    Load(testDescription: "conforming code at level 3", rights: 0x409f, user: true),
    Load(testDescription: "user's data at level 3", selector: 0x73, rights: 0x40f3, user: true),
    Load(
      testDescription: "kernel's data with RPL 3", selector: 0x73, rights: 0x4093,
      raised: (13, 0x70)),
    Load(testDescription: "data that is not there", rights: 0x4013, raised: (11, 0x70)),
    Load(
      testDescription: "a stack that is not there", segment: 2, rights: 0x4013, raised: (12, 0x70)),
    Load(testDescription: "a read-only stack", segment: 2, rights: 0x4091, raised: (13, 0x70)),
    Load(
      testDescription: "a stack of another level", segment: 2, rights: 0x40f3, raised: (13, 0x70)),
    Load(testDescription: "data of the local table", selector: 0x14, rights: 0x4093),
    Load(
      testDescription: "beyond the local table", selector: 0x1004, rights: 0x4093,
      raised: (13, 0x1004)),
  ]

  @Test(arguments: loads)
  func `a segment register takes what the manual permits`(_ example: Load) {
    let machine = TestMachine.protected([0x8e, 0xc0 | example.segment << 3, 0xcd, 0x31])
    machine.useLocalTable()
    machine.setDescriptor(
      example.selector & 0xfff, base: 0x5000, limit: 0xff, rights: example.rights)
    if example.user { machine.setFlat(user: true) }
    machine.cpu.rax = UInt64(example.selector)
    machine.run(from: Place.code)
    if let raised = example.raised {
      #expect(machine.raised == Raised(raised.vector, code: raised.code))
      #expect(machine.cpu.selector(Int(example.segment)) != example.selector)
    } else {
      #expect(machine.haltedVector == 0x31)
      #expect(machine.cpu.selector(Int(example.segment)) == example.selector)
      #expect(machine.cpu.segmentBase(Int(example.segment)) == 0x5000)
    }
  }

  // MARK: - What comes before the operand

  /// LLDT, LTR, LGDT, LIDT, LMSW of [ebp]: SDM Vol. 2, "Protected Mode Exceptions", #GP(0) "If the current privilege
  /// level is not 0".
  @Test(arguments: [[0x00, 0x55], [0x00, 0x5d], [0x01, 0x55], [0x01, 0x5d], [0x01, 0x75]])
  func `privilege counts before an operand that cannot be read`(_ bytes: [UInt8]) {
    let machine = TestMachine.protected([0x0f] + bytes + [0, 0xf4])
    machine.setFlat(user: true)
    machine.cpu.setSegment(
      2, selector: Selector.userData, base: 0, limit: 0xfff, attributes: 0x40f3)
    machine.core.modeChanged()
    machine.cpu.set(Slot.rbp, 0x1000 as UInt64)
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(13, code: 0))
  }

  @Test func `ENTER keeps all of ESP on a stack of 16 bits`() {
    // enter 16, 1: SDM Vol. 2A, ENTER, "FrameTemp := ESP" for 32-bit operands.
    let machine = TestMachine.protected([0xc8, 0x10, 0, 1, 0xf4])
    machine.cpu.setSegment(
      2, selector: Selector.kernelData, base: Place.data, limit: 0xffff, attributes: 0x0093)
    machine.core.modeChanged()
    machine.cpu.rsp = 0x5678_8000
    machine.cpu.set(Slot.rbp, 0x1234_abcd as UInt64)
    machine.run(from: Place.code)
    #expect(machine.cpu.get(Slot.rbp, UInt64.self) == 0x5678_7ffc)
    #expect(machine.cpu.rsp == 0x5678_7fe8)
    #expect(machine.read(Place.data + 0x7ff8) == 0x1234_abcd_5678_7ffc)
  }

  @Test func `a return looks at the new stack before the offset`() {
    // iretd to level 3, to an offset beyond the limit and with a stack of level 0: SDM Vol. 2B, RET,
    // "RETURN-OUTER-PRIVILEGE-LEVEL".
    let machine = TestMachine.protected([0xcf])
    machine.setDescriptor(0x70, base: 0, limit: 0xfff, rights: 0x40fb)
    let frame: [UInt64] = [0x1000, 0x73, 2, 0x8000, UInt64(Selector.kernelData)]
    let top = TestMachine.ProtectedPlace.innerStack - 0x100
    for (index, value) in frame.enumerated() {
      machine.write(SampleBuilder.bytes(value, 4), at: top + UInt64(index) * 4)
    }
    machine.cpu.rsp = top
    machine.run(from: Place.code)
    #expect(machine.raised == Raised(13, code: UInt32(Selector.kernelData)))
  }

  // MARK: - 64-bit mode

  /// Accesses whose address is not canonical.
  static let nonCanonical: [(String, [UInt8], Int)] = [
    ("mov al, [rax]", [0x8a, 0x00], 13),
    ("mov al, [rbp]", [0x8a, 0x45, 0x00], 12),
    ("mov [rsp], al", [0x88, 0x04, 0x24], 12),
    ("mov al, fs:[rbp]", [0x64, 0x8a, 0x45, 0x00], 13),
    ("add [rsp], eax", [0x01, 0x04, 0x24], 12),
    ("xchg [rbp], eax", [0x87, 0x45, 0x00], 12),
    ("push rax", [0x50], 12),
    ("push 1", [0x6a, 1], 12),
    ("pop rax", [0x58], 12),
    ("push ax", [0x66, 0x50], 12),
    ("call", [0xe8, 0, 0, 0, 0], 12),
    ("call rbx", [0xff, 0xd3], 12),
    ("ret", [0xc3], 12),
    ("leave", [0xc9], 12),
    ("enter 0, 0", [0xc8, 0, 0, 0], 12),
    ("pushf", [0x9c], 12),
    ("iretq", [0x48, 0xcf], 12),
    ("retf", [0xcb], 12),
    ("movups xmm0, [rbp]", [0x0f, 0x10, 0x45, 0x00], 12),
    ("movups [rax], xmm0", [0x0f, 0x11, 0x00], 13),
    ("fld dword [rsp]", [0xd9, 0x04, 0x24], 12),
  ]

  @Test func `an address that is not canonical is #SS on the stack and #GP elsewhere`() {
    for (name, bytes, vector) in Self.nonCanonical {
      let machine = TestMachine()
      machine.setGate(vector, handler: Place.handlers + UInt64(vector) * 16, stack: 1)
      machine.write(bytes, at: Place.code)
      machine.registers = [UInt64](repeating: 0x1_0000_0000_0000, count: 16)
      machine.cpu.rbx = Place.code
      machine.run(from: Place.code)
      #expect(machine.haltedVector == vector, "\(name)")
      #expect(machine.frame?.code == 0, "\(name)")
      #expect(machine.frame?.rip == Place.code, "\(name)")
      #expect(machine.frame?.rsp == 0x1_0000_0000_0000, "\(name)")
    }
  }

  @Test func `a branch to an address that is not canonical is its own fault`() {
    // jmp rax; call rax; push rax + ret
    for (code, distance) in [([0xff, 0xe0], 0), ([0xff, 0xd0], 0), ([0x50, 0xc3], 1)]
      as [([UInt8], UInt64)]
    {
      let machine = TestMachine()
      machine.write(code, at: Place.code)
      machine.cpu.rax = 0x8000_0000_0000
      let stack = machine.cpu.rsp
      machine.run(from: Place.code)
      #expect(machine.haltedVector == 13)
      #expect(machine.frame?.rip == Place.code + distance)
      #expect(machine.frame?.rsp == stack - distance * 8)
    }
  }

  @Test func `compatibility mode keeps the bases of its segments over an interrupt`() {
    // 32-bit code at level 3 with DS based at data: int 0x80; mov al, [0]; int 0x31. The handler returns.
    let machine = TestMachine()
    machine.map(Place.code, to: Place.code, 7)
    machine.map(Place.data, to: Place.data, 7)
    machine.write([0xcd, 0x80, 0xa0, 0, 0, 0, 0, 0xcd, 0x31], at: Place.code)
    machine.write([0x48, 0xcf], at: Place.handlers + 0x800)
    machine.write([0x5a], at: Place.data)
    machine.setFlat(user: true)
    machine.cpu.setSegment(3, selector: 0x2b, base: Place.data, limit: 0xff, attributes: 0x40f3)
    machine.cpu.rsp = Place.data + 0x800
    machine.cpu.rax = 0
    machine.run(from: Place.code)
    #expect(machine.haltedVector == 0x31)
    #expect(machine.cpu.rax == 0x5a)
  }
}
