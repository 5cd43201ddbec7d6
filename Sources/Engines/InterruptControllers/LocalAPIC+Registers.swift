import ArchitectureX86
import Bits

extension LocalAPIC {
  /// The registers by their offset in the page, in steps of 16 bytes; in x2APIC mode by their MSR, from 0x800.
  /// ISR, TMR and IRR, eight registers each, are `vectorSets`.
  ///
  /// - SeeAlso: Intel SDM Vol. 3A §11.4.1, Table 11-1 "Local APIC Register Address Map"; §11.12.1.2,
  ///   Table 11-6 "Local APIC Register Address Map Supported by x2APIC".
  enum Register: UInt8 {
    case localID = 0x02
    case version = 0x03
    case taskPriority = 0x08
    case arbitrationPriority = 0x09
    case processorPriority = 0x0a
    case endOfInterrupt = 0x0b
    case logicalDestination = 0x0d
    case destinationFormat = 0x0e
    case spuriousInterruptVector = 0x0f
    case errorStatus = 0x28
    case interruptCommandLow = 0x30
    case interruptCommandHigh = 0x31
    case timerLVT = 0x32
    case thermalLVT = 0x33
    case performanceLVT = 0x34
    case lint0LVT = 0x35
    case lint1LVT = 0x36
    case errorLVT = 0x37
    case initialCount = 0x38
    case currentCount = 0x39
    case divideConfiguration = 0x3e
    case selfIPI = 0x3f

    static let vectorSets: Range<UInt8> = 0x10..<0x28

    /// Whether the register can be reached through the page.
    var isInPage: Bool { self != .selfIPI }

    /// Whether the register is an MSR in x2APIC mode. The command register is one there, of 64 bits.
    var isMSR: Bool {
      switch self {
      case .arbitrationPriority, .destinationFormat, .interruptCommandHigh: false
      default: true
      }
    }

    /// What a guest may write as ones in x2APIC mode; `nil`: the register is read-only. Bits that it may
    /// write without effect are among them.
    ///
    /// - SeeAlso: Intel SDM Vol. 3A §11.12.1.3 "Reserved Bit Checking".
    var writable: UInt64? {
      switch self {
      case .taskPriority, .selfIPI: 0xff
      case .endOfInterrupt, .errorStatus: 0
      case .spuriousInterruptVector: UInt64(SpuriousInterruptVector.writable)
      case .interruptCommandLow: 0xffff_ffff_000c_dfff
      case .initialCount: 0xffff_ffff
      case .divideConfiguration: 0b1011
      case .timerLVT, .thermalLVT, .performanceLVT, .lint0LVT, .lint1LVT, .errorLVT:
        LocalVector.Source(self).map { UInt64($0.writable | LocalVector.readOnly) }
      default: nil
      }
    }
  }

  /// What went wrong: the bits of the error status register.
  ///
  /// - SeeAlso: Intel SDM Vol. 3A §11.5.3 "Error Handling".
  struct Errors: OptionSet, Sendable {
    let rawValue: UInt32
    static let sendIllegalVector = Errors(rawValue: 1 << 5)
    static let receiveIllegalVector = Errors(rawValue: 1 << 6)
    static let illegalRegisterAddress = Errors(rawValue: 1 << 7)
    static let all: Errors = [.sendIllegalVector, .receiveIllegalVector, .illegalRegisterAddress]
  }
}

/// IA32_APIC_BASE.
///
/// - SeeAlso: Intel SDM Vol. 3A §11.4.4 "Local APIC Status and Location"; §11.12.5 "x2APIC State
///   Transitions".
struct APICBase: RegisterBits, Equatable {
  var raw: UInt64
  var isBootstrap: Bool {
    get { self[bit: 8] }
    set { self[bit: 8] = newValue }
  }
  var isX2APIC: Bool { self[bit: 10] }
  var isEnabled: Bool { self[bit: 11] }
  var page: UInt64 { raw & ~0xfff }

  static let powerOn = APICBase(raw: 0xfee0_0000 | 1 << 11)

  /// Whether all bits may be as they are, on a processor with that many physical address bits.
  func isValid(addressBits: UInt32) -> Bool {
    let allowed = (UInt64(1) &<< UInt64(addressBits) &- 1) & ~0xfff | 1 << 8 | 1 << 10 | 1 << 11
    return raw & ~allowed == 0 && (isEnabled || !isX2APIC)
  }

