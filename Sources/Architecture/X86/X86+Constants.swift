// Public, although only this package uses them: constants of another module are read by a call unless they are
// public and inlinable, and the processor reads them in its inner loops.

extension X86 {
  /// Exception vectors: SDM Vol. 3A §6.15.
  public enum Exception {
    @inlinable public static var divideError: UInt8 { 0 }
    @inlinable public static var debug: UInt8 { 1 }
    @inlinable public static var nmi: UInt8 { 2 }
    @inlinable public static var breakpoint: UInt8 { 3 }
    @inlinable public static var overflow: UInt8 { 4 }
    @inlinable public static var boundRange: UInt8 { 5 }
    @inlinable public static var invalidOpcode: UInt8 { 6 }
    @inlinable public static var deviceNotAvailable: UInt8 { 7 }
    @inlinable public static var doubleFault: UInt8 { 8 }
    @inlinable public static var invalidTSS: UInt8 { 10 }
    @inlinable public static var segmentNotPresent: UInt8 { 11 }
    @inlinable public static var stackFault: UInt8 { 12 }
    @inlinable public static var generalProtection: UInt8 { 13 }
    @inlinable public static var pageFault: UInt8 { 14 }
    @inlinable public static var x87: UInt8 { 16 }
    @inlinable public static var alignmentCheck: UInt8 { 17 }
    @inlinable public static var machineCheck: UInt8 { 18 }
    @inlinable public static var simd: UInt8 { 19 }
  }

  /// RFLAGS: SDM Vol. 1 §3.4.3.
  public enum Flags {
    @inlinable public static var carry: UInt64 { 1 << 0 }
    @inlinable public static var reserved1: UInt64 { 1 << 1 }
    @inlinable public static var parity: UInt64 { 1 << 2 }
    @inlinable public static var auxiliary: UInt64 { 1 << 4 }
    @inlinable public static var zero: UInt64 { 1 << 6 }
    @inlinable public static var sign: UInt64 { 1 << 7 }
    @inlinable public static var trap: UInt64 { 1 << 8 }
    @inlinable public static var interrupt: UInt64 { 1 << 9 }
    @inlinable public static var direction: UInt64 { 1 << 10 }
    @inlinable public static var overflow: UInt64 { 1 << 11 }
    @inlinable public static var ioPrivilege: UInt64 { 3 << 12 }
    @inlinable public static var nestedTask: UInt64 { 1 << 14 }
    @inlinable public static var resume: UInt64 { 1 << 16 }
    @inlinable public static var virtual8086: UInt64 { 1 << 17 }
    @inlinable public static var alignmentCheck: UInt64 { 1 << 18 }
    @inlinable public static var virtualInterrupt: UInt64 { 1 << 19 }
    @inlinable public static var virtualInterruptPending: UInt64 { 1 << 20 }
    @inlinable public static var identification: UInt64 { 1 << 21 }
    /// The six that arithmetic sets.
    @inlinable public static var status: UInt64 {
      carry | parity | auxiliary | zero | sign | overflow
    }
  }

  /// CR0: SDM Vol. 3A §2.5.
  public enum CR0 {
    @inlinable public static var protection: UInt64 { 1 << 0 }
    @inlinable public static var monitorCoprocessor: UInt64 { 1 << 1 }
    @inlinable public static var emulation: UInt64 { 1 << 2 }
    @inlinable public static var taskSwitched: UInt64 { 1 << 3 }
    @inlinable public static var extensionType: UInt64 { 1 << 4 }
    @inlinable public static var numericError: UInt64 { 1 << 5 }
    @inlinable public static var writeProtect: UInt64 { 1 << 16 }
    @inlinable public static var alignmentMask: UInt64 { 1 << 18 }
    @inlinable public static var notWriteThrough: UInt64 { 1 << 29 }
    @inlinable public static var cacheDisable: UInt64 { 1 << 30 }
    @inlinable public static var paging: UInt64 { 1 << 31 }
  }

