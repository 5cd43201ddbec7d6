/// Features that decide which instructions and registers there are: SDM Vol. 2A, CPUID, Tables 3-8 to 3-11; AMD APM
/// Vol. 3 §E.4.2.
extension X86.Features {
  private func has(_ word: UInt32, _ bit: UInt32) -> Bool { word >> bit & 1 != 0 }

  package var hasX87: Bool { has(leaf1EDX, 0) }
  package var hasVME: Bool { has(leaf1EDX, 1) }
  package var hasDebuggingExtensions: Bool { has(leaf1EDX, 2) }
  package var hasPageSizeExtensions: Bool { has(leaf1EDX, 3) }
  package var hasTSC: Bool { has(leaf1EDX, 4) }
  package var hasMSR: Bool { has(leaf1EDX, 5) }
  package var hasPAE: Bool { has(leaf1EDX, 6) }
  package var hasCMPXCHG8B: Bool { has(leaf1EDX, 8) }
  package var hasAPIC: Bool { has(leaf1EDX, 9) }
  package var hasSYSENTER: Bool { has(leaf1EDX, 11) }
  package var hasMTRR: Bool { has(leaf1EDX, 12) }
  package var hasGlobalPages: Bool { has(leaf1EDX, 13) }
  package var hasCMOV: Bool { has(leaf1EDX, 15) }
  package var hasPAT: Bool { has(leaf1EDX, 16) }
  package var hasCLFLUSH: Bool { has(leaf1EDX, 19) }
  package var hasMMX: Bool { has(leaf1EDX, 23) }
  package var hasFXSR: Bool { has(leaf1EDX, 24) }
  package var hasSSE: Bool { has(leaf1EDX, 25) }
  package var hasSSE2: Bool { has(leaf1EDX, 26) }

  package var hasSSE3: Bool { has(leaf1ECX, 0) }
  package var hasPCLMULQDQ: Bool { has(leaf1ECX, 1) }
  package var hasSSSE3: Bool { has(leaf1ECX, 9) }
  package var hasFMA: Bool { has(leaf1ECX, 12) }
  package var hasCMPXCHG16B: Bool { has(leaf1ECX, 13) }
  package var hasPCID: Bool { has(leaf1ECX, 17) }
  package var hasSSE41: Bool { has(leaf1ECX, 19) }
  package var hasSSE42: Bool { has(leaf1ECX, 20) }
  package var hasMOVBE: Bool { has(leaf1ECX, 22) }
  package var hasPOPCNT: Bool { has(leaf1ECX, 23) }
  package var hasAES: Bool { has(leaf1ECX, 25) }
  package var hasXSAVE: Bool { has(leaf1ECX, 26) }
  package var hasAVX: Bool { has(leaf1ECX, 28) }
  package var hasF16C: Bool { has(leaf1ECX, 29) }
  package var hasRDRAND: Bool { has(leaf1ECX, 30) }

  package var hasFSGSBASE: Bool { has(leaf7EBX, 0) }
  package var hasBMI1: Bool { has(leaf7EBX, 3) }
  package var hasAVX2: Bool { has(leaf7EBX, 5) }
  package var hasSMEP: Bool { has(leaf7EBX, 7) }
  package var hasBMI2: Bool { has(leaf7EBX, 8) }
  package var hasINVPCID: Bool { has(leaf7EBX, 10) }
  package var hasRDSEED: Bool { has(leaf7EBX, 18) }
  package var hasADX: Bool { has(leaf7EBX, 19) }
  package var hasSMAP: Bool { has(leaf7EBX, 20) }
  package var hasCLFLUSHOPT: Bool { has(leaf7EBX, 23) }
  package var hasCLWB: Bool { has(leaf7EBX, 24) }
  package var hasSHA: Bool { has(leaf7EBX, 29) }
  package var hasUMIP: Bool { has(leaf7ECX, 2) }
  package var hasPKU: Bool { has(leaf7ECX, 3) }
  package var hasVAES: Bool { has(leaf7ECX, 9) }
  package var hasVPCLMULQDQ: Bool { has(leaf7ECX, 10) }
  package var hasLA57: Bool { has(leaf7ECX, 16) }
  package var hasRDPID: Bool { has(leaf7ECX, 22) }

  package var hasLAHF64: Bool { has(extendedECX, 0) }
  package var hasLZCNT: Bool { has(extendedECX, 5) }
  package var hasPREFETCHW: Bool { has(extendedECX, 8) }
  package var hasSYSCALL: Bool { has(extendedEDX, 11) }
  package var hasNoExecute: Bool { has(extendedEDX, 20) }
  package var hasGigabytePages: Bool { has(extendedEDX, 26) }
  package var hasRDTSCP: Bool { has(extendedEDX, 27) }
  package var hasLongMode: Bool { has(extendedEDX, 29) }

  package var hasXSAVEOPT: Bool { has(extendedStateEAX, 0) }
  package var hasXSAVEC: Bool { has(extendedStateEAX, 1) }
  package var hasXSAVES: Bool { has(extendedStateEAX, 3) }

  /// Whether a model-specific register is one of those that come with a feature which is there, or with none.
  package func announces(msr index: UInt32) -> Bool {
    switch index {
    case X86.MSR.timeStampCounter: hasTSC
    case X86.MSR.apicBase, X86.MSR.tscDeadline, X86.MSR.x2apicFirst...X86.MSR.x2apicLast: hasAPIC
    case X86.MSR.sysenterCS, X86.MSR.sysenterESP, X86.MSR.sysenterEIP: hasSYSENTER
    case X86.MSR.mtrrCapabilities, X86.MSR.mtrrDefaultType, 0x200...0x20f, 0x250, 0x258, 0x259,
      0x268...0x26f:
      hasMTRR
    case X86.MSR.pageAttributeTable: hasPAT
    case X86.MSR.extendedSupervisorState: hasXSAVES
    case X86.MSR.efer: hasSYSCALL || hasNoExecute || hasLongMode
    case X86.MSR.star: hasSYSCALL
    case X86.MSR.lstar, X86.MSR.cstar, X86.MSR.syscallMask, X86.MSR.fsBase, X86.MSR.gsBase,
      X86.MSR.kernelGSBase:
      hasLongMode
    case X86.MSR.tscAux: hasRDTSCP || hasRDPID
    default: hasMSR
    }
  }

  /// The state components that XCR0 may enable: SDM Vol. 1 §13.3.
  package var stateComponents: UInt64 {
    guard hasXSAVE else { return X86.StateComponents.x87 }
    return X86.StateComponents.x87 | X86.StateComponents.sse
      | (hasAVX ? X86.StateComponents.avx : 0)
      | (hasPKU ? X86.StateComponents.protectionKeys : 0)
  }

  /// The components of a saved XSAVE area: x87 and SSE state is always there, whether the model has XSAVE or not.
  package var savedComponents: UInt64 {
    stateComponents | X86.StateComponents.x87 | X86.StateComponents.sse
  }
}
