import CKVM
import Inspection
import Synchronization

/// What a processor counts, for people to look at. Its thread counts; any thread reads.
final class KVMStatistics: Sendable {
  /// Instructions that KVM could not emulate and our interpreter finished.
  private struct Finished {
    var total: UInt64 = 0
    /// By the instruction's first bytes. The guest chooses them: only so many are told apart.
    var byOpcode: [String: UInt64] = [:]
    var others: UInt64 = 0
    /// The second of guest time that is being counted, and the last that was.
    var second: UInt64 = 0
    var inSecond: UInt64 = 0
    var inSecondBefore: UInt64 = 0
  }

  private static let opcodeLimit = 64
  private let exits = ExitCounts()
  private let finished = Mutex(Finished())

  @inline(__always)
  func count(exit reason: UInt32) { exits.count(reason) }

  /// An instruction was finished, in this second of guest time.
  func count(finished opcode: String, second: UInt64) {
    finished.withLock { finished in
      finished.total += 1
      if finished.byOpcode[opcode] != nil || finished.byOpcode.count < Self.opcodeLimit {
        finished.byOpcode[opcode, default: 0] += 1
      } else {
        finished.others += 1
      }
      if second != finished.second {
        finished.inSecondBefore = second == finished.second + 1 ? finished.inSecond : 0
        finished.second = second
        finished.inSecond = 0
      }
      finished.inSecond += 1
    }
  }

  var finishedInstructions: UInt64 { finished.withLock { $0.total } }

  func inspect(_ node: inout Node) {
    node.child("exits") { node in
      for (reason, count) in exits.current.enumerated() where count > 0 {
        node.field(Self.names[reason] ?? "reason\(reason)", count)
      }
    }
    let finished = finished.withLock { $0 }
    node.child("finishedInstructions") { node in
      node.field("total", finished.total)
      node.field("perSecond", finished.inSecondBefore)
      node.child("byOpcode") { node in
        for (opcode, count) in finished.byOpcode.sorted(by: { $0.value > $1.value }) {
          node.field(opcode, count)
        }
        if finished.others > 0 { node.field("others", finished.others) }
      }
    }
  }

  private static let names: [Int: String] = [
    Int(KVM_EXIT_UNKNOWN): "unknown", Int(KVM_EXIT_IO): "port", Int(KVM_EXIT_DEBUG): "debug",
    Int(KVM_EXIT_HLT): "halt", Int(KVM_EXIT_MMIO): "memory", Int(KVM_EXIT_INTR): "called",
    Int(KVM_EXIT_IRQ_WINDOW_OPEN): "interruptWindow", Int(KVM_EXIT_SHUTDOWN): "shutdown",
    Int(KVM_EXIT_INTERNAL_ERROR): "internalError", Int(KVM_EXIT_IOAPIC_EOI): "endOfInterrupt",
    Int(KVM_EXIT_X86_RDMSR): "readMSR", Int(KVM_EXIT_X86_WRMSR): "writeMSR",
    Int(KVM_EXIT_DIRTY_RING_FULL): "dirtyRingFull",
  ]
}

/// How often the processor left the guest, by reason. One thread counts; any thread reads.
private final class ExitCounts: @unchecked Sendable {
  // Sendable although it holds a raw pointer: what it points to are atomics, fixed in number.
  private let counts: UnsafeMutablePointer<Atomic<UInt64>>
  /// Exit reasons are small numbers; those beyond the last known one share a place.
  private static let limit = 64

  init() {
    counts = .allocate(capacity: Self.limit)
    for index in 0..<Self.limit { (counts + index).initialize(to: Atomic(0)) }
  }

  deinit { counts.deallocate() }

  @inline(__always)
  func count(_ reason: UInt32) {
    let count = counts + min(Int(reason), Self.limit - 1)
    // Not an atomic addition: there is one writer.
    count.pointee.store(count.pointee.load(ordering: .relaxed) &+ 1, ordering: .relaxed)
  }

  var current: [UInt64] {
    (0..<Self.limit).map { (counts + $0).pointee.load(ordering: .relaxed) }
  }
}
