extension X86 {
  /// Exception vectors: SDM Vol. 3A §6.15.
  package enum Exception {
    package static let divideError: UInt8 = 0
    package static let debug: UInt8 = 1
    package static let nmi: UInt8 = 2
    package static let breakpoint: UInt8 = 3
    package static let overflow: UInt8 = 4
    package static let boundRange: UInt8 = 5
    package static let invalidOpcode: UInt8 = 6
    package static let deviceNotAvailable: UInt8 = 7
    package static let doubleFault: UInt8 = 8
    package static let invalidTSS: UInt8 = 10
    package static let segmentNotPresent: UInt8 = 11
    package static let stackFault: UInt8 = 12
    package static let generalProtection: UInt8 = 13
    package static let pageFault: UInt8 = 14
    package static let x87: UInt8 = 16
    package static let alignmentCheck: UInt8 = 17
    package static let machineCheck: UInt8 = 18
    package static let simd: UInt8 = 19
  }

  /// RFLAGS: SDM Vol. 1 §3.4.3.
  package enum Flags {
    package static let carry: UInt64 = 1 << 0
    package static let reserved1: UInt64 = 1 << 1
    package static let parity: UInt64 = 1 << 2
    package static let auxiliary: UInt64 = 1 << 4
    package static let zero: UInt64 = 1 << 6
    package static let sign: UInt64 = 1 << 7
    package static let trap: UInt64 = 1 << 8
    package static let interrupt: UInt64 = 1 << 9
    package static let direction: UInt64 = 1 << 10
    package static let overflow: UInt64 = 1 << 11
    package static let ioPrivilege: UInt64 = 3 << 12
    package static let nestedTask: UInt64 = 1 << 14
    package static let resume: UInt64 = 1 << 16
    package static let virtual8086: UInt64 = 1 << 17
    package static let alignmentCheck: UInt64 = 1 << 18
    package static let virtualInterrupt: UInt64 = 1 << 19
    package static let virtualInterruptPending: UInt64 = 1 << 20
    package static let identification: UInt64 = 1 << 21
    /// The six that arithmetic sets.
    package static let status: UInt64 = carry | parity | auxiliary | zero | sign | overflow
  }

  /// CR0: SDM Vol. 3A §2.5.
  package enum CR0 {
    package static let protection: UInt64 = 1 << 0
    package static let monitorCoprocessor: UInt64 = 1 << 1
    package static let emulation: UInt64 = 1 << 2
    package static let taskSwitched: UInt64 = 1 << 3
    package static let extensionType: UInt64 = 1 << 4
    package static let numericError: UInt64 = 1 << 5
    package static let writeProtect: UInt64 = 1 << 16
    package static let alignmentMask: UInt64 = 1 << 18
    package static let notWriteThrough: UInt64 = 1 << 29
    package static let cacheDisable: UInt64 = 1 << 30
    package static let paging: UInt64 = 1 << 31
  }

  /// CR4: SDM Vol. 3A §2.5.
  package enum CR4 {
    package static let virtual8086: UInt64 = 1 << 0
    package static let protectedVirtualInterrupts: UInt64 = 1 << 1
    package static let timeStampDisable: UInt64 = 1 << 2
    package static let debuggingExtensions: UInt64 = 1 << 3
    package static let pageSizeExtensions: UInt64 = 1 << 4
    package static let physicalAddressExtension: UInt64 = 1 << 5
    package static let machineCheck: UInt64 = 1 << 6
    package static let globalPages: UInt64 = 1 << 7
    package static let performanceCounters: UInt64 = 1 << 8
    package static let fxsave: UInt64 = 1 << 9
    package static let simdExceptions: UInt64 = 1 << 10
    package static let userModeInstructionPrevention: UInt64 = 1 << 11
    package static let linearAddress57: UInt64 = 1 << 12
    package static let fsgsbase: UInt64 = 1 << 16
    package static let processContextIdentifiers: UInt64 = 1 << 17
    package static let xsave: UInt64 = 1 << 18
    package static let supervisorExecutionPrevention: UInt64 = 1 << 20
    package static let supervisorAccessPrevention: UInt64 = 1 << 21
    package static let protectionKeys: UInt64 = 1 << 22
  }

  /// IA32_EFER: SDM Vol. 3A §2.2.1.
  package enum EFER {
    package static let systemCall: UInt64 = 1 << 0
    package static let longModeEnable: UInt64 = 1 << 8
    package static let longModeActive: UInt64 = 1 << 10
    package static let executeDisable: UInt64 = 1 << 11
  }

  /// Model-specific registers: SDM Vol. 4 §2.1 "Architectural MSRs"; AMD APM Vol. 2 Appendix A.
  package enum MSR {
    package static let timeStampCounter: UInt32 = 0x10
    package static let apicBase: UInt32 = 0x1b
    package static let tscAdjust: UInt32 = 0x3b
    package static let biosSignature: UInt32 = 0x8b
    package static let mtrrCapabilities: UInt32 = 0xfe
    package static let sysenterCS: UInt32 = 0x174
    package static let sysenterESP: UInt32 = 0x175
    package static let sysenterEIP: UInt32 = 0x176
    package static let machineCheckCapabilities: UInt32 = 0x179
    package static let machineCheckStatus: UInt32 = 0x17a
    package static let miscEnable: UInt32 = 0x1a0
    package static let pageAttributeTable: UInt32 = 0x277
    package static let mtrrDefaultType: UInt32 = 0x2ff
    package static let tscDeadline: UInt32 = 0x6e0
    /// The first of the x2APIC's registers; each stands for 16 bytes of the APIC page.
    package static let x2apicFirst: UInt32 = 0x800
    package static let x2apicLast: UInt32 = 0x8ff
    package static let efer: UInt32 = 0xc000_0080
    package static let star: UInt32 = 0xc000_0081
    package static let lstar: UInt32 = 0xc000_0082
    package static let cstar: UInt32 = 0xc000_0083
    package static let syscallMask: UInt32 = 0xc000_0084
    package static let fsBase: UInt32 = 0xc000_0100
    package static let gsBase: UInt32 = 0xc000_0101
    package static let kernelGSBase: UInt32 = 0xc000_0102
    package static let tscAux: UInt32 = 0xc000_0103
  }
}
