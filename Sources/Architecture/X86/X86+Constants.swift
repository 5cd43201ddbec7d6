// Public, although only this package uses them: constants of another module are read by a call unless they are
// public and inlinable, and the processor reads them in its inner loops.

extension X86 {
  /// Exception vectors: SDM Vol. 3A §6.15.
  public enum Exception {
    /// #DE.
    @inlinable public static var divideError: UInt8 { 0 }
    /// #DB.
    @inlinable public static var debug: UInt8 { 1 }
    /// NMI.
    @inlinable public static var nmi: UInt8 { 2 }
    /// #BP.
    @inlinable public static var breakpoint: UInt8 { 3 }
    /// #OF.
    @inlinable public static var overflow: UInt8 { 4 }
    /// #BR.
    @inlinable public static var boundRange: UInt8 { 5 }
    /// #UD.
    @inlinable public static var invalidOpcode: UInt8 { 6 }
    /// #NM.
    @inlinable public static var deviceNotAvailable: UInt8 { 7 }
    /// #DF.
    @inlinable public static var doubleFault: UInt8 { 8 }
    /// #TS.
    @inlinable public static var invalidTSS: UInt8 { 10 }
    /// #NP.
    @inlinable public static var segmentNotPresent: UInt8 { 11 }
    /// #SS.
    @inlinable public static var stackFault: UInt8 { 12 }
    /// #GP.
    @inlinable public static var generalProtection: UInt8 { 13 }
    /// #PF.
    @inlinable public static var pageFault: UInt8 { 14 }
    /// #MF.
    @inlinable public static var x87: UInt8 { 16 }
    /// #AC.
    @inlinable public static var alignmentCheck: UInt8 { 17 }
    /// #MC.
    @inlinable public static var machineCheck: UInt8 { 18 }
    /// #XM.
    @inlinable public static var simd: UInt8 { 19 }
  }

  /// RFLAGS: SDM Vol. 1 §3.4.3.
  public enum Flags {
    /// CF.
    @inlinable public static var carry: UInt64 { 1 << 0 }
    /// Always one.
    @inlinable public static var reserved1: UInt64 { 1 << 1 }
    /// PF.
    @inlinable public static var parity: UInt64 { 1 << 2 }
    /// AF.
    @inlinable public static var auxiliary: UInt64 { 1 << 4 }
    /// ZF.
    @inlinable public static var zero: UInt64 { 1 << 6 }
    /// SF.
    @inlinable public static var sign: UInt64 { 1 << 7 }
    /// TF.
    @inlinable public static var trap: UInt64 { 1 << 8 }
    /// IF.
    @inlinable public static var interrupt: UInt64 { 1 << 9 }
    /// DF.
    @inlinable public static var direction: UInt64 { 1 << 10 }
    /// OF.
    @inlinable public static var overflow: UInt64 { 1 << 11 }
    /// IOPL, two bits.
    @inlinable public static var ioPrivilege: UInt64 { 3 << 12 }
    /// NT.
    @inlinable public static var nestedTask: UInt64 { 1 << 14 }
    /// RF.
    @inlinable public static var resume: UInt64 { 1 << 16 }
    /// VM.
    @inlinable public static var virtual8086: UInt64 { 1 << 17 }
    /// AC.
    @inlinable public static var alignmentCheck: UInt64 { 1 << 18 }
    /// VIF.
    @inlinable public static var virtualInterrupt: UInt64 { 1 << 19 }
    /// VIP.
    @inlinable public static var virtualInterruptPending: UInt64 { 1 << 20 }
    /// ID.
    @inlinable public static var identification: UInt64 { 1 << 21 }
    /// The six that arithmetic sets.
    @inlinable public static var status: UInt64 {
      carry | parity | auxiliary | zero | sign | overflow
    }
  }

  /// CR0: SDM Vol. 3A §2.5.
  public enum CR0 {
    /// PE.
    @inlinable public static var protection: UInt64 { 1 << 0 }
    /// MP.
    @inlinable public static var monitorCoprocessor: UInt64 { 1 << 1 }
    /// EM.
    @inlinable public static var emulation: UInt64 { 1 << 2 }
    /// TS.
    @inlinable public static var taskSwitched: UInt64 { 1 << 3 }
    /// ET.
    @inlinable public static var extensionType: UInt64 { 1 << 4 }
    /// NE.
    @inlinable public static var numericError: UInt64 { 1 << 5 }
    /// WP.
    @inlinable public static var writeProtect: UInt64 { 1 << 16 }
    /// AM.
    @inlinable public static var alignmentMask: UInt64 { 1 << 18 }
    /// NW.
    @inlinable public static var notWriteThrough: UInt64 { 1 << 29 }
    /// CD.
    @inlinable public static var cacheDisable: UInt64 { 1 << 30 }
    /// PG.
    @inlinable public static var paging: UInt64 { 1 << 31 }
  }

