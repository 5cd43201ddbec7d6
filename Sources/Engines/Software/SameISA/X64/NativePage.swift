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
    /// What the body takes to be in the host's registers.
    let uses: HostState
    /// Whether its host code does no more than to leave to the interpreter's op.
    let isForeign: Bool
    /// Where it goes on with status flags in `saved_flags`, and whatever else it uses anywhere; zero: not made yet.
    var entry: UInt64 = 0
    /// Where it goes on with status flags in the host's, and whatever else it uses anywhere; zero: not made yet.
    var flagsEntry: UInt64 = 0
  }

  /// A jump that leads out of host code because its target had none.
  struct OpenLink {
    let fixup: Assembler.Fixup
    /// What is surely in the host's registers when it is taken.
    let has: HostState
  }

  /// By offset in the page.
  var steps: [Int: Step] = [:]
  var links: [Int: [OpenLink]] = [:]
  /// Where host code is compared, the region to which a step belongs.
  var units: [Int: ComparedUnit] = [:]
}
