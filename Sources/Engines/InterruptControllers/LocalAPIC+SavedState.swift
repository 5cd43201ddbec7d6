package import ArchitectureX86
import Inspection
import Work

extension X86.APIC {
  /// The state without what a host's kernel lets a guest set, or shows, and no local APIC here can hold: another ID,
  /// reserved bits, and vectors below 16 (SDM Vol. 3A §11.5.2).
  package func legal(id: UInt32) -> X86.APIC {
    var legal = self
    func change(_ register: LocalAPIC.Register, _ change: (inout UInt32) -> Void) {
      change(&legal.registers[Int(register.rawValue)])
    }
    change(.localID) { $0 = APICBase(raw: base).isX2APIC ? id : id << 24 }
    change(.taskPriority) { $0 &= 0xff }
    change(.spuriousInterruptVector) { $0 &= SpuriousInterruptVector.writable }
    change(.errorStatus) { $0 &= LocalAPIC.Errors.all.rawValue }
    for source in LocalVector.Source.allCases {
      change(source.register) { $0 &= source.writable | LocalVector.remoteIRR }
    }
    for place in stride(from: LocalAPIC.Register.vectorSets.lowerBound, to: 0x28, by: 8) {
      legal.registers[Int(place)] &= ~0xffff
    }
    return legal
  }

  /// Level-triggered vectors that are requested or in service.
  package var levelVectors: [UInt8] {
    let word = { (place: UInt8, vector: UInt8) in registers[Int(place + vector / 32)] }
    return (UInt8(16)...255).filter { vector in
      (word(0x10, vector) | word(0x20, vector)) & word(0x18, vector) & 1 << UInt32(vector % 32) != 0
    }
  }

  /// Whether the end of an interrupt here is none at the I/O APICs, which the guest tells themselves.
  package var suppressesEOIBroadcast: Bool {
    SpuriousInterruptVector(
      raw: registers[Int(LocalAPIC.Register.spuriousInterruptVector.rawValue)]
    ).suppressesEOIBroadcast
  }
}

extension LocalAPIC.State {
  /// The state as it leaves the engine.
  var saved: X86.APIC {
    var registers = [UInt32](repeating: 0, count: Self.savedCount)
    func store(_ register: LocalAPIC.Register, _ value: UInt32) {
      registers[Int(register.rawValue)] = value
    }
    store(.localID, base.isX2APIC ? id : id << 24)
    store(.version, Self.version)
    store(.taskPriority, UInt32(taskPriority))
    store(.processorPriority, UInt32(processorPriority))
    store(.logicalDestination, base.isX2APIC ? x2LogicalID : logicalDestination)
    store(.destinationFormat, destinationFormat)
    store(.spuriousInterruptVector, spurious.raw)
    store(.errorStatus, errorStatus.rawValue)
    store(.interruptCommandLow, command.low)
    store(.interruptCommandHigh, command.destination)
    store(.initialCount, timer.initialCount)
    store(.divideConfiguration, timer.divideConfiguration)
    for source in LocalVector.Source.allCases { store(source.register, self[source].raw) }
    for place in LocalAPIC.Register.vectorSets { registers[Int(place)] = readVectorSet(place) }
    return X86.APIC(
      base: base.raw, registers: registers, newErrors: newErrors.rawValue,
      tscDeadline: timer.deadline, timerStart: timer.start, timerIsCounting: timer.isCounting,
      pendingINIT: initialisePending, pendingSIPI: startUpVector)
  }

  /// Takes over a saved state; answers why not, if no APIC can be in it.
  mutating func restore(_ saved: X86.APIC) -> String? {
    let base = APICBase(raw: saved.base)
    guard base.isValid(addressBits: addressBits) else {
      return "IA32_APIC_BASE has an illegal value"
    }
    guard saved.registers.count == Self.savedCount else {
      return "it has another number of registers"
    }
    func load(_ register: LocalAPIC.Register) -> UInt32 { saved.registers[Int(register.rawValue)] }
    guard load(.localID) == (base.isX2APIC ? id : id << 24) else { return "its ID is another's" }

    var next = self
    next.base = base
    guard let priority = UInt8(exactly: load(.taskPriority)) else {
      return "the task priority is out of range"
    }
    next.taskPriority = priority
    next.logicalDestination = base.isX2APIC ? 0 : load(.logicalDestination) & 0xff00_0000
    next.destinationFormat = load(.destinationFormat) | 0x0fff_ffff
    next.spurious.raw = load(.spuriousInterruptVector)
    guard next.spurious.raw & ~SpuriousInterruptVector.writable == 0 else {
      return "the spurious-interrupt vector register has reserved bits set"
    }
    next.errorStatus = LocalAPIC.Errors(rawValue: load(.errorStatus))
    next.newErrors = LocalAPIC.Errors(rawValue: saved.newErrors)
    guard next.errorStatus.union(next.newErrors).isSubset(of: .all) else {
      return "the error status register has reserved bits set"
    }
    next.command.low = load(.interruptCommandLow) & InterruptCommand.writableLow
    next.command.destination = load(.interruptCommandHigh)
    for source in LocalVector.Source.allCases {
      next[source] = LocalVector(raw: load(source.register))
      guard next[source].raw & ~(source.writable | LocalVector.remoteIRR) == 0 else {
        return "a local vector has reserved bits set"
      }
    }
    for place in LocalAPIC.Register.vectorSets {
      next.setVectorSet(place, saved.registers[Int(place)])
    }
    guard (next.inService[word: 0] | next.requested[word: 0]) & 0xffff == 0 else {
      return "an illegal vector is requested or in service"
    }
    next.timer.mode = next[.timer].timerMode
    next.timer.initialCount = load(.initialCount)
    next.timer.divideConfiguration = load(.divideConfiguration) & 0b1011
    next.timer.start = saved.timerStart
    next.timer.isCounting = saved.timerIsCounting && next.timer.initialCount != 0
    next.timer.deadline = next.timer.mode == .tscDeadline ? saved.tscDeadline : 0
    next.initialisePending = saved.pendingINIT
    next.startUpVector = saved.pendingSIPI
    self = next
    return nil
  }

  /// Up to the last register but the self-IPI, which holds nothing.
  private static let savedCount = 64

  func inspect(_ node: inout Node, at now: VMInstant) {
    node.field("mode", !base.isEnabled ? "disabled" : base.isX2APIC ? "x2APIC" : "xAPIC")
    node.hex("base", base.raw)
    node.field("id", id)
    node.field("bootstrap", base.isBootstrap)
    node.field("softwareEnabled", spurious.isSoftwareEnabled)
    node.hex("taskPriority", taskPriority)
    node.hex("processorPriority", processorPriority)
    node.hex("logicalDestination", base.isX2APIC ? x2LogicalID : logicalDestination)
    node.field("requested", requested.vectors)
    node.field("inService", inService.vectors)
    node.field("nmiPending", nmiPending)
    node.hex("errorStatus", errorStatus.rawValue)
    node.hex("command", command.raw)
    node.child("localVectors") { node in
      for source in LocalVector.Source.allCases { node.hex("\(source)", self[source].raw) }
    }
    node.child("timer") { node in
      node.field("mode", timer.mode)
      node.field("initialCount", timer.initialCount)
      node.field("currentCount", timer.currentCount(at: now))
      node.hex("divideConfiguration", timer.divideConfiguration)
      node.field("deadline", timer.deadline)
      node.field("nextExpiry", timer.nextExpiry?.nanoseconds)
    }
  }
}
