#if arch(x86_64) && os(Linux)
  import CProcessor
  import Testing

  @testable import SameISA
  @testable import X86Processor

  /// Host code of pages that are written again and again.
  struct LostHostCodeTests {
    private typealias Place = TestMachine.Place
    private let machine = TestMachine(translates: false)
    private let translator: SameISATranslator

    init() throws {
      translator = try #require(
        SameISATranslator(for: machine.core), "the host forbids code to be made")
      machine.core.use(translator, after: 1)
    }

    /// Runs MOV AL, constant; HLT, and answers whether it has host code then.
    private func run(writing constant: UInt8?) -> Bool {
      if let constant { machine.write([0xb0, constant, 0xf4], at: Place.code) }
      machine.run(from: Place.code)
      if let constant { #expect(machine.cpu.rax & 0xff == UInt64(constant)) }
      let op = machine.core.code.find(
        page: Int(Place.code >> 12), variant: machine.core.codeVariant, offset: 0)
      return op.map { native($0).pointee.handler != nil } ?? false
    }

    @Test func `a page that keeps losing it goes without, and gets it again once it rests`() {
      for turn in 0..<32 as Range<UInt8> { #expect(run(writing: turn)) }
      #expect(!run(writing: 32))
      #expect(run(writing: nil))
      // Once more lost, and it goes without again.
      #expect(!run(writing: 33))
    }
  }
#endif
