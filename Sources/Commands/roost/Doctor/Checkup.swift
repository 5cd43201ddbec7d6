import KVM
import Monitor

/// One thing that was looked at.
struct Check: Sendable, Equatable, Encodable {
  enum State: String, Sendable, Encodable {
    case ok
    /// Roost works, but less well than it could.
    case warning
    /// What was looked at is of no use.
    case failed
    /// It could not be looked at, or does not matter here.
    case skipped
  }

  let name: String
  let state: State
  /// What was found.
  let finding: String
  /// What to do about it: a sentence. There is one wherever the state is a warning or a failure.
  let remedy: String?

  static func ok(_ name: String, _ finding: String) -> Check {
    Check(name: name, state: .ok, finding: finding, remedy: nil)
  }
  static func skipped(_ name: String, _ finding: String) -> Check {
    Check(name: name, state: .skipped, finding: finding, remedy: nil)
  }
  static func warning(_ name: String, _ finding: String, _ remedy: String) -> Check {
    Check(name: name, state: .warning, finding: finding, remedy: remedy)
  }
  static func failed(_ name: String, _ finding: String, _ remedy: String) -> Check {
    Check(name: name, state: .failed, finding: finding, remedy: remedy)
  }
}

/// All that was looked at, and what follows for a machine that names no engine.
struct Checkup: Sendable, Equatable, Encodable {
  let checks: [Check]
  let engine: String
  let reason: String
  /// Whether there is memory for a guest; an engine for it there always is.
  let canRunGuests: Bool

  init(_ facts: HostFacts) {
    let decision = EngineChoice.auto.decide { facts.kvm }
    engine = decision.engine.rawValue
    reason = decision.reason
    checks = facts.virtualizationChecks + facts.kvmChecks + [facts.mshv] + facts.hostChecks
    canRunGuests = (facts.memory.available ?? .max) >= HostFacts.smallestGuest
  }
}

// MARK: - The processor

extension HostFacts {
  fileprivate var virtualizationChecks: [Check] { [virtualization, extendedState, invariantTSC] }

  private var virtualization: Check {
    let name = "processor"
    if processor.flags.contains("vmx") { return .ok(name, "\(processor.name), with VT-x (vmx)") }
    if processor.flags.contains("svm") { return .ok(name, "\(processor.name), with AMD-V (svm)") }
    let finding = "\(processor.name), without VT-x (vmx) and AMD-V (svm)"
    return processor.flags.contains("hypervisor")
      ? .warning(
        name, "\(finding): this host is a virtual machine itself",
        "Have nested virtualization switched on for it.")
      : .warning(name, finding, "Switch VT-x or AMD-V (SVM) on in the firmware's setup.")
  }

  private var extendedState: Check {
    processor.flags.contains("xsave")
      ? .ok("xsave", "the processor saves extended state")
      : .warning(
        "xsave", "the processor has no XSAVE", "Guests do without AVX; another host would have it.")
  }

  private var invariantTSC: Check {
    processor.flags.isSuperset(of: ["constant_tsc", "nonstop_tsc"])
      ? .ok("tsc", "the time-stamp counter runs at one rate at all times")
      : .warning(
        "tsc", "the time-stamp counter changes its rate or stops",
        "Guests on KVM should take another clock: write clocksource=hpet on their command line.")
  }
}

// MARK: - KVM

extension HostFacts {
  fileprivate var kvmChecks: [Check] {
    [kvmDevice, kvmPermission, kvmVersion, kvmCapabilities, kvmModel, kvmSpeed, kvmTSC]
  }

  /// Whether there is a KVM to ask.
  private var isOpen: Bool { kvm.unavailable == nil }

  private var kvmDevice: Check {
    let name = "kvm device"
    guard kvm.unavailable == .absent else { return .ok(name, "\(KVMHost.path) is there") }
    let finding = "\(kvm.unavailable ?? .absent)"
    if isContainer {
      return .failed(
        name, "\(finding) in this container",
        "Hand the device in, as in: docker run --device \(KVMHost.path).")
    }
    if !kvmModules.isDisjoint(with: ["kvm_intel", "kvm_amd"]) {
      return .failed(
        name, "\(finding), although its module is loaded",
        "Make it: sudo mknod \(KVMHost.path) c 10 232, or restart udev.")
    }
    if processor.flags.isDisjoint(with: ["vmx", "svm"]) {
      return .failed(
        name, finding, "See to the processor's virtualization first; KVM's module needs it.")
    }
    let module = processor.flags.contains("vmx") ? "kvm_intel" : "kvm_amd"
    return .failed(name, finding, "Load its module: sudo modprobe \(module).")
  }

