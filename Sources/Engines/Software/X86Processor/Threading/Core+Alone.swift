import ArchitectureX86
import Board
import CProcessor

// One instruction at a time: under TF, behind STI and MOV SS, for a debugger, and for another engine.

extension Core {
  /// Carries out the instruction at `rip`, and whatever exception it raises, but nothing after it.
  ///
  /// - Parameter repetitions: how often a repeated string instruction may leave before its end and go on; where
  ///   it stops then, `rip` still points to it. Traced, it goes on not once.
  /// - Returns: `false` after a triple fault.
  func runAlone(repetitions: Int = 0) -> Bool {
    let isTraced = self.isTraced
    cpu.pointee.interrupt_shadow = 0
    cpu.pointee.system_flags &= ~X86.Flags.resume
    cpu.pointee.exit = LeaveReason.lookUp
    // Jumps look at it before they go on with their target, and string instructions before the next element.
    x86_attention_set(cpu, Attention.alone)
    if let op = decodeOne() {
      op.pointee.run(cpu, op)
      var left = isTraced ? 0 : repetitions
      while cpu.pointee.exit == LeaveReason.unfinished, left > 0 {
        left -= 1
        cpu.pointee.exit = LeaveReason.lookUp
        op.pointee.run(cpu, op)
      }
    }
    return conclude(isTraced: isTraced)
  }

  /// As `runAlone`, on a core that is not in `run`, after what a restored state left on its way. A processor
  /// that is not active runs nothing.
  func runAlone(_ buses: inout Buses, repetitions: Int) -> Bool {
    withUnsafeMutablePointer(to: &buses) { pointer in
      self.buses = pointer
      enterVectorState(cpu)
      defer { leaveVectorState(cpu) }
      guard deliverInjected() else { return false }
      return activity != .active || runAlone(repetitions: repetitions)
    }
  }
}
