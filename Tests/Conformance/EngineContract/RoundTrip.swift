import ArchitectureX86

/// Compares a state with what an engine made of it, but for what an engine may say otherwise:
///
/// 1. A segment that cannot be used has no base, limit and attributes, apart from FS and GS in long mode;
///    a task register is always busy, and FS' and GS' accessed bits may be set.
/// 2. RFLAGS' bit 1 and CR0.ET are always set; DR6 and DR7 have their fixed bits (SDM Vol. 3B §18.2).
/// 3. Model-specific registers that one of the two does not name, and their order.
/// 4. The XSAVE area beyond the x87 and SSE state, its bytes for software, and its header.
/// 5. The APIC's processor priority and current count, which follow from other registers, and errors that the guest
///    has not asked for; the start of its timer, which a host's kernel may have moved by what it took to ask.
enum RoundTrip {
  /// Nanoseconds.
  private static let timerTolerance: UInt64 = 50_000_000

  static func differences(from a: X86.State, to b: X86.State) -> [String] {
    var found: [String] = []
    func compare<Value: Equatable>(_ name: String, _ a: Value, _ b: Value) {
      if a != b { found.append("\(name): \(a) became \(b)") }
    }
    compare("registers", a.registers, b.registers)
    compare("rip", a.rip, b.rip)
    compare("rflags", a.rflags | 2, b.rflags | 2)
    for segment in X86.SegmentRegister.allCases {
      compare(
        "\(segment)", canonical(a.segments[segment.rawValue]),
        canonical(b.segments[segment.rawValue]))
    }
    compare("ldtr", canonical(a.ldtr), canonical(b.ldtr))
    compare("tr", canonical(a.tr), canonical(b.tr))
    compare("gdtr", a.gdtr, b.gdtr)
    compare("idtr", a.idtr, b.idtr)
    compare("cr0", a.cr0 | X86.CR0.extensionType, b.cr0 | X86.CR0.extensionType)
    compare("cr2", a.cr2, b.cr2)
    compare("cr3", a.cr3, b.cr3)
    compare("cr4", a.cr4, b.cr4)
    compare("cr8", a.cr8, b.cr8)
    compare("breakpoints", a.debug.prefix(4), b.debug.prefix(4))
    compare("dr6", a.debug[4] & 0xe00f, b.debug[4] & 0xe00f)
    compare("dr7", a.debug[5] & ~0x400, b.debug[5] & ~0x400)
    compare("efer", a.efer, b.efer)
    compare("xcr0", a.xcr0, b.xcr0)
    compare("tsc", a.tsc, b.tsc)
    compare("activity", a.activity, b.activity)
    compare("events", a.events, b.events)
    let (ours, theirs) = (values(a.msrs), values(b.msrs))
    for (index, value) in ours {
      if let other = theirs[index] { compare("msr \(String(index, radix: 16))", value, other) }
    }
    // x87 registers have ten bytes each.
    compare("x87 control", Array(a.xsave[0..<5]), Array(b.xsave[0..<5]))
    for register in 0..<8 {
      let at = 32 + register * 16
      compare("st\(register)", Array(a.xsave[at..<at + 10]), Array(b.xsave[at..<at + 10]))
    }
    compare("mxcsr", Array(a.xsave[24..<28]), Array(b.xsave[24..<28]))
    compare("xmm", Array(a.xsave[160..<416]), Array(b.xsave[160..<416]))
    compare("apic's presence", a.apic != nil, b.apic != nil)
    if let a = a.apic, let b = b.apic {
      compare("apic base", a.base, b.base)
      for index in a.registers.indices where ![0x0a, 0x39].contains(index) {
        compare(
          "apic register \(String(index, radix: 16))0", a.registers[index], b.registers[index])
      }
      compare("tsc deadline", a.tscDeadline, b.tscDeadline)
      compare("timer counts", a.timerIsCounting, b.timerIsCounting)
      compare("pending INIT", a.pendingINIT, b.pendingINIT)
      compare("pending SIPI", a.pendingSIPI, b.pendingSIPI)
      let distance = Int64(bitPattern: a.timerStart &- b.timerStart)
      if a.timerIsCounting { compare("timer's start", 0, distance.magnitude / timerTolerance) }
    }
    return found
  }

  private static func canonical(_ segment: X86.Segment) -> X86.Segment {
    var segment = segment
    if segment.attributes & 0x1_0000 != 0 || segment.attributes & 0x80 == 0 {
      segment.attributes = 0x1_0000
      (segment.base, segment.limit) = (0, 0)
    }
    return segment
  }

  private static func values(_ msrs: [X86.MSRValue]) -> [UInt32: UInt64] {
    Dictionary(msrs.map { ($0.index, $0.value) }) { $1 }
  }
}
