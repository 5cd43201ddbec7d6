import ArchitectureX86
import CKVM
import Work

// The local APIC between its two forms: the page of registers that KVM keeps, and `X86.APIC`.

extension X86.APIC {
  /// Places of registers, in steps of 16 bytes: SDM Vol. 3A Table 11-1.
  private enum Place {
    static let localID = 0x02
    static let inService = 0x10
    static let triggerMode = 0x18
    static let requested = 0x20
    static let timerVector = 0x32
    static let initialCount = 0x38
    static let currentCount = 0x39
    static let divide = 0x3e
  }

  /// The timer counts bus clocks of a nanosecond, in KVM as here.
  private static func shift(_ divide: UInt32) -> UInt64 {
    UInt64(((divide & 3 | divide >> 1 & 4) + 1) & 7)
  }

  /// Reads KVM's form.
  ///
  /// KVM keeps no record of errors that the guest has not asked for yet, and takes INIT and SIPI before it
  /// shows its state.
  init(_ page: kvm_lapic_state, base: UInt64, tscDeadline: UInt64, at now: VMInstant) {
    var registers = [UInt32](repeating: 0, count: 64)
    withUnsafeBytes(of: page) { bytes in
      for index in registers.indices {
        registers[index] = bytes.loadUnaligned(fromByteOffset: index * 16, as: UInt32.self)
      }
    }
    let initial = registers[Place.initialCount]
    let current = registers[Place.currentCount]
    let counted = UInt64(initial &- current) &<< Self.shift(registers[Place.divide])
    let isDeadline = registers[Place.timerVector] >> 17 & 3 == 2
    self.init(
      base: base, registers: registers, newErrors: 0, tscDeadline: isDeadline ? tscDeadline : 0,
      timerStart: now.nanoseconds &- counted,
      timerIsCounting: !isDeadline && initial != 0 && current != 0, pendingINIT: false,
      pendingSIPI: nil)
    self.registers[Place.currentCount] = 0
  }

  /// KVM's form.
  func page(at now: VMInstant) -> kvm_lapic_state {
    var registers = registers
    registers[Place.currentCount] = 0
    let initial = registers[Place.initialCount]
    let shift = Self.shift(registers[Place.divide])
    let period = UInt64(initial) &<< shift
    if timerIsCounting, period > 0 {
      let isPeriodic = registers[Place.timerVector] >> 17 & 3 == 1
      let elapsed = now.nanoseconds &- timerStart
      // A count that has run out but not been noticed runs out at once.
      let counted = isPeriodic ? elapsed % period : min(elapsed, period - 1)
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

  /// Level-triggered vectors that are requested or in service.
  var levelVectors: [UInt8] {
    (0..<256).compactMap { vector in
      let word = vector / 32
      let bit: UInt32 = 1 << UInt32(vector % 32)
      let isUnderWay = registers[Place.inService + word] | registers[Place.requested + word]
      return isUnderWay & registers[Place.triggerMode + word] & bit != 0 ? UInt8(vector) : nil
    }
  }
}
