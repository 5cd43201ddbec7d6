import ArchitectureX86
import Board
import CProcessor
import Execution
import Kit
import Memory
import SoftwareEngine
import Testing

@testable import X86Processor

/// Memory that processors may not reach, or only read.
@Suite struct PageRightsTests {
  private typealias Place = TestMachine.Place

  private let machine = TestMachine()
  private let device = WordDevice()

  init() { machine.deviceRegisters.map(device, at: Place.data..<Place.data + 0x4000) }

  private func permit(_ access: MemoryAccess, _ address: UInt64, pages: UInt64 = 1) throws {
    machine.core.becomeCurrent()
    let range = try #require(GPARange(start: GPA(address), count: pages << 12))
    machine.core.noteRightsChanged(pages: try machine.core.rights.set(access, in: range))
  }

  private static let touch: [UInt8] = [
    0x48, 0x8b, 0x03,  // mov rax, [rbx]
    0x48, 0x89, 0x4b, 0x08,  // mov [rbx + 8], rcx
    0xf4,
  ]

  private func touch() -> UInt64 {
    machine.write(Self.touch, at: Place.code)
    machine.cpu.rbx = Place.data
    machine.cpu.rcx = 0x77
    #expect(machine.run(from: Place.code) == .halted)
    return machine.cpu.rax
  }

  @Test func `reads and writes follow the rights as they are now`() throws {
    machine.write(0x1234, at: Place.data)
    #expect(touch() == 0x1234)
    #expect(machine.read(Place.data + 8) == 0x77)
    machine.write(0, at: Place.data + 8)

    try permit(.none, Place.data)
    #expect(touch() == WordDevice.answer)
    #expect(device.written == [.init(offset: 8, value: 0x77)])
    #expect(machine.read(Place.data + 8) == 0)

    device.written = []
    try permit(.read, Place.data)
    #expect(touch() == 0x1234)
    #expect(device.written == [.init(offset: 8, value: 0x77)])
    #expect(machine.read(Place.data + 8) == 0)

    device.written = []
    try permit(.full, Place.data)
    #expect(touch() == 0x1234)
    #expect(device.written.isEmpty)
    #expect(machine.read(Place.data + 8) == 0x77)
  }

  @Test(
    arguments: [
      [0x83, 0x03, 0x05],  // add dword ptr [rbx], 5
      [0xf0, 0x83, 0x03, 0x05],  // lock add dword ptr [rbx], 5
    ] as [[UInt8]])
  func `what is changed is read and written`(_ code: [UInt8]) throws {
    machine.write(7, at: Place.data)
    machine.write(code + [0xf4], at: Place.code)
    for (access, value) in [(.read, 12), (.none, (WordDevice.answer + 5) & 0xffff_ffff)]
      as [(MemoryAccess, UInt64)]
    {
      device.written = []
      try permit(access, Place.data)
      machine.cpu.rbx = Place.data
      machine.run(from: Place.code)
      #expect(device.written == [.init(offset: 0, value: value)])
      #expect(machine.read(Place.data) == 7)
    }
  }

  @Test func `CMPXCHG16B reads and writes what is there`() throws {
    machine.write(7, at: Place.data)
    machine.write(8, at: Place.data + 8)
    machine.write([0x48, 0x0f, 0xc7, 0x0e, 0xf4], at: Place.code)  // cmpxchg16b [rsi]
    try permit(.read, Place.data)
    machine.cpu.rsi = Place.data
    (machine.cpu.rbx, machine.cpu.rcx) = (1, 2)
    (machine.cpu.rax, machine.cpu.rdx) = (7, 9)
    machine.run(from: Place.code)
    #expect((machine.cpu.rax, machine.cpu.rdx) == (7, 8))
    #expect(!machine.cpu.zeroFlag)
    #expect(device.written.map(\.value) == [7, 8])
    machine.run(from: Place.code)
    #expect(machine.cpu.zeroFlag)
    #expect(device.written.map(\.value) == [7, 8, 1, 2])
    #expect(machine.read(Place.data) == 7)
  }

  @Test func `string instructions heed the rights of each page`() throws {
    // rep stosq over three pages, the one in the middle not permitted.
    machine.write([0xf3, 0x48, 0xab, 0xf4], at: Place.code)
    try permit(.none, Place.data + 0x1000)
    machine.cpu.rax = 0x5a5a
    machine.cpu.rcx = 3 * 512
    machine.cpu.rdi = Place.data
    machine.run(from: Place.code)
    #expect(machine.read(Place.data + 0xff8) == 0x5a5a)
    #expect(machine.read(Place.data + 0x1000) == 0)
    #expect(machine.read(Place.data + 0x2000) == 0x5a5a)
    #expect(device.written.count == 512)
  }