  /// Whether a guest may go from this mode to that of `next`.
  func mayBecome(_ next: APICBase) -> Bool {
    switch (isEnabled, isX2APIC, next.isEnabled, next.isX2APIC) {
    case (false, _, true, true), (true, true, true, false): false
    default: true
    }
  }
}

/// The spurious-interrupt vector register.
///
/// - SeeAlso: Intel SDM Vol. 3A §11.9 "Spurious Interrupt".
struct SpuriousInterruptVector: RegisterBits, Equatable {
  var raw: UInt32
  var isSoftwareEnabled: Bool { self[bit: 8] }
  var suppressesEOIBroadcast: Bool { self[bit: 12] }

  static let writable: UInt32 = 0x13ff
  static let powerOn = SpuriousInterruptVector(raw: 0xff)
}

/// The interrupt command register, both halves.
///
/// - SeeAlso: Intel SDM Vol. 3A §11.6.1 "Interrupt Command Register (ICR)".
struct InterruptCommand: RegisterBits, Equatable {
  enum Shorthand: UInt64 { case none, itself, all, allExceptItself }

  var raw: UInt64
  var vector: UInt8 { UInt8(truncatingIfNeeded: raw) }
  var deliveryMode: DeliveryMode? { DeliveryMode(rawValue: UInt8(self[bits: 8, 3])) }
  var isLogical: Bool { self[bit: 11] }
  var isAsserted: Bool { self[bit: 14] }
  var isLevelTriggered: Bool { self[bit: 15] }
  var shorthand: Shorthand { Shorthand(rawValue: self[bits: 18, 2]) ?? .none }
  var low: UInt32 {
    get { UInt32(truncatingIfNeeded: raw) }
    set { raw = raw & ~0xffff_ffff | UInt64(newValue) }
  }
  var destination: UInt32 {
    get { UInt32(truncatingIfNeeded: raw >> 32) }
    set { raw = raw & 0xffff_ffff | UInt64(newValue) << 32 }
  }

  /// The low half's bits that a guest sets; delivery status always reads as idle.
  static let writableLow: UInt32 = 0x000c_cfff
}

/// An entry of the local vector table.
///
/// - SeeAlso: Intel SDM Vol. 3A §11.5.1 "Local Vector Table".
struct LocalVector: RegisterBits, Equatable {
  /// Where the interrupt comes from.
  enum Source: Int, CaseIterable {
    case timer, thermal, performance, lint0, lint1, error

    init?(_ register: LocalAPIC.Register) {
      self.init(rawValue: Int(register.rawValue) - Int(LocalAPIC.Register.timerLVT.rawValue))
    }

    var register: LocalAPIC.Register {
      switch self {
      case .timer: .timerLVT
      case .thermal: .thermalLVT
      case .performance: .performanceLVT
      case .lint0: .lint0LVT
      case .lint1: .lint1LVT
      case .error: .errorLVT
      }
    }

    /// The bits that a guest sets.
    var writable: UInt32 {
      switch self {
      case .timer: 0x0007_00ff
      case .thermal, .performance: 0x0001_07ff
      case .lint0, .lint1: 0x0001_a7ff
      case .error: 0x0001_00ff
      }
    }
  }

  enum TimerMode: UInt32 { case oneShot, periodic, tscDeadline, reserved }

  var raw: UInt32
  var vector: UInt8 { UInt8(truncatingIfNeeded: raw) }
  var deliveryMode: DeliveryMode? { DeliveryMode(rawValue: UInt8(self[bits: 8, 3])) }
  /// Remote IRR: the interrupt has been accepted and not yet ended.
  var isAccepted: Bool {
    get { self[bit: 14] }
    set { self[bit: 14] = newValue }
  }
  var isLevelTriggered: Bool { self[bit: 15] }
  var isMasked: Bool {
    get { self[bit: 16] }
    set { self[bit: 16] = newValue }
  }
  var timerMode: TimerMode { TimerMode(rawValue: self[bits: 17, 2]) ?? .reserved }

  /// Delivery status, which is always idle here, and remote IRR.
  static let readOnly: UInt32 = 1 << 12 | remoteIRR
  static let remoteIRR: UInt32 = 1 << 14
  static let powerOn = LocalVector(raw: 1 << 16)
}
