import KVM
import Monitor
import Testing

struct EngineDecisionTests {
  private let native = KVMSurvey(
    probe: KVMProbe(
      verdict: .native, instructionsPerSecond: 5.25e9,
      counter: KVMCounter(frequency: 2_600_000_000), time: 1_240_000)
  )
  private let emulated = KVMSurvey(
    probe: KVMProbe(
      verdict: .emulated, instructionsPerSecond: 1.43e6,
      counter: KVMCounter(frequency: 2_600_000_000),
      time: 3_900_000))

  @Test func `a native KVM is taken, with the figures`() {
    let decision = EngineChoice.auto.decide { native }
    #expect(decision.engine == .kvm)
    #expect(
      decision.reason
        == "KVM runs a guest's kernel natively (5.3 billion instructions a second, probed in 1.2 ms)"
    )
  }

  @Test func `a KVM that emulates kernel mode is taken by the override only`() {
    let decision = EngineChoice.auto.decide { emulated }
    #expect(decision.engine == .software)
    #expect(decision.reason.contains("1.4 million instructions a second, probed in 3.9 ms"))
    #expect(decision.reason.contains("auto:any-kvm"))
    let overridden = EngineChoice.autoAnyKVM.decide { emulated }
    #expect(overridden.engine == .kvm)
    #expect(overridden.reason.contains("1.4 million instructions a second"))
  }

  @Test(arguments: [
    (KVMSurvey(unavailable: .absent), "there is no /dev/kvm"),
    (KVMSurvey(unavailable: .notPermitted), "this user may not open /dev/kvm"),
    (KVMSurvey(unavailable: .wrongVersion(11)), "version 11"),
    (KVMSurvey(missingCapabilities: ["KVM_CAP_A", "KVM_CAP_B"]), "lacks KVM_CAP_A, KVM_CAP_B"),
    (KVMSurvey(missingFeatures: ["leaf 1 ECX bit 13"]), "leaf 1 ECX bit 13"),
    (
      KVMSurvey(
        probe: KVMProbe(
          verdict: .broken("exit 17"), instructionsPerSecond: 0, counter: nil, time: 1)),
      "exit 17"
    ),
  ])
  func `a KVM of no use is not taken, not even by the override`(_ survey: KVMSurvey, reason: String)
  {
    for choice in [EngineChoice.auto, .autoAnyKVM] {
      let decision = choice.decide { survey }
      #expect(decision.engine == .software)
      #expect(decision.reason.contains(reason), "\(decision.reason)")
    }
  }

  @Test func `a machine that counts at another rate than KVM can stays with our own processor`() {
    var survey = native
    let decision = EngineChoice.auto.decide(tscFrequency: 1_000_000_000) { survey }
    #expect(decision.engine == .software)
    #expect(decision.reason.contains("1.0 GHz") && decision.reason.contains("2.6 GHz"))
    // Measured at another time.
    #expect(EngineChoice.auto.decide(tscFrequency: 2_599_900_000) { survey }.engine == .kvm)
    survey.scalesTSC = true
    #expect(EngineChoice.auto.decide(tscFrequency: 1_000_000_000) { survey }.engine == .kvm)
  }

  @Test func `an engine that was named is taken without a look at the host`() {
    for (choice, engine) in [(EngineChoice.kvm, EngineKind.kvm), (.software, .software)] {
      let decision = choice.decide {
        Issue.record("the host was looked at")
        return native
      }
      #expect(decision.engine == engine)
    }
  }
}