  /// CR4: SDM Vol. 3A §2.5.
  public enum CR4 {
    @inlinable public static var virtual8086: UInt64 { 1 << 0 }
    @inlinable public static var protectedVirtualInterrupts: UInt64 { 1 << 1 }
    @inlinable public static var timeStampDisable: UInt64 { 1 << 2 }
    @inlinable public static var debuggingExtensions: UInt64 { 1 << 3 }
    @inlinable public static var pageSizeExtensions: UInt64 { 1 << 4 }
    @inlinable public static var physicalAddressExtension: UInt64 { 1 << 5 }
    @inlinable public static var machineCheck: UInt64 { 1 << 6 }
    @inlinable public static var globalPages: UInt64 { 1 << 7 }
    @inlinable public static var performanceCounters: UInt64 { 1 << 8 }
    @inlinable public static var fxsave: UInt64 { 1 << 9 }
    @inlinable public static var simdExceptions: UInt64 { 1 << 10 }
    @inlinable public static var userModeInstructionPrevention: UInt64 { 1 << 11 }
    @inlinable public static var linearAddress57: UInt64 { 1 << 12 }
    @inlinable public static var fsgsbase: UInt64 { 1 << 16 }
    @inlinable public static var processContextIdentifiers: UInt64 { 1 << 17 }
    @inlinable public static var xsave: UInt64 { 1 << 18 }
    @inlinable public static var supervisorExecutionPrevention: UInt64 { 1 << 20 }
    @inlinable public static var supervisorAccessPrevention: UInt64 { 1 << 21 }
    @inlinable public static var protectionKeys: UInt64 { 1 << 22 }
  }

  /// IA32_EFER: SDM Vol. 3A §2.2.1.
  public enum EFER {
    @inlinable public static var systemCall: UInt64 { 1 << 0 }
    @inlinable public static var longModeEnable: UInt64 { 1 << 8 }
    @inlinable public static var longModeActive: UInt64 { 1 << 10 }
    @inlinable public static var executeDisable: UInt64 { 1 << 11 }
  }

  /// Model-specific registers: SDM Vol. 4 §2.1 "Architectural MSRs"; AMD APM Vol. 2 Appendix A.
  public enum MSR {
    @inlinable public static var timeStampCounter: UInt32 { 0x10 }
    @inlinable public static var apicBase: UInt32 { 0x1b }
    @inlinable public static var tscAdjust: UInt32 { 0x3b }
    @inlinable public static var biosSignature: UInt32 { 0x8b }
    @inlinable public static var mtrrCapabilities: UInt32 { 0xfe }
    @inlinable public static var sysenterCS: UInt32 { 0x174 }
    @inlinable public static var sysenterESP: UInt32 { 0x175 }
    @inlinable public static var sysenterEIP: UInt32 { 0x176 }
    @inlinable public static var machineCheckCapabilities: UInt32 { 0x179 }
    @inlinable public static var machineCheckStatus: UInt32 { 0x17a }
    @inlinable public static var miscEnable: UInt32 { 0x1a0 }
    @inlinable public static var pageAttributeTable: UInt32 { 0x277 }
    @inlinable public static var mtrrDefaultType: UInt32 { 0x2ff }
    @inlinable public static var tscDeadline: UInt32 { 0x6e0 }
    /// The first of the x2APIC's registers; each stands for 16 bytes of the APIC page.
    @inlinable public static var x2apicFirst: UInt32 { 0x800 }
    @inlinable public static var x2apicLast: UInt32 { 0x8ff }
    @inlinable public static var efer: UInt32 { 0xc000_0080 }
    @inlinable public static var star: UInt32 { 0xc000_0081 }
    @inlinable public static var lstar: UInt32 { 0xc000_0082 }
    @inlinable public static var cstar: UInt32 { 0xc000_0083 }
    @inlinable public static var syscallMask: UInt32 { 0xc000_0084 }
    @inlinable public static var fsBase: UInt32 { 0xc000_0100 }
    @inlinable public static var gsBase: UInt32 { 0xc000_0101 }
    @inlinable public static var kernelGSBase: UInt32 { 0xc000_0102 }
    @inlinable public static var tscAux: UInt32 { 0xc000_0103 }
  }
}
