package import ArchitectureX86
import CKVM
package import Execution

/// Executes x86 guests by the host's hardware virtualization, through Linux' KVM.
///
/// The local APICs are the kernel's, PIC and I/O APIC are ours (KVM's "split" interrupt controllers): a guest
/// then sends interprocessor interrupts, sets its timers and ends its interrupts without leaving the kernel.
///
/// - SeeAlso: Linux, Documentation/virt/kvm/api.rst.
package struct KVMEngine: Engine {
  package typealias ISA = X86

  /// How KVM says which pages the guest wrote.
  package enum DirtyLog: Sendable {
    /// One bit a page, for all of memory.
    case bitmap
    /// A ring of page numbers for each processor: dearer a page, free for pages that nobody writes.
    case ring
  }

  let host: KVMHost
  let dirtyLog: DirtyLog

  /// Opens the host's KVM.
  package init(dirtyLog: DirtyLog = .bitmap) throws(KVMUnavailable) {
    self.init(host: try KVMHost(), dirtyLog: dirtyLog)
  }

  package init(host: KVMHost, dirtyLog: DirtyLog = .bitmap) {
    self.host = host
    self.dirtyLog = dirtyLog
  }

  package func makePartition(
    _ plan: PartitionPlan<X86>
  ) throws(EngineError) -> any Partition<X86> {
    if let name = host.missingCapabilities.first {
      throw EngineError("this host's KVM lacks \(name), which Roost needs")
    }
    let limit = host.capability(KVM_CAP_MAX_VCPUS)
    guard (1...max(limit, 1)).contains(plan.processors) else {
      throw EngineError("KVM runs 1 to \(limit) processors here, not \(plan.processors)")
    }
    let missing = try host.missingFeatures(of: plan.model)
    guard missing.isEmpty else {
      throw EngineError(
        "KVM cannot be a processor of model \(plan.model.name) here: it lacks "
          + missing.joined(separator: ", "))
    }
    return try KVMPartition(plan, host: host, dirtyLog: dirtyLog)
  }
}

extension KVMHost {
  /// What this engine cannot do without, and this KVM has not.
  package var missingCapabilities: [String] {
    Self.neededCapabilities.filter { capability($0.number) == 0 }.map(\.name)
  }

  private static let neededCapabilities: [(name: String, number: Int32)] = [
    ("KVM_CAP_USER_MEMORY", KVM_CAP_USER_MEMORY),
    ("KVM_CAP_READONLY_MEM", KVM_CAP_READONLY_MEM),
    ("KVM_CAP_SPLIT_IRQCHIP", KVM_CAP_SPLIT_IRQCHIP),
    ("KVM_CAP_SIGNAL_MSI", KVM_CAP_SIGNAL_MSI),
    ("KVM_CAP_IMMEDIATE_EXIT", KVM_CAP_IMMEDIATE_EXIT),
    ("KVM_CAP_VCPU_EVENTS", KVM_CAP_VCPU_EVENTS),
    ("KVM_CAP_MP_STATE", KVM_CAP_MP_STATE),
    ("KVM_CAP_DEBUGREGS", KVM_CAP_DEBUGREGS),
    ("KVM_CAP_XSAVE", KVM_CAP_XSAVE),
    ("KVM_CAP_XCRS", KVM_CAP_XCRS),
    ("KVM_CAP_TSC_DEADLINE_TIMER", KVM_CAP_TSC_DEADLINE_TIMER),
    ("KVM_CAP_X86_USER_SPACE_MSR", KVM_CAP_X86_USER_SPACE_MSR),
    ("KVM_CAP_X86_MSR_FILTER", KVM_CAP_X86_MSR_FILTER),
  ]
}
