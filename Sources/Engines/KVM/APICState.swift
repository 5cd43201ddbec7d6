import ArchitectureX86
import CKVM
import Work

// The local APIC between its two forms: the page of registers that KVM keeps, and `X86.APIC`.

extension X86.APIC {
  /// Places of registers, in steps of 16 bytes: SDM Vol. 3A Table 11-1.
  private enum Place {
    static let timerVector = 0x32
    static let initialCount = 0x38
    static let currentCount = 0x39
    static let divide = 0x3e
  }

  /// The timer counts bus clocks of a nanosecond, in KVM as here.
  private static func shift(_ divide: UInt32) -> UInt64 {
    UInt64(((divide & 3 | divide >> 1 & 4) + 1) & 7)
  }

  /// How the timer's count-down stands: nothing while it waits for a deadline.
  struct CountDown {
    let initialCount: UInt32
    /// Guest time, in nanoseconds, at which the count stood at its initial value; modulo 2⁶⁴.
    let start: UInt64
    let isCounting: Bool

    init(_ apic: X86.APIC) {
      initialCount = apic.registers[Place.initialCount]
      start = apic.timerStart
      isCounting = apic.timerIsCounting
    }

    /// A periodic timer always counts: where the count shows zero, it has run out and is about to start again.
    init(_ page: kvm_lapic_state, at now: VMInstant) {
      let registers = page.registers
      initialCount = registers[Place.initialCount]
      let current = registers[Place.currentCount]
      let mode = registers[Place.timerVector] >> 17 & 3
      start =
        now.nanoseconds &- UInt64(initialCount &- current) &<< shift(registers[Place.divide])
      isCounting = mode != 2 && initialCount != 0 && (mode == 1 || current != 0)
    }
  }

  /// Puts the count-down in place of that which was read later. What INIT has stopped since stays so.
  mutating func set(_ countDown: CountDown) {
    guard registers[Place.initialCount] == countDown.initialCount else { return }
    timerStart = countDown.start
    timerIsCounting = countDown.isCounting
  }

  /// Reads KVM's form.
  ///
  /// KVM keeps no record of errors that the guest has not asked for yet, and takes INIT and SIPI before it
  /// shows its state.
  init(_ page: kvm_lapic_state, base: UInt64, tscDeadline: UInt64, at now: VMInstant) {
    var registers = page.registers
    registers[Place.currentCount] = 0
    let isDeadline = registers[Place.timerVector] >> 17 & 3 == 2
    let countDown = CountDown(page, at: now)
    self.init(
      base: base, registers: registers, newErrors: 0, tscDeadline: isDeadline ? tscDeadline : 0,
      timerStart: countDown.start, timerIsCounting: countDown.isCounting, pendingINIT: false,
      pendingSIPI: nil)
  }

  /// KVM's form.
  func page(at now: VMInstant) -> kvm_lapic_state {
    var registers = registers
    registers[Place.currentCount] = 0
    let initial = registers[Place.initialCount]
    let shift = Self.shift(registers[Place.divide])
    let period = UInt64(initial) &<< shift
    if timerIsCounting, period > 0 {
      // A count that has run out and was not noticed runs out at once.
      let counted = min(now.nanoseconds &- timerStart, period - 1)
      registers[Place.currentCount] = max(
        1, initial &- UInt32(truncatingIfNeeded: counted >> shift))
    }
    var page = kvm_lapic_state()
    withUnsafeMutableBytes(of: &page) { bytes in
      for (index, value) in registers.prefix(64).enumerated() {
        bytes.storeBytes(of: value, toByteOffset: index * 16, as: UInt32.self)
      }
    }
    return page
  }
}

extension kvm_lapic_state {
  /// The registers, in steps of 16 bytes.
  fileprivate var registers: [UInt32] {
    withUnsafeBytes(of: self) { bytes in
      (0..<64).map { bytes.loadUnaligned(fromByteOffset: $0 * 16, as: UInt32.self) }
    }
  }
}
