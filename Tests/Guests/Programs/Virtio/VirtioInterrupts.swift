import Arch

/// Interrupts of virtio devices: all they do is to wake the processor.
///
/// A level-triggered one is masked as it comes, since only the driver knows how to quiet its device, and a device that
/// was led astray may not be quieted at all. A slow beat of the local APIC's timer ends any sleep.
enum VirtioInterrupts {
  private static var beatVector: UInt8 { 0x41 }
  /// That of messages; pins have those from `pinVector` on.
  static var messageVector: UInt8 { 0x42 }
  private static var pinVector: UInt8 { 0x50 }

  /// How often each has come.
  static var beats: Word { Word(40) }
  static var messages: Word { Word(41) }
  static var levels: Word { Word(42) }

  static func open() {
    LocalAPIC.enable()
    PIC.open(mask: 0xffff)
    set_handler(beatVector) { _ in
      VirtioInterrupts.beats.value += 1
      LocalAPIC.end()
    }
    set_handler(messageVector) { _ in
      VirtioInterrupts.messages.value += 1
      LocalAPIC.end()
    }
    // Periodic, at a rate that need not be known: some milliseconds.
    LocalAPIC.write(LocalAPIC.Register.divide, 3)
    LocalAPIC.write(LocalAPIC.Register.timer, 0x2_0000 | UInt32(beatVector))
    LocalAPIC.write(LocalAPIC.Register.initialCount, 500_000)
  }

  static func open(pin: UInt64) {
    set_handler(pinVector + UInt8(truncatingIfNeeded: pin)) { frame in
      VirtioInterrupts.levels.value += 1
      IOAPIC.mask((frame?.pointee.vector ?? 0) - UInt64(VirtioInterrupts.pinVector))
      LocalAPIC.end()
    }
    rearm(pin: pin)
  }

  static func rearm(pin: UInt64) {
    IOAPIC.route(pin, to: pinVector + UInt8(truncatingIfNeeded: pin), level: true)
  }

  /// What a device writes, and where, to send `messageVector` to this processor (SDM vol. 3A §11.11).
  static var messageAddress: UInt64 { 0xfee0_0000 | UInt64(LocalAPIC.id) << 12 }
}
