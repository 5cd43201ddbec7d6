import ArchitectureX86
import Board
import CProcessor
import Execution
import Glibc
import Kit
import Memory
import SoftwareEngine
import Synchronization
import Testing

@testable import X86Processor

/// Two processors at once: SDM Vol. 3A chapter 8 "Multiple-Processor Management".
@Suite(.serialized)
struct SystemProcessorsTests {
  private typealias Place = TestMachine.Place
  /// Where the programs count up how many of them are done.
  private static let done: UInt64 = 0x140

  /// Runs one program a processor, all from the state of `machine`, until all have counted up `done`.
  ///
  /// - Returns: whether that happened in time.
  private func run(
    on machine: TestMachine, data: UInt64 = Place.data, starts: [UInt64?],
    _ prepare: (Int, inout X86.State) -> Void = { _, _ in }
  ) throws -> Bool {
    let partition = try SoftwareEngine().makePartition(
      PartitionPlan(
        processors: starts.count, model: .x86_64v2, clock: machine.clock, loop: ManualLoop()))
    try partition.map(machine.memory)
    var threads: [pthread_t] = []
    for (index, start) in starts.enumerated() {
      var state: X86.State?
      if let start {
        var its = machine.core.state
        its.rip = start
        its.activity = .active
        its.apic = nil
        its.registers[3] = data
        its.registers[4] = Place.kernelStack - UInt64(index + 1) * 0x1000
        prepare(index, &its)
        state = its
      }
      let box = Unmanaged.passRetained(Program(partition, index, state))
      var thread = pthread_t()
      pthread_create(
        &thread, nil,
        { argument in
          Unmanaged<Program>.fromOpaque(argument!).takeRetainedValue().run()
          return nil
        }, box.toOpaque())
      threads.append(thread)
    }
    var isDone = false
    for _ in 0..<20_000 where !isDone {
      usleep(1000)
      isDone = machine.read(data + Self.done) & 0xffff == UInt64(starts.count)
    }
    for (index, thread) in threads.enumerated() {
      partition.kick(index)
      pthread_join(thread, nil)
    }
    return isDone
  }

  /// A processor on a thread of its own.
  private final class Program {
    private let partition: any Partition<X86>
    private let index: Int
    private let state: X86.State?

    init(_ partition: any Partition<X86>, _ index: Int, _ state: X86.State?) {
      self.partition = partition
      self.index = index
      self.state = state
    }

    func run() {
      var buses = Buses(
        ports: IOBus(wideAccess: .split), registers: IOBus(wideAccess: .refuse))
      do {
        let processor = try partition.bindProcessor(index)
        if let state { try processor.setState(state, of: .zero) }
        _ = try processor.run(&buses)
      } catch {
        Issue.record(error)
      }
    }
  }

  @Test func `instructions with LOCK lose nothing`() throws {
    let machine = TestMachine()
    machine.write(
      [
        0xb9, 0xa0, 0x86, 0x01, 0x00,  // mov ecx, 100000
        0xf0, 0x48, 0xff, 0x03,  // next: lock inc qword ptr [rbx]
        0xb8, 0x01, 0x00, 0x00, 0x00,  // mov eax, 1
        0xf0, 0x48, 0x0f, 0xc1, 0x43, 0x40,  // lock xadd [rbx + 0x40], rax
        0x48, 0x8b, 0x83, 0x80, 0x00, 0x00, 0x00,  // mov rax, [rbx + 0x80]
        0x48, 0x8d, 0x50, 0x01,  // again: lea rdx, [rax + 1]
        0xf0, 0x48, 0x0f, 0xb1, 0x93, 0x80, 0x00, 0x00, 0x00,  // lock cmpxchg [rbx + 0x80], rdx
        0x75, 0xf1,  // jnz again
        0xf0, 0x0f, 0xba, 0xab, 0xc0, 0x00, 0x00, 0x00, 0x00,  // lock bts dword ptr [rbx + 0xc0], 0
        0x73, 0x04,  // jnc got
        0xf3, 0x90,  // pause
        0xeb, 0xf1,  // jmp lock bts
        0x48, 0xff, 0x83, 0x00, 0x01, 0x00, 0x00,  // got: inc qword ptr [rbx + 0x100]
        0xc7, 0x83, 0xc0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,  // mov [rbx + 0xc0], 0
        0xff, 0xc9,  // dec ecx
        0x75, 0xb7,  // jnz next
        0xf0, 0xff, 0x83, 0x40, 0x01, 0x00, 0x00,  // lock inc dword ptr [rbx + 0x140]
        0xf4,
      ], at: Place.code)
    #expect(try run(on: machine, starts: [Place.code, Place.code]))
    for offset in [0, 0x40, 0x80, 0x100] as [UInt64] {
      #expect(machine.read(Place.data + offset) == 200_000)
    }
  }

