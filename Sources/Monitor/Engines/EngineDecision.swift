package import KVM

/// Which engine a machine gets, and why.
package struct EngineDecision: Sendable, Equatable {
  package let engine: EngineKind
  /// The end of a sentence: "because …".
  package let reason: String
}

extension EngineChoice {
  /// Settles which engine it is to be.
  ///
  /// - Parameters:
  ///   - tscFrequency: how fast the machine's time-stamp counter counts; `nil`: as suits the engine.
  ///   - survey: what there is to choose from; not asked for if the user left no choice.
  package func decide(
    tscFrequency: UInt64? = nil, _ survey: () -> KVMSurvey
  ) -> EngineDecision {
    switch self {
    case .kvm: return EngineDecision(engine: .kvm, reason: "it was asked for")
    case .software: return EngineDecision(engine: .software, reason: "it was asked for")
    case .interpreter: return EngineDecision(engine: .interpreter, reason: "it was asked for")
    case .auto, .autoAnyKVM: break
    }
    let survey = survey()
    if let obstacle = survey.obstacle(tscFrequency: tscFrequency) {
      return EngineDecision(engine: .software, reason: obstacle)
    }
    guard let probe = survey.probe, probe.verdict != .native else {
      return EngineDecision(
        engine: .kvm,
        reason: "KVM runs a guest's kernel natively"
          + (survey.probe.map { " (\($0.figures))" } ?? ""))
    }
    let emulates = "KVM emulates a guest's kernel here (\(probe.figures))"
    return self == .autoAnyKVM
      ? EngineDecision(engine: .kvm, reason: "any KVM will do, although \(emulates)")
      : EngineDecision(
        engine: .software, reason: "\(emulates); --engine auto:any-kvm takes it all the same")
  }
}

extension KVMSurvey {
  /// Why KVM cannot run a machine at all; `nil` if it can.
  package func obstacle(tscFrequency: UInt64?) -> String? {
    if let unavailable { return "\(unavailable)" }
    if !missingCapabilities.isEmpty {
      return "KVM lacks \(missingCapabilities.joined(separator: ", "))"
    }
    if !missingFeatures.isEmpty {
      return "KVM cannot give a guest \(missingFeatures.joined(separator: ", "))"
    }
    if case .broken(let how) = probe?.verdict { return "KVM does not run guests: \(how)" }
    if let wanted = tscFrequency, let own = probe?.counter?.frequency, !scalesTSC,
      !KVMSurvey.agree(wanted, own)
    {
      return "the machine's time-stamp counter runs at \(gigahertz(wanted)), and KVM here keeps to "
        + gigahertz(own)
    }
    return nil
  }

  /// Whether two frequencies are one, measured at different times: KVM itself is content with 250 parts in a
  /// million.
  private static func agree(_ a: UInt64, _ b: UInt64) -> Bool { max(a, b) - min(a, b) <= b / 4000 }
}

extension KVMProbe {
  /// Its speed and the time it took, for people.
  package var figures: String {
    let speed =
      instructionsPerSecond >= 1e9
      ? "\(rounded(instructionsPerSecond / 1e9)) billion"
      : "\(rounded(instructionsPerSecond / 1e6)) million"
    return "\(speed) instructions a second, probed in \(rounded(Double(time) / 1e6)) ms"
  }
}

private func gigahertz(_ frequency: UInt64) -> String {
  "\(Double(frequency / 1_000_000) / 1000) GHz"
}

/// With one digit behind the point.
private func rounded(_ value: Double) -> Double { (value * 10).rounded() / 10 }
