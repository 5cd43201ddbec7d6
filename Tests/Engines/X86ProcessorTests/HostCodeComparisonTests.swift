#if arch(x86_64) && os(Linux)
  import CProcessor
  import HostOS
  import Synchronization
  import Testing

  @testable import SameISA
  @testable import X86Processor

  /// Host code that is compared with the interpreter: what is right passes, what is wrong is found.
  struct HostCodeComparisonTests {
    private final class Ear: Sendable {
      private let found = Mutex<[ComparedDifference]>([])
      var all: [ComparedDifference] { found.withLock { $0 } }
      func hear(_ difference: ComparedDifference) { found.withLock { $0.append(difference) } }
    }

    private let ear = Ear()
    private let record: ComparisonRecord
    private let machine: TestMachine

    init() {
      record = ComparisonRecord(every: 1) { [ear] in ear.hear($0) }
      machine = TestMachine(comparing: record)
    }

    private typealias Place = TestMachine.Place

    /// Runs code with RBX pointing to data, and R15 to a page of its own.
    private func run(_ code: [UInt8]) {
      machine.write(code + [0xf4], at: Place.code)
      runAgain()
    }

    private func runAgain() {
      machine.registers[3] = Place.data
      machine.registers[15] = Place.data + 0x1000
      #expect(machine.run(from: Place.code) == .halted)
    }

    /// MOV RAX, constant; MOV [RBX], RAX; MOV RCX, [RBX]; ADD RCX, 1
    private static let code: [UInt8] = [
      0x48, 0xb8, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x48, 0x89, 0x03, 0x48, 0x8b,
      0x0b, 0x48, 0x83, 0xc1, 0x01,
    ]

    @Test func `what is right is counted`() {
      machine.write(0xff, at: Place.data)
      run(Self.code)
      #expect(machine.registers[1] == 0x1122_3344_5566_7789)
      #expect(machine.read(Place.data) == 0x1122_3344_5566_7788)
      #expect(ear.all.isEmpty)
      #expect(record.counts.instructions >= 4)
    }

    @Test func `a loop is compared round by round`() {
      // MOV ECX, 50; MOV [RBX], RCX; INC QWORD [R15]; DEC RCX; JNZ to the store
      run([
        0xb9, 50, 0, 0, 0, 0x48, 0x89, 0x0b, 0x49, 0xff, 0x07, 0x48, 0xff, 0xc9, 0x75, 0xf5,
      ])
      #expect(machine.read(Place.data) == 1)
      #expect(machine.read(Place.data + 0x1000) == 50)
      #expect(ear.all.isEmpty)
      #expect(record.counts.instructions >= 4 * 49)
    }

    @Test func `a register that is wrong is found`() throws {
      let translator = try #require(machine.core.translator as? SameISATranslator)
      run(Self.code)
      // The host code's own copy of the constant.
      #expect(translator.replace(0x1122_3344_5566_7788, by: 0x1122_3344_5566_7700))
      runAgain()
      let found = try #require(ear.all.first)
      #expect(record.isOver)
      #expect(found.values.map(\.name).contains("rax"))
      #expect(found.values.map(\.name).contains("memory at physical 0x200000"))
      #expect(found.text.contains("mov rax, 0x1122334455667788"))
      #expect(
        found.text.contains("rax: 0x1122334455667700, where the interpreter has 0x1122334455667788")
      )
      // What the interpreter did counts.
      #expect(machine.registers[1] == 0x1122_3344_5566_7789)
      #expect(machine.read(Place.data) == 0x1122_3344_5566_7788)
    }

    @Test func `a fault is the interpreter's`() {
      // XOR EAX, EAX; MOV [RBX], EAX; MOV RCX, [1 << 40]
      run([
        0x31, 0xc0, 0x89, 0x03, 0x48, 0xb8, 0, 0, 0, 0, 0, 1, 0, 0, 0x48, 0x8b, 0x08,
      ])
      #expect(machine.haltedVector == 14)
      #expect(machine.cpu.pointee.cr2 == 1 << 40)
      #expect(ear.all.isEmpty)
    }

    @Test func `code that overwrites itself is not undone`() {
      // MOV BYTE [RIP + 3], 0x42; XOR EAX, EAX; MOV AL, 1, of which the 1 is overwritten; NOP
      run([0xc6, 0x05, 0x03, 0, 0, 0, 0x42, 0x31, 0xc0, 0xb0, 1, 0x90])
      #expect(machine.registers[0] == 0x42)
      #expect(ear.all.isEmpty)
    }
  }

  extension SameISATranslator {
    /// Replaces a constant in host code.
    fileprivate func replace(_ constant: UInt64, by other: UInt64) -> Bool {
      var any = false
      for offset in 0..<mapping.count - 8 {
        if mapping.executable.loadUnaligned(fromByteOffset: offset, as: UInt64.self) == constant {
          mapping.writable.storeBytes(of: other, toByteOffset: offset, as: UInt64.self)
          any = true
        }
      }
      return any
    }
  }
#endif
