import CKVM
import Synchronization

/// How other threads call a processor out of the guest. Nothing that they ask for is lost.
///
/// Whoever asks sets a bit, then makes KVM_RUN return at once, then signals the thread if it is in KVM_RUN. The
/// processor says that it is about to enter, enters, and looks at the bits after every return by EINTR: either
/// it is seen entering, and signalled, or it sees the order to return. Who finds the bit set leaves the rest to who set
/// it: the bit stays until the processor looks.
final class Attention: @unchecked Sendable {
  // Sendable although `run` and `thread` vary: they are set by the processor's thread before it first
  // enters, and read by others only after they have seen it enter.

  /// What is asked for.
  struct Reasons: OptionSet {
    let rawValue: UInt8
    /// `run` should return.
    static let kick = Reasons(rawValue: 1 << 0)
    /// An interrupt or NMI waits outside the kernel's local APIC.
    static let interrupt = Reasons(rawValue: 1 << 1)
  }

  private let asked = Atomic<UInt8>(0)
  private let inside = Atomic<Bool>(false)
  private let isBound = Atomic<Bool>(false)
  private var run: ProcessorMapping?
  private var thread: Int32 = 0
  private let signalNumber: Int32

  init(signalNumber: Int32) { self.signalNumber = signalNumber }

  /// Makes the calling thread the processor's.
  func bind(_ run: ProcessorMapping) {
    self.run = run
    thread = kvm_accept_kicks(signalNumber)
    isBound.store(true, ordering: .sequentiallyConsistent)
    // What was asked for before makes the first entry return.
    if asked.load(ordering: .sequentiallyConsistent) != 0 { nudge() }
  }

  /// From any thread.
  func ask(_ reason: Reasons) {
    let before = asked.bitwiseOr(reason.rawValue, ordering: .sequentiallyConsistent).oldValue
    // Signals queue up, and the host lets a user have only so many.
    if !Reasons(rawValue: before).isSuperset(of: reason) { nudge() }
  }

  /// Makes the processor look at what is asked for, if it is in the guest.
  func nudge() {
    guard isBound.load(ordering: .sequentiallyConsistent), let run else { return }
    kvm_set_immediate_exit(run.exit, 1)
    if inside.load(ordering: .sequentiallyConsistent) { kvm_kick_thread(thread, signalNumber) }
  }

  /// Whether the processor may be running guest code.
  var isInside: Bool { inside.load(ordering: .sequentiallyConsistent) }

  // MARK: - On the processor's thread

  func enter() { inside.store(true, ordering: .sequentiallyConsistent) }
  func leave() { inside.store(false, ordering: .sequentiallyConsistent) }

  /// Takes what was asked for.
  func take() -> Reasons {
    if let run { kvm_set_immediate_exit(run.exit, 0) }
    return Reasons(rawValue: asked.exchange(0, ordering: .sequentiallyConsistent))
  }
}
