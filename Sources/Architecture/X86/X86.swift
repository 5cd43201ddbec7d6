/// The x86 instruction set: facts from the manuals, and the state of a processor as it leaves an engine.
public enum X86: Sendable {
  /// General registers by their encoding: SDM Vol. 2A §2.2.1.2, Table 2-2 (REX).
  package enum Register: Int, Sendable, CaseIterable {
    case rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15
  }

  /// Segment registers by their encoding in an instruction: SDM Vol. 2B, MOV Sreg.
  package enum SegmentRegister: Int, Sendable, CaseIterable {
    case es, cs, ss, ds, fs, gs
  }
}
