#if arch(x86_64) && os(Linux)
  import Foundation
  import HostOS
  import Testing

  @testable import SameISA

  /// The assembler, against the disassembler of binutils, against encodings from the manual, and by running what it
  /// writes.
  struct AssemblerTests {
    private static let objdump = "/usr/bin/objdump"

    @Test(
      .enabled(
        if: FileManager.default.isExecutableFile(atPath: objdump), "there is no \(objdump)"))
    func `binutils reads what was meant`() throws {
      let list = AssemblerListing.everything()
      defer { list.free() }
      let found = Dictionary(
        uniqueKeysWithValues: try Self.disassemble(list.bytes).map { ($0.offset, $0.text) })
      let wrong = list.lines.filter { found[$0.offset] != $0.text }
      for line in wrong.prefix(20) {
        Issue.record("\(line.text) is read as \(found[line.offset] ?? "something else")")
      }
      #expect(found.count == list.lines.count)
      #expect(list.lines.count > 8000)
    }

    /// Every instruction and where it starts, without the padding of binutils' columns.
    private static func disassemble(_ bytes: [UInt8]) throws -> [AssemblerListing.Line] {
      let file = FileManager.default.temporaryDirectory
        .appending(path: "roost-assembler-\(UUID().uuidString)")
      try Data(bytes).write(to: file)
      defer { try? FileManager.default.removeItem(at: file) }
      let process = Process()
      process.executableURL = URL(filePath: objdump)
      process.arguments = [
        "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", "-w", "-z", "--no-show-raw-insn",
        file.path,
      ]
      let pipe = Pipe()
      process.standardOutput = pipe
      try process.run()
      let output = pipe.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      try #require(process.terminationStatus == 0)
      return String(decoding: output, as: UTF8.self).split(separator: "\n").compactMap { line in
        let parts = line.split(separator: ":\t", maxSplits: 1)
        guard parts.count == 2,
          let offset = Int(parts[0].trimmingCharacters(in: .whitespaces), radix: 16)
        else { return nil }
        // A REX prefix without a bit set is named where it changes no register's name.
        let words = parts[1].split(separator: " ").drop { $0 == "rex" }
        return .init(offset: offset, text: words.joined(separator: " "))
      }
    }

    // MARK: - From the manual

    private static func bytes(_ write: (inout Assembler) -> Void) -> [UInt8] {
      let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 64)
      defer { memory.deallocate() }
      var assembler = Assembler(at: memory, distance: -Int(bitPattern: memory))
      write(&assembler)
      return [UInt8](UnsafeBufferPointer(start: memory, count: assembler.cursor - memory))
    }

    /// SDM Vol. 2A §2.1.5 "Addressing-Mode Encoding of ModR/M and SIB Bytes": RSP and R12 as a base take a SIB byte,
    /// RBP and R13 a displacement.
    @Test func `bases that are special have their own encodings`() {
      func load(_ address: Address) -> [UInt8] { Self.bytes { $0.load(.rax, address) } }
      #expect(load(Address(.rsp)) == [0x48, 0x8b, 0x04, 0x24])
      #expect(load(Address(.r12)) == [0x49, 0x8b, 0x04, 0x24])
      #expect(load(Address(.rbp)) == [0x48, 0x8b, 0x45, 0x00])
      #expect(load(Address(.r13)) == [0x49, 0x8b, 0x45, 0x00])
      #expect(load(Address(.rbx)) == [0x48, 0x8b, 0x03])
      #expect(load(Address(nil, 8)) == [0x48, 0x8b, 0x04, 0x25, 8, 0, 0, 0])
      #expect(load(Address(.r13, index: .r12, scale: 3)) == [0x4b, 0x8b, 0x44, 0xe5, 0x00])
      #expect(load(Address(.rax, 128)) == [0x48, 0x8b, 0x80, 0x80, 0, 0, 0])
    }

    /// SDM Vol. 2A §2.2.1.2 "More on REX Prefix Fields": with it, registers 4 to 7 are SPL, BPL, SIL and DIL.
    @Test func `low bytes of all registers can be named`() {
      #expect(Self.bytes { $0.move(.rdi, .rsp, .byte) } == [0x40, 0x8a, 0xfc])
      #expect(Self.bytes { $0.set(.rsi, if: .zero) } == [0x40, 0x0f, 0x94, 0xc6])
      #expect(Self.bytes { $0.zeroExtendSecondByte(.rcx, of: .rax) } == [0x0f, 0xb6, 0xcc])
    }

    @Test func `constants take no more bytes than they need`() {
      #expect(Self.bytes { $0.loadConstant(.r9, 1) } == [0x41, 0xb9, 1, 0, 0, 0])
      #expect(Self.bytes { $0.loadConstant(.rbx, .max) } == [0x48, 0xc7, 0xc3, 255, 255, 255, 255])
      #expect(
        Self.bytes { $0.loadConstant(.r10, 1 << 40) } == [0x49, 0xba, 0, 0, 0, 0, 0, 1, 0, 0])
      #expect(Self.bytes { $0.arithmetic(.cmp, .rdx, constant: -1) } == [0x48, 0x83, 0xfa, 0xff])
    }

    /// SDM Vol. 2A §2.3.5 "The VEX Prefix": R, X, B and vvvv are inverted.
    @Test func `a VEX prefix has three bytes`() {
      let bytes = Self.bytes {
        $0.vexInstruction(
          map: 2, pp: 1, isW: true, isWide: true, opcode: 0x98, reg: 9, vvvv: 14,
          .memory(Address(.r8, index: .r15)))
      }
      #expect(bytes == [0xc4, 0x02, 0x8d, 0x98, 0x0c, 0x38])
    }

    // MARK: - Running

    /// Writes code and runs it with two arguments.
    private static func run(
      _ first: UInt64, _ second: UInt64, _ write: (inout Assembler) -> Void
    ) throws -> UInt64 {
      let mapping = try #require(CodeMapping(count: 4096))
      var assembler = Assembler(
        at: mapping.writable.assumingMemoryBound(to: UInt8.self),
        distance: mapping.executable - UnsafeRawPointer(mapping.writable))
      #expect(assembler.here == UInt64(UInt(bitPattern: mapping.executable)))
      write(&assembler)
      typealias Function = @convention(c) (UInt64, UInt64) -> UInt64
      return withExtendedLifetime(mapping) {
        unsafeBitCast(mapping.executable, to: Function.self)(first, second)
      }
    }

    @Test func `a loop with a call runs`() throws {
      // The sum of squares of 1 to n, times the second argument.
      let sum = try Self.run(10, 3) { a in
        a.push(.rbx)
        a.arithmetic(.xor, .rax, .rax, .doubleword)
        let over = a.jump()
        let square = a.here
        a.move(.rbx, .rdi)
        a.instruction(.init(0xaf, map: 1, isW: true), reg: 3, .register(7))  // IMUL RBX, RDI
        a.returnNear()
        a.bind(over)
        let again = a.here
        a.call(square)
        a.arithmetic(.add, .rax, .rbx)
        a.arithmetic(.sub, .rdi, constant: 1)
        a.jump(if: .notZero, to: again)
        a.instruction(.init(0xaf, map: 1, isW: true), reg: 0, .register(6))
        a.pop(.rbx)
        a.returnNear()
      }
      #expect(sum == 385 * 3)
    }

    @Test func `flags survive LAHF and SETO, ADD and SAHF`() throws {
      for (first, second) in [
        (0, 0), (1 << 63, 1 << 63), (.max, 1), (5, .max), (0x7fff_ffff_ffff_ffff, 1),
      ] as [(UInt64, UInt64)] {
        let seen = try Self.run(first, second) { a in
          a.arithmetic(.add, .rdi, .rsi)
          a.loadFlags()
          a.set(.rax, if: .overflow)
          a.arithmetic(.xor, .rcx, .rcx, .doubleword)
          a.arithmetic(.add, .rax, constant: 0x7f, .byte)
          a.storeFlags()
          a.set(.rax, if: .overflow)
          a.set(.rcx, if: .zero)
          a.zeroExtendByte(.rax, .rax)
          a.loadAddress(.rax, Address(.rax, index: .rcx, scale: 1))
          a.returnNear()
        }
        let (sum, overflow) = Int64(bitPattern: first)
          .addingReportingOverflow(Int64(bitPattern: second))
        #expect(seen == (overflow ? 1 : 0) + (sum == 0 ? 2 : 0))
      }
    }

    @Test func `a jump leads where memory or a register says`() throws {
      let place = UnsafeMutablePointer<UInt64>.allocate(capacity: 1)
      defer { place.deallocate() }
      let found = try Self.run(UInt64(UInt(bitPattern: place)), 0) { a in
        let over = a.jump()
        let last = a.here
        a.loadConstant(.rax, 3)
        a.returnNear()
        place.pointee = a.here
        a.loadConstant(.rdx, last)
        a.jump(through: .rdx)
        a.bind(over)
        a.jump(through: Address(.rdi))
      }
      #expect(found == 3)
    }
  }

  struct CodeMappingTests {
    @Test func `what is written shows where it runs`() throws {
      let mapping = try #require(CodeMapping(count: 3 * 4096))
      #expect(mapping.count == 3 * 4096)
      for offset in [0, 4095, 4096, 3 * 4096 - 1] {
        #expect(mapping.executable.load(fromByteOffset: offset, as: UInt8.self) == 0)
        mapping.writable.storeBytes(
          of: UInt8(offset & 0x7f + 1), toByteOffset: offset, as: UInt8.self)
        #expect(
          mapping.executable.load(fromByteOffset: offset, as: UInt8.self)
            == UInt8(offset & 0x7f + 1))
      }
    }

    /// MOV EAX, 7; RET
    private static let seven: [UInt8] = [0xb8, 7, 0, 0, 0, 0xc3]

    private typealias Function = @convention(c) () -> UInt32

    @Test func `what is written runs in its other place`() throws {
      let mapping = try #require(CodeMapping(count: 1 << 20))
      for offset in [0, 1 << 19, (1 << 20) - Self.seven.count] {
        (mapping.writable + offset).copyMemory(from: Self.seven, byteCount: Self.seven.count)
        #expect(unsafeBitCast(mapping.executable + offset, to: Function.self)() == 7)
      }
    }

    @Test func `code cannot be written where it runs`() async {
      await #expect(processExitsWith: .signal(SIGSEGV)) {
        guard let mapping = CodeMapping(count: 4096) else { return }
        UnsafeMutableRawPointer(mutating: mapping.executable).storeBytes(of: 0, as: UInt8.self)
      }
    }

    @Test func `code cannot run where it is written`() async {
      await #expect(processExitsWith: .signal(SIGSEGV)) {
        guard let mapping = CodeMapping(count: 4096) else { return }
        mapping.writable.copyMemory(from: Self.seven, byteCount: Self.seven.count)
        _ = unsafeBitCast(mapping.writable, to: Function.self)()
      }
    }
  }
#endif