  @Test func `code that may not be reached is fetched from the bus`() throws {
    let away = Place.data + 0x3000
    machine.write([0xb0, 0x01, 0xf4], at: away)  // mov al, 1; hlt
    device.code = [0xb0, 0x02, 0xf4]  // mov al, 2; hlt
    for (access, value) in [(.full, 1), (.none, 2), (.read, 1)] as [(MemoryAccess, UInt64)] {
      try permit(access, away)
      #expect(machine.run(from: away) == .halted)
      #expect(machine.cpu.rax & 0xff == value)
    }
  }

  @Test func `page tables that may not be reached translate nothing`() throws {
    let table = machine.entry(of: Place.data) & ~0xfff
    try permit(.none, table)
    machine.write(Self.touch, at: Place.code)
    machine.cpu.rbx = Place.data
    // Nor can the handler be reached by way of them.
    #expect(machine.run(from: Place.code) != .halted || machine.haltedVector != nil)
  }

  @Test func `flags of page tables that are read-only go to the bus`() throws {
    let slot = machine.entry(of: Place.data)
    let registers = WordDevice()
    machine.deviceRegisters.map(registers, at: (slot & ~0xfff)..<(slot & ~0xfff) + 0x1000)
    machine.write(machine.read(slot) & ~0x60, at: slot)
    let before = machine.read(slot)
    try permit(.read, slot & ~0xfff)
    _ = touch()
    #expect(machine.read(slot) == before)
    #expect(
      registers.written.contains(.init(offset: slot & 0xfff, value: before | 0x20))
        && registers.written.contains(.init(offset: slot & 0xfff, value: before | 0x60)))
  }

  @Test func `a device that takes memory away is heeded by the instruction in hand`() throws {
    // movsq from a register whose device withdraws the destination.
    machine.map(0x30_0000, to: 0x1_0000_0000)
    let core = machine.core
    let range = try #require(GPARange(start: GPA(Place.data), count: 0x1000))
    let trigger = WordDevice()
    trigger.onRead = {
      if let pages = try? core.rights.set(.none, in: range) { core.noteRightsChanged(pages: pages) }
    }
    machine.deviceRegisters.map(trigger, at: 0x1_0000_0000..<0x1_0000_1000)
    // mov [rdi], rax; movsq; hlt
    machine.write([0x48, 0x89, 0x07, 0x48, 0xa5, 0xf4], at: Place.code)
    machine.cpu.rax = 1
    machine.cpu.rsi = 0x30_0000
    machine.cpu.rdi = Place.data
    machine.run(from: Place.code)
    #expect(machine.read(Place.data) == 1)
    #expect(device.written == [.init(offset: 0, value: WordDevice.answer)])
  }

  @Test func `devices reach memory as before`() throws {
    try permit(.none, Place.data)
    machine.write(5, at: Place.data)
    #expect(machine.read(Place.data) == 5)
  }

  @Test func `ranges that are not whole pages of memory are refused`() throws {
    let partition = try SoftwareEngine().makePartition(
      PartitionPlan(
        processors: 1, model: .x86_64v2, clock: machine.clock, loop: ManualLoop()))
    func refusal(_ start: UInt64, _ count: UInt64) throws -> String? {
      let range = try #require(GPARange(start: GPA(start), count: count))
      do throws(EngineError) {
        try partition.permit(.none, in: range)
        return nil
      } catch {
        return error.description
      }
    }
    #expect(try refusal(0, 0x1000) == "no memory was mapped yet")
    try partition.map(machine.memory)
    #expect(try refusal(0, 0) == nil)
    #expect(try refusal(0x1000, 0x2000) == nil)
    #expect(try refusal(0, 16 << 20) == nil)
    #expect(
      try refusal(0x800, 0x1000)
        == "access cannot be set for 4096 bytes at 0x800: they are not whole pages")
    #expect(try refusal(0x1000, 0x800)?.hasSuffix("not whole pages") == true)
    #expect(
      try refusal(15 << 20, 2 << 20)
        == "access cannot be set for 2097152 bytes at 0xf00000: not all of it is memory")
    #expect(try refusal(1 << 40, 0x1000)?.hasSuffix("not all of it is memory") == true)
  }
}

/// Reads as one number, and remembers what was written.
private final class WordDevice: IODevice, @unchecked Sendable {
  // Sendable although it varies: one thread only uses it.
  static let answer: UInt64 = 0x0000_5555_aaaa_0001
  struct Write: Equatable {
    var offset: UInt64
    var value: UInt64
  }
  var written: [Write] = []
  /// What there is from 0x3000 on.
  var code: [UInt8] = []
  var onRead: () -> Void = {}

  func read(_ access: Access) throws(IOError) -> UInt64 {
    onRead()
    let place = Int(access.offset) - 0x3000
    return code.indices.contains(place) ? UInt64(code[place]) : Self.answer
  }

  func write(_ value: UInt64, _ access: Access) throws(IOError) {
    written.append(.init(offset: access.offset, value: value))
  }
}
