import ArchitectureX86
import CProcessor
import Testing

@testable import X86Processor

/// Page faults, accessed and dirty flags, and translations that change: SDM Vol. 3A chapter 4.
struct SystemPagingTests {
  private typealias Place = TestMachine.Place
  /// Where tests put code, one page mapped for everybody.
  private static let code: UInt64 = 0x60_0000_0000
  /// The page under test.
  private static let page: UInt64 = 0x60_0010_0000

  private static let loadRAX: [UInt8] = [0x48, 0x8b, 0x03, 0xf4]  // mov rax, [rbx]; hlt
  private static let storeRAX: [UInt8] = [0x48, 0x89, 0x03, 0xf4]  // mov [rbx], rax; hlt
  private static let addRAX: [UInt8] = [0x48, 0x01, 0x03, 0xf4]  // add [rbx], rax; hlt
  private static let jumpRBX: [UInt8] = [0xff, 0xe3]  // jmp rbx

  private func machine(_ code: [UInt8], page flags: UInt64?, user: Bool = false) -> TestMachine {
    let machine = TestMachine()
    machine.map(Self.code, to: Place.code, user ? 7 : 3)
    machine.write(code, at: Place.code)
    machine.map(Self.page, to: Place.data, flags ?? 0)
    machine.write([0xf4], at: Place.data)
    machine.setPrivilege(user ? 3 : 0)
    machine.cpu.rbx = Self.page
    return machine
  }

