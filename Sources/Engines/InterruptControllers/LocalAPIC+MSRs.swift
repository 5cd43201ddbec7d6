import ArchitectureX86
import Work

// MARK: - The registers that are MSRs
extension LocalAPIC.State {
  /// A write to IA32_APIC_BASE; `false`: the processor must refuse it. The bootstrap flag is read-only here.
  mutating func writeBase(_ value: UInt64) -> Bool {
    var next = APICBase(raw: value)
    guard next.isValid(addressBits: addressBits), base.mayBecome(next) else { return false }
    next.isBootstrap = base.isBootstrap
    if base.isEnabled, !next.isEnabled { softReset() }
    // The logical ID of x2APIC mode replaces LDR, and the command register starts anew (§11.12.5).
    if !base.isX2APIC, next.isX2APIC { command = InterruptCommand(raw: 0) }
    base = next
    return true
  }

  /// A write to IA32_TSC_DEADLINE.
  mutating func writeDeadline(_ value: UInt64, at now: VMInstant) -> Bool {
    timer.setDeadline(value)
    updateTimer(at: now)
    return true
  }

  /// Reads an x2APIC register by its place; `nil`: the processor must refuse it.
  ///
  /// - SeeAlso: Intel SDM Vol. 3A §11.12.1.2, Table 11-6 "Local APIC Register Address Map Supported by x2APIC".
  mutating func readX2(_ place: UInt8, at now: VMInstant) -> UInt64? {
    guard base.isX2APIC else { return nil }
    if LocalAPIC.Register.vectorSets.contains(place) { return UInt64(readVectorSet(place)) }
    switch LocalAPIC.Register(rawValue: place) {
    case nil, .endOfInterrupt, .selfIPI: return nil
    case .interruptCommandLow: return command.raw
    case .some(let register): return register.isMSR ? UInt64(read(register, at: now)) : nil
    }
  }

  /// Writes an x2APIC register; `false`: the processor must refuse it.
  mutating func writeX2(
    _ value: UInt64, _ place: UInt8, at now: VMInstant, _ effects: inout LocalAPIC.Effects
  ) -> Bool {
    guard base.isX2APIC, let register = LocalAPIC.Register(rawValue: place), register.isMSR,
      let writable = register.writable, value & ~writable == 0
    else { return false }
    if register == .interruptCommandLow {
      command.destination = UInt32(truncatingIfNeeded: value >> 32)
    }
    return write(UInt32(truncatingIfNeeded: value), to: register, at: now, &effects)
  }
}
