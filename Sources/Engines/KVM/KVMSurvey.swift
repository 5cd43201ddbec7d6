package import ArchitectureX86
import CKVM
import Execution

/// What this host's KVM is good for.
package struct KVMSurvey: Sendable, Equatable {
  /// Why there is none to use; nothing else is known then.
  package var unavailable: KVMUnavailable?
  /// What Roost needs and this KVM has not.
  package var missingCapabilities: [String] = []
  /// What the processor model has and this KVM cannot give a guest.
  package var missingFeatures: [String] = []
  /// Whether a guest's time-stamp counter can run at another rate than the host's.
  package var scalesTSC = false
  /// How it runs a guest; `nil` if that was not tried.
  package var probe: KVMProbe?

  package init(
    unavailable: KVMUnavailable? = nil, missingCapabilities: [String] = [],
    missingFeatures: [String] = [], scalesTSC: Bool = false, probe: KVMProbe? = nil
  ) {
    self.unavailable = unavailable
    self.missingCapabilities = missingCapabilities
    self.missingFeatures = missingFeatures
    self.scalesTSC = scalesTSC
    self.probe = probe
  }

  /// Looks at the host, for guests with processors of `model`. Takes a few milliseconds.
  package init(for model: X86.CPUModel) {
    let host: KVMHost
    do throws(KVMUnavailable) {
      host = try KVMHost()
    } catch {
      unavailable = error
      return
    }
    missingCapabilities = host.missingCapabilities
    missingFeatures = (try? host.missingFeatures(of: model)) ?? []
    scalesTSC = host.capability(KVM_CAP_TSC_CONTROL) != 0
    probe = KVMProbe(host)
  }
}

extension KVMUnavailable {
  /// What is wrong and what to do, in two sentences.
  package var advice: String {
    description.prefix(1).uppercased() + description.dropFirst() + ". " + remedy
  }

  /// What somebody can do about it: a sentence.
  package var remedy: String {
    switch self {
    case .absent:
      "Load the kernel's module kvm_intel or kvm_amd; in a container, hand the device in; in a virtual "
        + "machine, have nested virtualization switched on."
    case .notPermitted: "Join the group kvm (sudo usermod -aG kvm $USER) and log in again."
    case .wrongVersion: "Boot another kernel."
    case .failed: "The kernel's log (dmesg) may say why."
    }
  }
}