  struct Case: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let bytes: [UInt8]
    /// The leaf entry's flags; `nil`: not present.
    let flags: UInt64?
    var user = false
    var writeProtect = true
    /// The error code, or `nil` if nothing happens.
    let code: UInt64?
    var isFetch = false
  }

  private static let reserved: UInt64 = 1 << 51
  static let cases = [
    Case(testDescription: "supervisor read, not present", bytes: loadRAX, flags: nil, code: 0),
    Case(testDescription: "supervisor write, not present", bytes: storeRAX, flags: nil, code: 2),
    Case(
      testDescription: "user read, not present", bytes: loadRAX, flags: nil, user: true, code: 4),
    Case(
      testDescription: "user read of a supervisor page", bytes: loadRAX, flags: 3, user: true,
      code: 5),
    Case(
      testDescription: "user write to a read-only page", bytes: storeRAX, flags: 5, user: true,
      code: 7),
    Case(
      testDescription: "supervisor write to a read-only page", bytes: storeRAX, flags: 1, code: 3),
    Case(
      testDescription: "supervisor write to a read-only page without CR0.WP", bytes: storeRAX,
      flags: 1, writeProtect: false, code: nil),
    Case(
      testDescription: "a read-modify-write faults as a write", bytes: addRAX, flags: 1, code: 3),
    Case(testDescription: "reserved bit", bytes: loadRAX, flags: 3 | reserved, code: 9),
    Case(
      testDescription: "supervisor fetch, no execute", bytes: jumpRBX,
      flags: 3 | TestMachine.noExecute, code: 0x11, isFetch: true),
    Case(
      testDescription: "user fetch of a supervisor page", bytes: jumpRBX, flags: 3, user: true,
      code: 0x15, isFetch: true),
    Case(
      testDescription: "user fetch, not present", bytes: jumpRBX, flags: nil, user: true,
      code: 0x14, isFetch: true),
    Case(testDescription: "supervisor fetch of a user page", bytes: jumpRBX, flags: 7, code: nil),
  ]

  @Test(arguments: cases)
  func `an access faults by what the tables permit`(_ example: Case) {
    let machine = machine(example.bytes, page: example.flags, user: example.user)
    if !example.writeProtect {
      machine.cpu.pointee.cr0 &= ~X86.CR0.writeProtect
      machine.core.flushTranslations(global: true)
    }
    #expect(machine.run(from: Self.code) == .halted)
    guard let code = example.code else {
      #expect(machine.haltedVector == nil)
      return
    }
    #expect(machine.haltedVector == 14)
    #expect(machine.frame?.code == code)
    #expect(machine.frame?.rip == (example.isFetch ? Self.page : Self.code))
    #expect(machine.cpu.pointee.cr2 == Self.page)
  }

  @Test func `a read sets accessed, a write sets dirty too`() {
    let machine = machine(Self.loadRAX, page: 3)
    let entry = machine.entry(of: Self.page)
    machine.run(from: Self.code)
    #expect(machine.read(entry) & 0x60 == 0x20)
    machine.write(Self.storeRAX, at: Place.code)
    machine.run(from: Self.code)
    #expect(machine.read(entry) & 0x60 == 0x60)
  }

  @Test func `a fault sets no flags`() {
    let machine = machine(Self.storeRAX, page: 1)
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 14)
    #expect(machine.read(machine.entry(of: Self.page)) & 0x60 == 0)
  }

  @Test func `INVLPG makes a changed entry count`() {
    // mov rax, [rbx]; mov [rcx], rdx; invlpg [rbx]; mov rsi, [rbx]; hlt
    let machine = machine(
      [
        0x48, 0x8b, 0x03, 0x48, 0x89, 0x11, 0x0f, 0x01, 0x3b, 0x48, 0x8b, 0x33, 0xf4,
      ], page: 3)
    machine.write(0x1111, at: Place.data)
    machine.write(0x2222, at: Place.data + 0x1000)
    machine.cpu.rcx = machine.entry(of: Self.page)
    machine.cpu.rdx = (Place.data + 0x1000) | 3
    #expect(machine.run(from: Self.code) == .halted)
    #expect(machine.cpu.rax == 0x1111)
    #expect(machine.cpu.rsi == 0x2222)
  }

  @Test func `INVLPG of a page of code makes the new code count`() {
    // call rbx; mov [rcx], rdx; invlpg [rbx]; call rbx; hlt
    let machine = machine(
      [0xff, 0xd3, 0x48, 0x89, 0x11, 0x0f, 0x01, 0x3b, 0xff, 0xd3, 0xf4], page: 3)
    machine.write([0xff, 0xc0, 0xc3], at: Place.data)  // inc eax; ret
    machine.write([0x83, 0xc0, 0x10, 0xc3], at: Place.data + 0x1000)  // add eax, 16; ret
    machine.cpu.rcx = machine.entry(of: Self.page)
    machine.cpu.rdx = (Place.data + 0x1000) | 3
    machine.cpu.rax = 0
    #expect(machine.run(from: Self.code) == .halted)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 0x11)
  }

  @Test func `a write to CR3 drops translations but those of global pages`() {
    // mov rax, [rbx]; mov [rcx], rdx; mov cr3, rdi; mov rsi, [rbx]; hlt
    let bytes: [UInt8] = [
      0x48, 0x8b, 0x03, 0x48, 0x89, 0x11, 0x0f, 0x22, 0xdf, 0x48, 0x8b, 0x33, 0xf4,
    ]
    let machine = machine(bytes, page: 3)
    machine.write(0x2222, at: Place.data + 0x1000)
    machine.cpu.rcx = machine.entry(of: Self.page)
    machine.cpu.rdx = (Place.data + 0x1000) | 3
    machine.cpu.rdi = Place.pageTables
    machine.run(from: Self.code)
    #expect(machine.cpu.rsi == 0x2222)
  }

  @Test func `a load across pages reads both`() {
    let machine = machine(Self.loadRAX, page: 3)
    machine.map(Self.page + 0x1000, to: Place.data + 0x5000)
    machine.write(0x1122_3344_0000_0000, at: Place.data + 0xff8)
    machine.write(0x5566_7788, at: Place.data + 0x5000)
    machine.cpu.rbx = Self.page + 0xffc
    machine.run(from: Self.code)
    #expect(machine.cpu.rax == 0x5566_7788_1122_3344)
  }

  @Test func `a store across pages writes both or nothing`() {
    let machine = machine(Self.storeRAX, page: 3)
    machine.map(Self.page + 0x1000, to: 0, 0)
    machine.cpu.rbx = Self.page + 0xffc
    machine.cpu.rax = .max
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 14)
    #expect(machine.cpu.pointee.cr2 == Self.page + 0x1000)
    #expect(machine.read(Place.data + 0xff8) == 0)
    // Mapped at last, the instruction runs again and succeeds.
    machine.map(Self.page + 0x1000, to: Place.data + 0x5000)
    machine.cpu.rsp = machine.frame?.rsp ?? 0
    machine.run(from: Self.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.read(Place.data + 0xff8) == 0xffff_ffff_0000_0000)
    #expect(machine.read(Place.data + 0x5000) == 0xffff_ffff)
  }

  @Test func `an instruction across pages is fetched from both`() {
    // movabs rax, 0x1122334455667788; hlt: four bytes before the page's end.
    let bytes: [UInt8] = [
      0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xf4,
    ]
    let machine = machine([0xff, 0xe3], page: 3)
    machine.map(Self.page + 0x1000, to: 0, 0)
    machine.write(Array(bytes[..<4]), at: Place.data + 0xffc)
    machine.write(Array(bytes[4...]), at: Place.data + 0x5000)
    machine.cpu.rbx = Self.page + 0xffc
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 14)
    #expect(machine.frame?.rip == Self.page + 0xffc)
    #expect(machine.frame?.code == 0x10)
    #expect(machine.cpu.pointee.cr2 == Self.page + 0x1000)
    machine.map(Self.page + 0x1000, to: Place.data + 0x5000)
    machine.run(from: Self.page + 0xffc)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rax == 0x1122_3344_5566_7788)
    #expect(machine.cpu.pointee.rip == Self.page + 0x1007)
  }

  @Test func `an address that is not canonical faults without CR2`() {
    let machine = machine(Self.loadRAX, page: 3)
    machine.cpu.rbx = 0x8000_0000_0000
    machine.cpu.pointee.cr2 = 0x77
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 13)
    #expect(machine.frame?.code == 0)
    #expect(machine.cpu.pointee.cr2 == 0x77)
  }

  @Test(arguments: [0xf3a4, 0xf348_a5, 0xf3aa] as [UInt64])
  func `a repeated string instruction stops at the page that faults`(_ opcode: UInt64) {
    let bytes = (0..<8).reversed().map { UInt8(truncatingIfNeeded: opcode >> UInt64($0 * 8)) }
      .drop { $0 == 0 }
    let size: UInt64 = opcode == 0xf348_a5 ? 8 : 1
    let machine = machine(Array(bytes) + [0xf4], page: 3)
    machine.map(Self.page + 0x1000, to: 0, 0)
    for offset in stride(from: 0 as UInt64, to: 0x2000, by: 8) {
      machine.write(0x0101_0101_0101_0101, at: Place.data + 0x8000 + offset)
    }
    machine.map(Self.page + 0x8000, to: Place.data + 0x8000)
    machine.map(Self.page + 0x9000, to: Place.data + 0x9000)
    machine.cpu.rax = 1
    machine.cpu.rsi = Self.page + 0x8000
    machine.cpu.rdi = Self.page + 0xf00
    machine.cpu.rcx = 0x200 / size
    machine.run(from: Self.code)
    #expect(machine.haltedVector == 14)
    #expect(machine.frame?.rip == Self.code)
    #expect(machine.frame?.code == 2)
    #expect(machine.cpu.pointee.cr2 == Self.page + 0x1000)
    #expect(machine.cpu.rcx == 0x100 / size)
    #expect(machine.cpu.rdi == Self.page + 0x1000)
    machine.map(Self.page + 0x1000, to: Place.data + 0x5000)
    machine.cpu.rsp = machine.frame?.rsp ?? 0
    machine.run(from: Self.code)
    #expect(machine.haltedVector == nil)
    #expect(machine.cpu.rcx == 0)
    #expect(machine.read(Place.data + 0x50f8) == 0x0101_0101_0101_0101)
    #expect(machine.read(Place.data + 0x5100) == 0)
  }
}
