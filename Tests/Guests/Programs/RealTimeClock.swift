import Arch

/// The MC146818: its calendar, its memory, and its three interrupts.
enum RealTimeClock {
  static func run() -> Never {
    expect("its battery is good", read(0x0d), is: 0x80)
    settle()
    let binary = read(0x0b) & 4 != 0
    func field(_ register: UInt8) -> UInt64 {
      let value = UInt64(read(register))
      return binary ? value : value >> 4 * 10 + value & 15
    }
    let year = field(9)
    line(
      "note ", .decimal(2000 + year), "-", .decimal(field(8)), "-", .decimal(field(7)), " ",
      .decimal(field(4)), ":", .decimal(field(2)), ":", .decimal(field(0)))
    expect("month", field(8), in: 1...12)
    expect("day", field(7), in: 1...31)
    expect("hour", field(4), in: 0...23)
    expect("minute", field(2), in: 0...59)
    expect("second", field(0), in: 0...60)
    let old = read(0x70)
    write(0x70, 0xa5)
    expect("its memory keeps a byte", read(0x70), is: 0xa5)
    write(0x70, old)

    // Interrupts through the slave PIC.
    LocalAPIC.enable(acceptsPIC: true)
    PIC.open(mask: 0xfefb)
    set_handler(PIC.vector + 8) { _ in
      causes.value |= UInt64(read(0x0c))
      count.value += 1
      PIC.end(8)
    }
    interrupts_on()
    write(0x0a, 0x26)
    write(0x0b, 0x42 | read(0x0b) & 4)
    _ = read(0x0c)
    let start = Time.microseconds
    expect("periodic interrupts come", Time.wait(upTo: 2000) { count.value >= 50 })
    let passed = Time.microseconds - start
    expect("not before their time", passed > 50 * 976 * 9 / 10)
    note("50 periods of 977 microseconds took", .decimal(passed))
    expect("and say why they came", causes.value & 0xc0, is: 0xc0)

    // The update of each second, and the alarm of every second.
    // The handler selects a register too, which would take what is meant for another.
    interrupts_off()
    for register: UInt8 in [1, 3, 5] { write(register, 0xff) }
    write(0x0b, 0x32 | read(0x0b) & 4)
    _ = read(0x0c)
    causes.value = 0
    interrupts_on()
    expect(
      "update and alarm come within a second", Time.wait(upTo: 2500) { causes.value & 0x30 == 0x30 }
    )
    interrupts_off()
    write(0x0b, 0x02 | read(0x0b) & 4)
    finish()
  }

  /// Waits out an update in progress.
  private static func settle() { while read(0x0a) & 0x80 != 0 { spin_pause() } }
}

private func read(_ register: UInt8) -> UInt8 {
  out8(0x70, register)
  return in8(0x71)
}

private func write(_ register: UInt8, _ value: UInt8) {
  out8(0x70, register)
  out8(0x71, value)
}

private var causes: Word { Word(0) }
private var count: Word { Word(1) }
