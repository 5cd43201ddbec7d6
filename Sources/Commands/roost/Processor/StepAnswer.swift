import ArchitectureX86

/// The answer to a line of `roost cpu step`: always the same members in the same form, and a line that could be asked
/// again.
struct StepAnswer {
  private var text = "{"

  /// An object that says what was wrong.
  static func error(_ sentence: String, id: JSONText?) -> String {
    var answer = StepAnswer()
    answer.appendID(id)
    answer.append("error", JSONText.quoted(sentence))
    return answer.text + "}"
  }

  static func outcome(_ outcome: StepMachine.Outcome, _ request: StepRequest, id: JSONText?)
    -> String
  {
    var answer = StepAnswer()
    answer.appendID(id)
    answer.append("mode", JSONText.quoted(outcome.state.stepMode.rawValue))
    if let model = request.model { answer.append("model", JSONText.quoted(model)) }
    answer.append("executed", "\(outcome.executed)")
    answer.append("exception", outcome.exception.map(Self.exception) ?? "null")
    answer.append("halted", outcome.state.activity == .halted ? "true" : "false")
    answer.append("shutdown", outcome.state.activity == .shutdown ? "true" : "false")
    answer.append("registers", Self.registers(outcome.state))
    answer.append("flags", hex(outcome.state.rflags))
    answer.append("segments", Self.segments(outcome.state))
    answer.append("gdtr", Self.table(outcome.state.gdtr))
    answer.append("idtr", Self.table(outcome.state.idtr))
    let msrs = outcome.state.msrs.map { "\(hex(UInt64($0.index))):\(hex($0.value))" }
    answer.append("msrs", "{" + msrs.joined(separator: ",") + "}")
    let memory = outcome.memory.map {
      "{\"address\":\(hex($0.address)),\"bytes\":\"\($0.bytes.map(\.hexDigits).joined())\"}"
    }
    answer.append("memory", "[" + memory.joined(separator: ",") + "]")
    return answer.text + "}"
  }

  private mutating func append(_ name: String, _ value: String) {
    if text.utf8.count > 1 { text += "," }
    text += "\"\(name)\":\(value)"
  }

  /// What the asker named the line, so that answers can be told apart.
  private mutating func appendID(_ id: JSONText?) {
    switch id {
    case .string(let name): append("id", JSONText.quoted(name))
    case .number(let digits): append("id", digits)
    default: break
    }
  }

  private static func hex(_ value: UInt64) -> String { "\"0x" + String(value, radix: 16) + "\"" }

  private static let exceptionNames: [UInt8: String] = [
    0: "#DE", 1: "#DB", 2: "NMI", 3: "#BP", 4: "#OF", 5: "#BR", 6: "#UD", 7: "#NM", 8: "#DF",
    10: "#TS",
    11: "#NP", 12: "#SS", 13: "#GP", 14: "#PF", 16: "#MF", 17: "#AC", 18: "#MC", 19: "#XM",
  ]

  private static func exception(_ event: X86.InjectedEvent) -> String {
    let name = exceptionNames[event.vector] ?? ""
    return "{\"vector\":\(event.vector),\"name\":\"\(name)\",\"errorCode\":"
      + (event.errorCode.map { "\($0)" } ?? "null") + "}"
  }

  private static func registers(_ state: X86.State) -> String {
    var members: [String] = []
    func add(_ name: String, _ value: UInt64) { members.append("\"\(name)\":\(hex(value))") }
    /// Bytes of the XSAVE area as one number, whose digits are all there.
    func add(_ name: String, _ ranges: Range<Int>...) {
      let digits = ranges.reversed().map { range in
        range.upperBound <= state.xsave.count
          ? state.xsave[range].reversed().map(\.hexDigits).joined()
          : String(repeating: "00", count: range.count)
      }
      members.append("\"\(name)\":\"0x\(digits.joined())\"")
    }
    for (number, name) in StepRequest.registerNames.enumerated() {
      add(name, state.registers[number])
    }
    add("rip", state.rip)
    add("rflags", state.rflags)
    add("cr0", state.cr0)
    add("cr2", state.cr2)
    add("cr3", state.cr3)
    add("cr4", state.cr4)
    add("cr8", state.cr8)
    add("efer", state.efer)
    add("xcr0", state.xcr0)
    for (index, number) in [0, 1, 2, 3, 6, 7].enumerated() {
      add("dr\(number)", state.debug[index])
    }
    func number(_ range: Range<Int>) -> UInt64 {
      range.reversed().reduce(0) { $0 << 8 | UInt64(state.xsave[$1]) }
    }
    add("mxcsr", number(24..<28))
    add("fcw", number(0..<2))
    add("fsw", number(2..<4))
    add("ftw", number(4..<5))
    add("fop", number(6..<8))
    add("fip", number(8..<16))
    add("fdp", number(16..<24))
    for index in 0..<8 { add("st\(index)", 32 + 16 * index..<42 + 16 * index) }
    let top = Int(state.xsave[3] >> 3 & 7)
    for index in 0..<8 {
      let place = 32 + 16 * ((index - top) & 7)
      add("mm\(index)", place..<place + 8)
    }
    for index in 0..<16 { add("xmm\(index)", 160 + 16 * index..<176 + 16 * index) }
    for index in 0..<16 {
      add("ymm\(index)", 160 + 16 * index..<176 + 16 * index, 576 + 16 * index..<592 + 16 * index)
    }
    return "{" + members.joined(separator: ",") + "}"
  }

  private static func segments(_ state: X86.State) -> String {
    let named =
      zip(StepRequest.segmentNames, state.segments) + [("ldtr", state.ldtr), ("tr", state.tr)]
    let members = named.map { name, segment in
      "\"\(name)\":{\"selector\":\(hex(UInt64(segment.selector))),\"base\":\(hex(segment.base)),"
        + "\"limit\":\(hex(UInt64(segment.limit))),\"attributes\":\(hex(UInt64(segment.attributes)))}"
    }
    return "{" + members.joined(separator: ",") + "}"
  }

  private static func table(_ table: X86.Table) -> String {
    "{\"base\":\(hex(table.base)),\"limit\":\(hex(UInt64(table.limit)))}"
  }
}

extension X86.State {
  /// The mode that the processor is in.
  var stepMode: StepRequest.Mode {
    if cr0 & X86.CR0.protection == 0 { return .real16 }
    if efer & X86.EFER.longModeActive != 0, segments[1].attributes & 0x2000 != 0 { return .long64 }
    return segments[1].attributes & 0x4000 != 0 ? .prot32 : .prot16
  }
}
