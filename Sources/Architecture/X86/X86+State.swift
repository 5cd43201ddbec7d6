extension X86 {
  /// Everything a processor holds between two instructions, in the form in which it leaves an engine:
  /// for saving, for a debugger, for another engine.
  package struct State: Codable, Sendable, Equatable {
    /// By `X86.Register`.
    package var registers: [UInt64]
    package var rip: UInt64
    package var rflags: UInt64
    /// By `X86.SegmentRegister`.
    package var segments: [Segment]
    package var ldtr: Segment
    package var tr: Segment
    package var gdtr: Table
    package var idtr: Table
    package var cr0: UInt64
    package var cr2: UInt64
    package var cr3: UInt64
    package var cr4: UInt64
    package var cr8: UInt64
    /// DR0 to DR3, DR6, DR7.
    package var debug: [UInt64]
    package var efer: UInt64
    package var xcr0: UInt64
    /// Model-specific registers other than those above, by index.
    package var msrs: [MSRValue]
    /// The XSAVE area in standard form: SDM Vol. 1 §13.4. At least 576 bytes; 832 with
    /// the upper halves of YMM registers; 2696 with PKRU.
    package var xsave: [UInt8]
    /// The time-stamp counter's value at the guest time at which the state was taken.
    package var tsc: UInt64
    package var activity: Activity
    package var events: PendingEvents
    /// The local APIC; `nil`: as firmware leaves it, in power-on state but with the 8259 pair let through.
    package var apic: APIC?

    package init(
      registers: [UInt64],
      rip: UInt64,
      rflags: UInt64,
      segments: [Segment],
      ldtr: Segment,
      tr: Segment,
      gdtr: Table,
      idtr: Table,
      cr0: UInt64,
      cr2: UInt64,
      cr3: UInt64,
      cr4: UInt64,
      cr8: UInt64,
      debug: [UInt64],
      efer: UInt64,
      xcr0: UInt64,
      msrs: [MSRValue],
      xsave: [UInt8],
      tsc: UInt64,
      activity: Activity,
      events: PendingEvents,
      apic: APIC?
    ) {
      self.registers = registers
      self.rip = rip
      self.rflags = rflags
      self.segments = segments
      self.ldtr = ldtr
      self.tr = tr
      self.gdtr = gdtr
      self.idtr = idtr
      self.cr0 = cr0
      self.cr2 = cr2
      self.cr3 = cr3
      self.cr4 = cr4
      self.cr8 = cr8
      self.debug = debug
      self.efer = efer
      self.xcr0 = xcr0
      self.msrs = msrs
      self.xsave = xsave
      self.tsc = tsc
      self.activity = activity
      self.events = events
      self.apic = apic
    }
  }

  /// A segment register with its hidden part: SDM Vol. 3A §3.4.3.
  package struct Segment: Codable, Sendable, Equatable {
    package var selector: UInt16
    package var base: UInt64
    /// In bytes, granularity applied.
    package var limit: UInt32
    /// Bits 8 to 15 and 20 to 23 of the descriptor's second doubleword, as in a VMCS access-rights field:
    /// type 0–3, S 4, DPL 5–6, P 7, AVL 12, L 13, D/B 14, G 15, unusable 16.
    package var attributes: UInt32

    package init(selector: UInt16, base: UInt64, limit: UInt32, attributes: UInt32) {
      self.selector = selector
      self.base = base
      self.limit = limit
      self.attributes = attributes
    }
  }

  /// GDTR or IDTR.
  package struct Table: Codable, Sendable, Equatable {
    package var base: UInt64
    package var limit: UInt16

    package init(base: UInt64, limit: UInt16) {
      self.base = base
      self.limit = limit
    }
  }

  package struct MSRValue: Codable, Sendable, Equatable {
    package var index: UInt32
    package var value: UInt64

    package init(index: UInt32, value: UInt64) {
      self.index = index
      self.value = value
    }
  }

  /// What a processor is doing: SDM Vol. 3C §25.4.2 "Guest Non-Register State".
  package enum Activity: String, Codable, Sendable {
    case active, halted, shutdown, waitForSIPI
  }

  /// Events between two instructions.
  package struct PendingEvents: Codable, Sendable, Equatable {
    /// Interrupts wait until the next instruction has ended: after STI, MOV SS, POP SS.
    package var interruptShadow = false
    package var nmiPending = false
    /// An NMI is being handled: further ones wait for IRET.
    package var nmiBlocked = false
    /// What was taken but has not entered its handler yet.
    package var injected: InjectedEvent?

    package init() {}
  }

  /// An event on its way into its handler: what a VMCS keeps as IDT-vectoring information (SDM Vol. 3C §24.9.3).
  /// The handler is to return to the state's `rip`, also from an INT n.
  package struct InjectedEvent: Codable, Sendable, Equatable {
    package enum Kind: String, Codable, Sendable {
      case external, nmi, exception
      /// INT n.
      case software
    }
    package var kind: Kind
    package var vector: UInt8
    package var errorCode: UInt32?

    package init(kind: Kind, vector: UInt8, errorCode: UInt32? = nil) {
      self.kind = kind
      self.vector = vector
      self.errorCode = errorCode
    }
  }

  /// A local APIC: SDM Vol. 3A §11.4, Table 11-1 "Local APIC Register Address Map".
  package struct APIC: Codable, Sendable, Equatable {
    /// IA32_APIC_BASE.
    package var base: UInt64
    /// The 32-bit registers at each 16-byte step from offset 0: 64 of them.
    package var registers: [UInt32]
    /// Errors seen since the guest last wrote the error status register.
    package var newErrors: UInt32
    /// IA32_TSC_DEADLINE; zero: unarmed.
    package var tscDeadline: UInt64
    /// Guest time, in nanoseconds since power-on, at which the current count started, modulo 2⁶⁴.
    package var timerStart: UInt64
    /// Whether the timer counts; a one-shot timer that has expired does not.
    package var timerIsCounting: Bool
    /// The SIPI or INIT that has not been taken yet.
    package var pendingINIT: Bool
    package var pendingSIPI: UInt8?

    package init(
      base: UInt64, registers: [UInt32], newErrors: UInt32, tscDeadline: UInt64,
      timerStart: UInt64, timerIsCounting: Bool, pendingINIT: Bool, pendingSIPI: UInt8?
    ) {
      self.base = base
      self.registers = registers
      self.newErrors = newErrors
      self.tscDeadline = tscDeadline
      self.timerStart = timerStart
      self.timerIsCounting = timerIsCounting
      self.pendingINIT = pendingINIT
      self.pendingSIPI = pendingSIPI
    }
  }
}
