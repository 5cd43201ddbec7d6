import Synchronization

/// What becomes of comparing host code with the interpreter, and how much is compared. Read from any thread.
package final class ComparisonRecord: Sendable {
  /// So often each piece of code is compared when it runs, and after that one time in `every`.
  package let first: UInt64
  package let every: UInt32

  private let heard: @Sendable (ComparedDifference) -> Void
  private let over = Atomic<Bool>(false)
  let units = Atomic<Int>(0)
  let instructions = Atomic<Int>(0)
  let early = Atomic<Int>(0)
  let incomparable = Atomic<Int>(0)
  let disturbed = Atomic<Int>(0)
  let undefined = Atomic<Int>(0)

  /// - Parameter heard: hears of the first difference, on the processor's thread; nothing is compared afterwards.
  package init(
    first: Int = 100, every: Int, heard: @escaping @Sendable (ComparedDifference) -> Void
  ) {
    self.first = UInt64(max(first, 1))
    self.every = UInt32(clamping: max(every, 1))
    self.heard = heard
  }

  /// Whether there was a difference.
  package var isOver: Bool { over.load(ordering: .relaxed) }

  package struct Counts: Sendable {
    /// Pieces of code that did the same, and how many instructions these were.
    package let pieces: Int
    package let instructions: Int
    /// Those of them whose host code left an instruction to the interpreter before its end.
    package let early: Int
    /// How often the interpreter had to run at once: a device, or a fault.
    package let incomparable: Int
    /// How often a difference was none when the same was compared again.
    package let disturbed: Int
    /// In how many of the pieces flags became others that are undefined there, or code looked at such flags.
    package let undefined: Int
  }

  package var counts: Counts {
    func read(_ count: borrowing Atomic<Int>) -> Int { count.load(ordering: .relaxed) }
    return Counts(
      pieces: read(units), instructions: read(instructions), early: read(early),
      incomparable: read(incomparable), disturbed: read(disturbed), undefined: read(undefined))
  }

  func report(_ difference: ComparedDifference) {
    guard !over.exchange(true, ordering: .relaxed) else { return }
    heard(difference)
  }
}

/// A piece of code whose host code does something else than the interpreter.
package struct ComparedDifference: Sendable {
  package struct Value: Sendable {
    package let name: String
    package let interpreter: String
    package let hostCode: String
  }

  package let problem: String
  /// What the interpreter has run, and what comes next, as text; an arrow marks where host code was left.
  package let instructions: [String]
  package let values: [Value]
  /// The general registers before, as text.
  package let start: String
  /// The instruction at which host code was left.
  package let leftAt: UInt64

  /// All of it, in lines.
  package var text: String {
    var lines = [problem + "; it was left at 0x" + String(leftAt, radix: 16)]
    lines += instructions
    for value in values {
      lines.append(
        "\(value.name): \(value.hostCode), where the interpreter has \(value.interpreter)")
    }
    lines.append("before: " + start)
    return lines.joined(separator: "\n")
  }
}