  @Test func `code that one processor changes another runs as changed`() throws {
    let machine = TestMachine()
    let routine = Place.code + 0x2000
    machine.write([0xb8, 1, 0, 0, 0, 0xc3], at: routine)  // mov eax, 1; ret
    machine.write(
      [
        0xff, 0xd6,  // next: call rsi
        0x89, 0x43, 0x40,  // mov [rbx + 0x40], eax
        0x83, 0xf8, 0x32,  // cmp eax, 50
        0x75, 0xf6,  // jne next
        0xf0, 0xff, 0x83, 0x40, 0x01, 0x00, 0x00,  // lock inc dword ptr [rbx + 0x140]
        0xf4,
      ], at: Place.code)
    machine.write(
      [
        0xb9, 0x01, 0x00, 0x00, 0x00,  // mov ecx, 1
        0x39, 0x4b, 0x40,  // wait: cmp [rbx + 0x40], ecx
        0x75, 0xfb,  // jne wait
        0xff, 0xc1,  // inc ecx
        0x89, 0x4e, 0x01,  // mov [rsi + 1], ecx: the routine's constant
        0x83, 0xf9, 0x32,  // cmp ecx, 50
        0x75, 0xf1,  // jne wait
        0xf0, 0xff, 0x83, 0x40, 0x01, 0x00, 0x00,  // lock inc dword ptr [rbx + 0x140]
        0xf4,
      ], at: Place.code + 0x1000)
    #expect(
      try run(on: machine, starts: [Place.code, Place.code + 0x1000]) { $1.registers[6] = routine })
    #expect(machine.read(Place.data + 0x40) & 0xffff_ffff == 50)
  }

  @Test func `one processor starts the other`() throws {
    let machine = TestMachine()
    machine.map(0xfee0_0000, to: 0xfee0_0000)
    machine.write(
      [
        0xc7, 0x87, 0x10, 0x03, 0, 0, 0, 0, 0, 1,  // mov dword ptr [rdi + 0x310], 1 << 24
        0xc7, 0x87, 0x00, 0x03, 0, 0, 0x00, 0x45, 0, 0,  // … [rdi + 0x300], 0x4500: INIT
        0xc7, 0x87, 0x00, 0x03, 0, 0, 0x08, 0x46, 0, 0,  // … 0x4608: start-up at 0x8000
        0xf3, 0x90,  // wait: pause
        0x66, 0x83, 0xbb, 0x40, 0x01, 0, 0, 0x01,  // cmp word ptr [rbx + 0x140], 1
        0x75, 0xf4,  // jne wait
        0xf0, 0xff, 0x83, 0x40, 0x01, 0, 0,  // lock inc dword ptr [rbx + 0x140]
        0xf4,
      ], at: Place.code)
    machine.write(
      [
        0xb8, 0x00, 0x30, 0x8e, 0xd8,  // mov ax, 0x3000; mov ds, ax
        0x8c, 0xc8, 0xa3, 0x10, 0x00,  // mov ax, cs; mov [0x10], ax
        0xf0, 0xff, 0x06, 0x40, 0x01,  // lock inc word ptr [0x140]
        0xf4,
      ], at: 0x8000)
    #expect(
      try run(on: machine, data: 0x3_0000, starts: [Place.code, nil]) {
        $1.registers[7] = 0xfee0_0000
      })
    #expect(machine.read(0x3_0010) & 0xffff == 0x800)
  }
}
