import Arch

/// All processors start by INIT and start-up IPIs, each once, each with its own identity.
enum ProcessorStart {
  static func run() -> Never {
    let count = Processors.count
    note("processors", .decimal(count))
    Processors.start()
    expect("all others came up", Processors.alive.value, is: count - 1)
    expect("the first is the bootstrap processor", read_msr(0x1b) & 0x900, is: 0x900)

    Processors.run(on: count) { number in
      locked_bit_set(identities.address, UInt64(LocalAPIC.id)) == 0
        ? locked_increment(distinct.address) : ()
      if UInt64(cpuid(1, 0).ebx >> 24) == UInt64(LocalAPIC.id) {
        locked_increment(agreeing.address)
      }
      if read_msr(0x1b) & 0x100 != 0 { locked_increment(bootstrap.address) }
    }
    expect("each has an APIC ID of its own", distinct.value, is: count)
    expect("CPUID agrees with it", agreeing.value, is: count)
    expect("one is the bootstrap processor", bootstrap.value, is: 1)
    nonisolated(unsafe) var listed: UInt64 = 0
    ACPI.forEachController { entry in
      if load8(entry) == 0, load32(entry + 4) & 1 != 0 { listed |= 1 << UInt64(load8(entry + 3)) }
    }
    expect("and the MADT lists just these", identities.value, is: listed)

    for round in UInt64(1)...20 {
      Processors.run(on: count) { _ in locked_increment(turns.address) }
      if turns.value != round * count { return fail("a round lost a processor") }
    }
    expect("twenty rounds of work for all", turns.value, is: 20 * count)

    // Registers are a processor's own.
    Processors.run(on: count) { number in
      write_msr(0xc000_0102, number << 32 | 0x5a)
      write_cr2(number << 12)
      Time.rest()
      if read_msr(0xc000_0102) == number << 32 | 0x5a, read_cr2() == number << 12 {
        locked_increment(own.address)
      }
    }
    expect("KERNEL_GS_BASE and CR2 are each processor's own", own.value, is: count)

    // Their time-stamp counters tell one time.
    if count > 1 {
      Processors.begin(on: 2) { _ in
        for round in UInt64(1)...200 {
          while ping.value != round { spin_pause() }
          answer.value = read_tsc()
          pong.value = round
        }
      }
      var backwards: UInt64 = 0
      for round in UInt64(1)...200 {
        let before = read_tsc()
        ping.value = round
        while pong.value != round { spin_pause() }
        if answer.value < before || answer.value > read_tsc() { backwards += 1 }
      }
      Processors.join()
      expect("time-stamp counters agree between processors", backwards, is: 0)
      expect("a second INIT and start-up begin anew", restarted())
    }
    finish()
  }

  /// The others are thrown out of their work, and start again from real mode.
  private static func restarted() -> Bool {
    let others = Processors.alive.value
    Processors.alive.value = 0
    Processors.start()
    return Processors.alive.value == others
  }
}

private var identities: Word { Word(0) }
private var distinct: Word { Word(1) }
private var agreeing: Word { Word(2) }
private var bootstrap: Word { Word(3) }
private var turns: Word { Word(4) }
private var own: Word { Word(5) }
private var ping: Word { Word(6) }
private var pong: Word { Word(7) }
private var answer: Word { Word(8) }
