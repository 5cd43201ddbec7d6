import ArchitectureX86
import Execution
import KVM
import Kit
import SoftwareEngine
import Testing

/// The engines that are held to the contract.
enum EngineUnderTest: String, CaseIterable, Sendable, CustomTestStringConvertible {
  case software
  case kvm = "KVM"
  case kvmWithRings = "KVM with dirty rings"

  func make() throws -> any Engine<X86> {
    switch self {
    case .software: SoftwareEngine()
    case .kvm: try KVMEngine()
    case .kvmWithRings: try KVMEngine(dirtyLog: .ring)
    }
  }

  var testDescription: String { rawValue }

  /// Whether it is a KVM that emulates what runs at privilege level 0, and so departs here and there from what
  /// KVM's interface says.
  var emulatesKernelMode: Bool { self != .software && Self.kvmEmulates }

  private static let kvmEmulates = (try? KVMHost()).map { KVMProbe($0).verdict != .native } ?? false

  /// A processor that all of them can be: where KVM cannot scale the time-stamp counter, with the host's.
  static let model = {
    var model = X86.CPUModel.x86_64v2
    if let frequency = (try? KVMHost())?.counter?.frequency { model.tscFrequency = frequency }
    return model
  }()

  static let ticksPerNanosecond = Double(model.tscFrequency) / 1e9

  /// Those that this host can run.
  static let available = allCases.filter { absences[$0] == nil }

  /// Why this host cannot run the others.
  static let absences = Dictionary(
    uniqueKeysWithValues: allCases.compactMap { engine in
      engine.absence.map { (engine, "\(engine.rawValue): \($0)") }
    })

  private var absence: String? {
    do {
      let plan = PartitionPlan<X86>(
        processors: 1, model: Self.model, clock: ManualClock(), loop: ManualLoop())
      _ = try make().makePartition(plan)
      return nil
    } catch {
      return "\(error)"
    }
  }
}

/// What every engine promises: Sources/Engines/Execution. Each test runs on every engine that the host offers.
///
/// One after another: processors are threads, and some tests watch the clock.
@Suite(.serialized) struct EngineContract {
  @Test(.onEngine(.kvm)) func `KVM is tested`() {}
  @Test(.onEngine(.kvmWithRings)) func `KVM with dirty rings is tested`() {}
}

extension Trait where Self == ConditionTrait {
  /// Skips what needs an engine that the host lacks, and says why.
  static func onEngine(_ engine: EngineUnderTest) -> Self {
    let absence = EngineUnderTest.absences[engine]
    return .enabled(if: absence == nil, Comment(rawValue: absence ?? ""))
  }
}
