import Arch

/// The local APIC through its page (SDM vol. 3A §11.4).
enum LocalAPIC {
  private static var base: UInt64 { 0xfee0_0000 }
  enum Register {
    static var id: UInt64 { 0x20 }
    static var version: UInt64 { 0x30 }
    static var taskPriority: UInt64 { 0x80 }
    static var processorPriority: UInt64 { 0xa0 }
    static var endOfInterrupt: UInt64 { 0xb0 }
    static var spurious: UInt64 { 0xf0 }
    static var inService: UInt64 { 0x100 }
    static var request: UInt64 { 0x200 }
    static var commandLow: UInt64 { 0x300 }
    static var commandHigh: UInt64 { 0x310 }
    static var timer: UInt64 { 0x320 }
    static var lint0: UInt64 { 0x350 }
    static var lint1: UInt64 { 0x360 }
    static var initialCount: UInt64 { 0x380 }
    static var currentCount: UInt64 { 0x390 }
    static var divide: UInt64 { 0x3e0 }
  }

  static func read(_ register: UInt64) -> UInt32 { load32(base + register) }
  static func write(_ register: UInt64, _ value: UInt32) { store32(base + register, value) }

  static var id: UInt32 { read(Register.id) >> 24 }

  /// Software-enabled, everything masked but what `acceptsPIC` says.
  static func enable(acceptsPIC: Bool = false) {
    write(Register.spurious, 0x1ff)
    write(Register.taskPriority, 0)
    write(Register.timer, 0x1_0000)
    write(Register.lint0, acceptsPIC ? 0x700 : 0x1_0000)
    write(Register.lint1, 0x1_0000)
  }

  static func end() { write(Register.endOfInterrupt, 0) }

  /// Whether the bit of `vector` is set in IRR or ISR.
  static func has(_ vector: UInt8, in register: UInt64) -> Bool {
    read(register + UInt64(vector >> 5) * 16) >> UInt32(vector & 31) & 1 != 0
  }

  static func send(_ command: UInt32, to destination: UInt32 = 0) {
    while read(Register.commandLow) & 0x1000 != 0 { spin_pause() }
    write(Register.commandHigh, destination << 24)
    write(Register.commandLow, command)
  }

  /// Delivery modes and shorthands of the interrupt command register (§11.6.1).
  enum Command {
    static var fixed: UInt32 { 0x4000 }
    static var nmi: UInt32 { 0x4400 }
    static var initialize: UInt32 { 0x4500 }
    static var startUp: UInt32 { 0x4600 }
    static var toSelf: UInt32 { 1 << 18 }
    static var toAll: UInt32 { 2 << 18 }
    static var toOthers: UInt32 { 3 << 18 }
  }
}

/// The I/O APIC at its usual place (82093AA data sheet §3).
enum IOAPIC {
  private static var base: UInt64 { 0xfec0_0000 }
  static func read(_ register: UInt32) -> UInt32 {
    store32(base, register)
    return load32(base + 0x10)
  }
  static func write(_ register: UInt32, _ value: UInt32) {
    store32(base, register)
    store32(base + 0x10, value)
  }
  static var pins: UInt32 { read(1) >> 16 & 0xff + 1 }

  static func route(_ pin: UInt64, to vector: UInt8, level: Bool = false, masked: Bool = false) {
    let register = 0x10 + 2 * UInt32(truncatingIfNeeded: pin)
    write(register, 0x1_0000)
    write(register + 1, LocalAPIC.id << 24)
    write(register, UInt32(vector) | (level ? 0x8000 : 0) | (masked ? 0x1_0000 : 0))
  }
  static func entry(_ pin: UInt64) -> UInt32 { read(0x10 + 2 * UInt32(truncatingIfNeeded: pin)) }
  static func mask(_ pin: UInt64) { write(0x10 + 2 * UInt32(truncatingIfNeeded: pin), 0x1_0000) }
}

/// The pair of 8259As, its vectors moved out of the exceptions' way.
enum PIC {
  static var vector: UInt8 { 0x30 }

  static func open(mask: UInt16) {
    out8(0x20, 0x11)
    out8(0xa0, 0x11)
    out8(0x21, vector)
    out8(0xa1, vector + 8)
    out8(0x21, 4)
    out8(0xa1, 2)
    out8(0x21, 1)
    out8(0xa1, 1)
    self.mask(mask)
  }

  static func mask(_ mask: UInt16) {
    out8(0x21, UInt8(truncatingIfNeeded: mask))
    out8(0xa1, UInt8(truncatingIfNeeded: mask >> 8))
  }

  static func end(_ interrupt: UInt8) {
    if interrupt >= 8 { out8(0xa0, 0x20) }
    out8(0x20, 0x20)
  }

  /// IRR of both; `inService`: ISR.
  static func read(inService: Bool) -> UInt16 {
    out8(0x20, inService ? 0x0b : 0x0a)
    out8(0xa0, inService ? 0x0b : 0x0a)
    return UInt16(in8(0x20)) | UInt16(in8(0xa0)) << 8
  }
}

/// Channel 0 of the 8254, which counts 1 193 182 times a second.
enum PIT {
  static var frequency: UInt64 { 1_193_182 }

  /// Mode 2: an interrupt every `count` ticks. Mode 0: one, after that many.
  static func start(mode: UInt8, count: UInt16) {
    out8(0x43, 0x30 | mode << 1)
    out8(0x40, UInt8(truncatingIfNeeded: count))
    out8(0x40, UInt8(truncatingIfNeeded: count >> 8))
  }

  /// Mode 0 with its count never written: no interrupt.
  static func stop() { out8(0x43, 0x30) }

  static var count: UInt16 {
    out8(0x43, 0)
    let low = in8(0x40)
    return UInt16(low) | UInt16(in8(0x40)) << 8
  }
}
