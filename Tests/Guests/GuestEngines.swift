import ArchitectureX86
import KVM
import Monitor
import Testing

/// The engines that guests run on in tests, where the host offers them.
extension EngineKind {
  /// Those that run `model` here.
  static func available(for model: X86.CPUModel) -> [EngineKind] {
    allCases.filter { $0.obstacle(for: model) == nil }
  }

  static let available = available(for: GuestMachine.model)

  /// Why this host cannot run it.
  func obstacle(for model: X86.CPUModel) -> String? {
    guard self == .kvm else { return nil }
    return KVMSurvey(for: model).obstacle(tscFrequency: model.tscFrequency).map { "KVM: \($0)" }
  }

  /// Whether a program finds something else on a KVM that emulates kernel mode, through no fault of ours: QEMU finds
  /// the same there, but stops at CMPXCHG16B in `atomics`. Interrupts come late, INT in ring 3 ends differently,
  /// accesses over the border of pages are two, and CPUID shows features of the host that the model has not.
  func departs(in program: String, _ model: X86.CPUModel) -> Bool {
    guard emulatesKernelMode else { return false }
    return switch program {
    case "atomics", "interrupts", "paging", "timers", "user": true
    case "vectors": model.name == X86.CPUModel.x86_64v2.name
    default: false
    }
  }

  /// Whether it is a KVM that does in software what a guest's kernel does, and needs long for it.
  var emulatesKernelMode: Bool { self == .kvm && Self.survey.probe?.verdict != .native }

  fileprivate static let survey = KVMSurvey(for: .x86_64v2)
}

extension X86.CPUModel {
  /// With a time-stamp counter that every engine of this host can give it.
  var counting: X86.CPUModel {
    var model = self
    if let frequency = EngineKind.survey.probe?.counter?.frequency, !EngineKind.survey.scalesTSC {
      model.tscFrequency = frequency
    }
    return model
  }
}

extension Trait where Self == ConditionTrait {
  /// Skips what needs an engine that the host lacks, and says why.
  static func onEngine(
    _ engine: EngineKind, _ model: X86.CPUModel = GuestMachine.model
  ) -> Self {
    let obstacle = engine.obstacle(for: model)
    return .enabled(if: obstacle == nil, Comment(rawValue: obstacle ?? ""))
  }
}
