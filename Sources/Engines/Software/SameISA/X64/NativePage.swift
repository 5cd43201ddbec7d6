import CProcessor
import X86Processor

/// Host code of one page, for one variant.
final class NativePage {
  /// A step that has host code.
  struct Step {
    /// Where it goes on with the guest's state in the host's registers.
    let body: UInt64
    let op: UnsafePointer<x86_op>
    let liveBefore: StatusFlags
    /// Whether the body takes vector registers to be in the host's.
    let usesVectors: Bool
    /// Whether its host code does no more than to leave to the interpreter's op.
    let isForeign: Bool
    /// Where it goes on with status flags in `saved_flags`, and vector registers anywhere; zero: not made yet.
    var entry: UInt64 = 0
  }

  /// A jump that leads out of host code because its target had none.
  struct OpenLink {
    let fixup: Assembler.Fixup
    /// Whether vector registers are surely in the host's when it is taken.
    let hasVectors: Bool
  }

  /// By offset in the page.
  var steps: [Int: Step] = [:]
  var links: [Int: [OpenLink]] = [:]
}
