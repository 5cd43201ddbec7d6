import ArchitectureX86
import Kit

/// A state that a processor may be in, as chance has it.
struct RandomState {
  private(set) var state: X86.State
  private var chance: Chance

  /// - Parameter powerOn: what an engine starts with, for what is not made up.
  init(seed: UInt64, _ powerOn: X86.State) {
    state = powerOn
    chance = Chance(seed: seed)
    state.enterLongMode(at: Rig.Place.code)
    state.registers = (0..<16).map { _ in chance.value() }
    state.rflags = 2 | chance.next() & 0x24_0ed5
    switch chance.number(below: 4) {
    case 0: enterRealMode()
    case 1: enterProtectedMode()
    case 2: enterUserMode()
    default: break
    }
    state.cr2 = chance.next() >> 17
    state.debug =
      (0..<4).map { _ in chance.next() >> 17 } + [0xffff_0ff0 | chance.number(below: 16), 0x400]
    setVectors()
    setMSRs()
    state.tsc = chance.next() >> 8
    state.apic = apic(powerOn.apic)
    state.cr8 = state.apic.map { UInt64($0.registers[8] >> 4) } ?? 0
    switch chance.number(below: 4) {
    case 0: state.activity = .halted
    case 1: state.activity = .waitForSIPI
    default: break
    }
    if state.activity == .active {
      state.events.interruptShadow =
        state.rflags & X86.Flags.interrupt != 0 && chance.number(below: 2) == 0
      state.events.nmiPending = chance.number(below: 4) == 0
      state.events.nmiBlocked = chance.number(below: 4) == 0
    }
  }

  private mutating func enterRealMode() {
    state.cr0 = X86.CR0.extensionType
    state.cr4 = 0
    state.efer = 0
    state.rip = chance.number(below: 0x1_0000)
    state.segments = X86.SegmentRegister.allCases.map { segment in
      let selector = UInt16(chance.number(below: 0x1_0000))
      return X86.Segment(
        selector: selector, base: UInt64(selector) << 4, limit: 0xffff,
        attributes: segment == .cs ? 0x9b : 0x93)
    }
    state.idtr = X86.Table(base: 0, limit: 0x3ff)
  }

  private mutating func enterProtectedMode() {
    state.cr0 = X86.CR0.extensionType | X86.CR0.protection | X86.CR0.numericError
    state.cr4 = 0
    state.efer = 0
    state.rip = chance.number(below: 0x1_0000_0000)
    state.segments = X86.SegmentRegister.allCases.map {
      X86.Segment(
        selector: $0 == .cs ? 8 : 16, base: chance.number(below: 16) << 16, limit: 0xffff_ffff,
        attributes: $0 == .cs ? 0xc09b : 0xc093)
    }
  }

  private mutating func enterUserMode() {
    state.rip = chance.next() >> 18
    state.segments[X86.SegmentRegister.cs.rawValue] = X86.Segment(
      selector: 0x33, base: 0, limit: 0xffff_ffff, attributes: 0xa0fb)
    state.segments[X86.SegmentRegister.ss.rawValue] = X86.Segment(
      selector: 0x2b, base: 0, limit: 0xffff_ffff, attributes: 0xc0f3)
    for segment in [X86.SegmentRegister.ds, .es, .fs, .gs] {
      state.segments[segment.rawValue] = X86.Segment(
        selector: 0x2b, base: segment == .fs || segment == .gs ? chance.next() >> 18 : 0,
        limit: 0xffff_ffff, attributes: 0xc0f3)
    }
  }

  private mutating func setVectors() {
    for at in 160..<416 { state.xsave[at] = UInt8(truncatingIfNeeded: chance.next()) }
    // FCW, FSW with its stack's top, and a tag word that calls all registers full or some of them empty.
    state.xsave[0] = 0x7f
    state.xsave[1] = UInt8(chance.number(below: 16))
    state.xsave[3] = UInt8(chance.number(below: 8) << 3)
    state.xsave[4] = UInt8(truncatingIfNeeded: chance.next())
    for register in 0..<8 {
      for byte in 0..<7 {
        state.xsave[32 + register * 16 + byte] = UInt8(truncatingIfNeeded: chance.next())
      }
      state.xsave[32 + register * 16 + 7] = 0x80
      state.xsave[32 + register * 16 + 8] = UInt8(truncatingIfNeeded: chance.next())
      state.xsave[32 + register * 16 + 9] = 0x3f
    }
    state.xsave[24] = 0x80 | UInt8(chance.number(below: 64))
    state.xsave[25] = 0x1f | UInt8(chance.number(below: 4) << 5)
  }

  private mutating func setMSRs() {
    let values: [UInt32: UInt64] = [
      X86.MSR.star: chance.next(), X86.MSR.lstar: chance.next() >> 17,
      X86.MSR.cstar: chance.next() >> 17, X86.MSR.syscallMask: chance.next() >> 32,
      X86.MSR.kernelGSBase: chance.next() >> 17, X86.MSR.sysenterESP: chance.next() >> 17,
      X86.MSR.sysenterEIP: chance.next() >> 17,
    ]
    for index in state.msrs.indices {
      if let value = values[state.msrs[index].index] { state.msrs[index].value = value }
    }
  }

  private mutating func apic(_ powerOn: X86.APIC?) -> X86.APIC? {
    guard var apic = powerOn else { return nil }
    apic.registers[0x08] = UInt32(chance.number(below: 16)) << 4
    apic.registers[0x0f] = 0x100 | UInt32(chance.number(below: 256))
    apic.registers[0x0d] = UInt32(chance.number(below: 256)) << 24
    // Requested and in service: a vector each, at most.
    func set(_ place: Int) {
      let vector = 16 + Int(chance.number(below: 240))
      apic.registers[place + vector / 32] |= 1 << UInt32(vector % 32)
    }
    if chance.number(below: 2) == 0 { set(0x20) }
    if chance.number(below: 2) == 0 { set(0x10) }
    apic.registers[0x32] = UInt32(chance.number(below: 2)) << 17 | 0x40
    apic.registers[0x3e] = 0b1011
    if chance.number(below: 2) == 0 {
      apic.registers[0x38] = 0x1000_0000 + UInt32(chance.number(below: 0xe000_0000))
      apic.timerIsCounting = true
    }
    return apic
  }
}
