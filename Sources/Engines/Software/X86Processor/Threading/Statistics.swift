package import Inspection
import Synchronization

/// What a core counts, for people to look at.
///
/// The core's thread counts; any thread reads.
package final class Statistics: Sendable {
  /// A count with one writer.
  struct Count: ~Copyable, Sendable {
    private let value = Atomic<UInt64>(0)
    var current: UInt64 { value.load(ordering: .relaxed) }
    /// Not an atomic addition: there is one writer.
    func increment() { value.store(current &+ 1, ordering: .relaxed) }
  }

  let exceptions = Count()
  let interrupts = Count()
  let halts = Count()
  /// From an instruction pointer to threaded code, because the jump cache did not know.
  let lookUps = Count()
  /// Walks of the page tables for data, because the TLB did not know.
  let tlbFills = Count()
  let decodedInstructions = Count()
  /// Pages whose decoded code was forgotten because the page was written.
  let droppedPages = Count()
  /// How often the store of decoded code was full.
  let cacheResets = Count()

  package func inspect(_ node: inout Node) {
    node.field("exceptions", exceptions.current)
    node.field("interrupts", interrupts.current)
    node.field("halts", halts.current)
    node.field("lookUps", lookUps.current)
    node.field("tlbFills", tlbFills.current)
    node.field("decodedInstructions", decodedInstructions.current)
    node.field("droppedPages", droppedPages.current)
    node.field("cacheResets", cacheResets.current)
  }
}