  /// CR4: SDM Vol. 3A §2.5.
  public enum CR4 {
    /// VME.
    @inlinable public static var virtual8086: UInt64 { 1 << 0 }
    /// PVI.
    @inlinable public static var protectedVirtualInterrupts: UInt64 { 1 << 1 }
    /// TSD.
    @inlinable public static var timeStampDisable: UInt64 { 1 << 2 }
    /// DE.
    @inlinable public static var debuggingExtensions: UInt64 { 1 << 3 }
    /// PSE.
    @inlinable public static var pageSizeExtensions: UInt64 { 1 << 4 }
    /// PAE.
    @inlinable public static var physicalAddressExtension: UInt64 { 1 << 5 }
    /// MCE.
    @inlinable public static var machineCheck: UInt64 { 1 << 6 }
    /// PGE.
    @inlinable public static var globalPages: UInt64 { 1 << 7 }
    /// PCE.
    @inlinable public static var performanceCounters: UInt64 { 1 << 8 }
    /// OSFXSR.
    @inlinable public static var fxsave: UInt64 { 1 << 9 }
    /// OSXMMEXCPT.
    @inlinable public static var simdExceptions: UInt64 { 1 << 10 }
    /// UMIP.
    @inlinable public static var userModeInstructionPrevention: UInt64 { 1 << 11 }
    /// LA57.
    @inlinable public static var linearAddress57: UInt64 { 1 << 12 }
    /// FSGSBASE.
    @inlinable public static var fsgsbase: UInt64 { 1 << 16 }
    /// PCIDE.
    @inlinable public static var processContextIdentifiers: UInt64 { 1 << 17 }
    /// OSXSAVE.
    @inlinable public static var xsave: UInt64 { 1 << 18 }
    /// SMEP.
    @inlinable public static var supervisorExecutionPrevention: UInt64 { 1 << 20 }
    /// SMAP.
    @inlinable public static var supervisorAccessPrevention: UInt64 { 1 << 21 }
    /// PKE.
    @inlinable public static var protectionKeys: UInt64 { 1 << 22 }
  }

  /// IA32_EFER: SDM Vol. 3A §2.2.1.
  public enum EFER {
    /// SCE.
    @inlinable public static var systemCall: UInt64 { 1 << 0 }
    /// LME.
    @inlinable public static var longModeEnable: UInt64 { 1 << 8 }
    /// LMA.
    @inlinable public static var longModeActive: UInt64 { 1 << 10 }
    /// NXE.
    @inlinable public static var executeDisable: UInt64 { 1 << 11 }
  }

  /// Model-specific registers: SDM Vol. 4 §2.1 "Architectural MSRs"; AMD APM Vol. 2 Appendix A.
  public enum MSR {
    /// IA32_TIME_STAMP_COUNTER.
    @inlinable public static var timeStampCounter: UInt32 { 0x10 }
    /// IA32_APIC_BASE.
    @inlinable public static var apicBase: UInt32 { 0x1b }
    /// IA32_TSC_ADJUST.
    @inlinable public static var tscAdjust: UInt32 { 0x3b }
    /// IA32_PLATFORM_ID.
    @inlinable public static var platformID: UInt32 { 0x17 }
    /// IA32_BIOS_UPDT_TRIG.
    @inlinable public static var biosUpdateTrigger: UInt32 { 0x79 }
    /// IA32_BIOS_SIGN_ID.
    @inlinable public static var biosSignature: UInt32 { 0x8b }
    /// IA32_MTRRCAP.
    @inlinable public static var mtrrCapabilities: UInt32 { 0xfe }
    /// IA32_SYSENTER_CS.
    @inlinable public static var sysenterCS: UInt32 { 0x174 }
    /// IA32_SYSENTER_ESP.
    @inlinable public static var sysenterESP: UInt32 { 0x175 }
    /// IA32_SYSENTER_EIP.
    @inlinable public static var sysenterEIP: UInt32 { 0x176 }
    /// IA32_MCG_CAP.
    @inlinable public static var machineCheckCapabilities: UInt32 { 0x179 }
    /// IA32_MCG_STATUS.
    @inlinable public static var machineCheckStatus: UInt32 { 0x17a }
    /// IA32_MISC_ENABLE.
    @inlinable public static var miscEnable: UInt32 { 0x1a0 }
    /// IA32_PAT.
    @inlinable public static var pageAttributeTable: UInt32 { 0x277 }
    /// IA32_MTRR_DEF_TYPE.
    @inlinable public static var mtrrDefaultType: UInt32 { 0x2ff }
    /// IA32_TSC_DEADLINE.
    @inlinable public static var tscDeadline: UInt32 { 0x6e0 }
    /// The first of the x2APIC's registers; each stands for 16 bytes of the APIC page.
    @inlinable public static var x2apicFirst: UInt32 { 0x800 }
    /// The last of them.
    @inlinable public static var x2apicLast: UInt32 { 0x8ff }
    /// IA32_XSS.
    @inlinable public static var extendedSupervisorState: UInt32 { 0xda0 }
    /// IA32_EFER.
    @inlinable public static var efer: UInt32 { 0xc000_0080 }
    /// IA32_STAR.
    @inlinable public static var star: UInt32 { 0xc000_0081 }
    /// IA32_LSTAR.
    @inlinable public static var lstar: UInt32 { 0xc000_0082 }
    /// IA32_CSTAR.
    @inlinable public static var cstar: UInt32 { 0xc000_0083 }
    /// IA32_FMASK.
    @inlinable public static var syscallMask: UInt32 { 0xc000_0084 }
    /// IA32_FS_BASE.
    @inlinable public static var fsBase: UInt32 { 0xc000_0100 }
    /// IA32_GS_BASE.
    @inlinable public static var gsBase: UInt32 { 0xc000_0101 }
    /// IA32_KERNEL_GS_BASE.
    @inlinable public static var kernelGSBase: UInt32 { 0xc000_0102 }
    /// IA32_TSC_AUX.
    @inlinable public static var tscAux: UInt32 { 0xc000_0103 }
  }
}
