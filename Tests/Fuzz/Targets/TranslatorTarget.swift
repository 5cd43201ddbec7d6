import ArchitectureX86
import SameISA
import X86Processor

extension FuzzTarget {
  /// The inputs of `processor` as far as they start in 64-bit or flat 32-bit code, on host code: piece by piece as the interpreter
  /// compares it, and then as it runs in earnest, which must leave what instructions one by one leave.
  static let translator = FuzzTarget("translator") { input in
    var script = Script(input)
    let setting = ProcessorSetting(&script)
    guard [.long, .compatibility, .protected32].contains(setting.mode),
      let run = setting.runAlone(), run.isComparable
    else { return }
    for isExact in [true, false] {
      let record = ComparisonRecord(every: 1) { fatalError("Broken: \($0.text)") }
      let found = setting.runThreaded(
        prepare: { $0.translateAll(isExact: isExact, comparing: record) }, asIn: run)
      // Where a flag is undefined, the host's processor may leave another than ours, and that may lead anywhere.
      guard found != nil, record.counts.undefined == 0 else { return }
    }
    guard var left = setting.runThreaded(prepare: { $0.translateAll() }, asIn: run) else { return }
    // The opcode and pointers of the last x87 instruction, which host code does not keep: SDM Vol. 1 Table 10-2.
    for place in 6..<24 { left.state.xsave[place] = run.state.xsave[place] }
    setting.compare(left.state, left.memory, with: run)
  }
}

extension Core {
  /// Makes host code of whatever a jump leads to.
  fileprivate func translateAll(isExact: Bool = true, comparing record: ComparisonRecord? = nil) {
    guard let translator = SameISATranslator(for: self, isExact: isExact, comparing: record) else {
      return
    }
    use(translator, after: 1)
  }
}
