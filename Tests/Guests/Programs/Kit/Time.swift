import Arch

/// Guest time by the ACPI power-management timer, 3.579545 MHz: the one clock that needs no setting up.
enum Time {
  static var frequency: UInt64 { 3_579_545 }
  nonisolated(unsafe) private static var port: UInt16 = 0
  nonisolated(unsafe) private static var last: UInt32 = 0
  nonisolated(unsafe) private static var passed: UInt64 = 0

  /// Ticks since the first call. Of the timer's bits only 24 are certain, so it is to be asked at least
  /// every 4 seconds.
  static var ticks: UInt64 {
    if port == 0 {
      guard let fadt = ACPI.fadt else { fail("no FADT") }
      port = UInt16(truncatingIfNeeded: load32(fadt + 76))
      last = in32(port) & 0xff_ffff
    }
    let now = in32(port) & 0xff_ffff
    passed += UInt64((now &- last) & 0xff_ffff)
    last = now
    return passed
  }

  static var microseconds: UInt64 { ticks * 1_000_000 / frequency }

  static func wait(microseconds: UInt64) {
    let end = self.microseconds + microseconds
    while self.microseconds < end { spin_pause() }
  }

  /// Waits until `holds`, at most so long; tells whether it came to hold.
  static func wait(upTo milliseconds: UInt64, until holds: () -> Bool) -> Bool {
    let end = microseconds + milliseconds * 1000
    while !holds() {
      if microseconds > end { return holds() }
      spin_pause()
    }
    return true
  }

  /// A moment without asking any clock, for whoever may not touch this one's state.
  static func rest() { for _ in 0..<1000 { spin_pause() } }
}