  private var kvmPermission: Check {
    let name = "kvm permission"
    switch kvm.unavailable {
    case nil, .wrongVersion: return .ok(name, "this user may open \(KVMHost.path)")
    case .absent: return .skipped(name, "there is no device")
    case .notPermitted:
      return .failed(name, "\(KVMUnavailable.notPermitted)", KVMUnavailable.notPermitted.remedy)
    case .failed(let reason):
      return .failed(
        name, "\(KVMHost.path) cannot be opened: \(reason)", KVMUnavailable.failed(reason).remedy)
    }
  }

  private var kvmVersion: Check {
    let name = "kvm version"
    if case .wrongVersion(let version) = kvm.unavailable {
      return .failed(
        name, "version \(version) of its interface, not \(KVMHost.apiVersion)",
        KVMUnavailable.wrongVersion(version).remedy)
    }
    return isOpen
      ? .ok(name, "version \(KVMHost.apiVersion) of its interface")
      : .skipped(name, "KVM is closed")
  }

  private var kvmCapabilities: Check {
    let name = "kvm capabilities"
    guard isOpen else { return .skipped(name, "KVM is closed") }
    guard !kvm.missingCapabilities.isEmpty else { return .ok(name, "all that Roost needs") }
    return .failed(
      name, "it lacks \(kvm.missingCapabilities.joined(separator: ", "))",
      "Boot a newer kernel: Linux 5.15 and later have them all.")
  }

  private var kvmModel: Check {
    let name = "kvm processor"
    guard isOpen else { return .skipped(name, "KVM is closed") }
    guard !kvm.missingFeatures.isEmpty else { return .ok(name, "guests get all of their model") }
    return .failed(
      name, "it cannot give a guest \(kvm.missingFeatures.joined(separator: ", "))",
      "Stay with the software engine, or take a host with a newer processor.")
  }

  private var kvmSpeed: Check {
    let name = "kvm speed"
    guard let probe = kvm.probe else { return .skipped(name, "KVM is closed") }
    switch probe.verdict {
    case .native: return .ok(name, "a guest's kernel runs natively: \(probe.figures)")
    case .emulated:
      return .failed(
        name, "a guest's kernel is emulated: \(probe.figures)",
        "There is no hardware virtualization behind this KVM: stay with the software engine, or have nested "
          + "virtualization switched on.")
    case .broken(let how):
      return .failed(
        name, "it does not run a guest: \(how)", "Stay with the software engine; dmesg may say why."
      )
    }
  }

  private var kvmTSC: Check {
    let name = "kvm tsc"
    guard let counter = kvm.probe?.counter else {
      return .skipped(name, isOpen ? "KVM does not say how fast it counts" : "KVM is closed")
    }
    let finding = "guests' time-stamp counters run at \(counter.frequency / 1000) kHz"
    if counter.isHosts {
      return .warning(
        name, "\(finding) and are the host's own",
        "After a pause or in a file, a guest's time jumps ahead on KVM: let such guests go on in software."
      )
    }
    return kvm.scalesTSC
      ? .ok(name, "\(finding), or at any other rate")
      : .warning(
        name, "\(finding) and at no other rate",
        "A machine saved on a host of another rate goes on here on the software engine only.")
  }

  /// Microsoft's hypervisor's own interface, of which later versions will make use.
  fileprivate var mshv: Check {
    .skipped(
      "mshv",
      hasMSHV ? "/dev/mshv is there; this version has no engine for it" : "there is no /dev/mshv")
  }
}

// MARK: - The rest of the host

extension HostFacts {
  /// Memory that a small guest and Roost itself take.
  static let smallestGuest: UInt64 = 64 << 20
  private static let customaryGuest: UInt64 = 1 << 30

  fileprivate var hostChecks: [Check] { [freeMemory, overcommit, terminal, handles] }

  private var freeMemory: Check {
    let name = "memory"
    guard let available = memory.available else {
      return .skipped(name, "the host does not say how much is free")
    }
    let finding = "\(available >> 20) MiB are free"
    if available < Self.smallestGuest {
      return .failed(name, finding, "Make room: no guest fits in it.")
    }
    return available < Self.customaryGuest
      ? .warning(name, finding, "Keep guests small, as by --memory 256M.") : .ok(name, finding)
  }

  private var overcommit: Check {
    let name = "overcommit"
    guard memory.overcommit == 2 else {
      return .ok(name, "memory that a guest does not touch is free")
    }
    return .warning(
      name, "the host sets all of a guest's memory aside (vm.overcommit_memory is 2)",
      "Keep guests small, or sudo sysctl vm.overcommit_memory=0.")
  }

  private var terminal: Check {
    isAtTerminal
      ? .ok("terminal", "standard input and output are a terminal")
      : .skipped(
        "terminal", "there is none: the first serial port is a pipe, without an escape key")
  }

  private var handles: Check {
    let name = "handles"
    guard let handleLimit, handleLimit < 256 else {
      return .ok(name, handleLimit.map { "\($0) may be open" } ?? "no limit")
    }
    return .warning(name, "only \(handleLimit) may be open", "Raise the limit: ulimit -n 1024.")
  }
}
