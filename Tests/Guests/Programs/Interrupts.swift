import Arch

/// Interrupts from request to end: the PICs, the I/O APIC, IPIs, priorities, masks, NMIs.
enum Interrupts {
  static func run() -> Never {
    pic()
    ioAPIC()
    level()
    toSelf()
    priorities()
    shadows()
    nonMaskable()
    if Processors.count > 1 { betweenProcessors() } else { skip("no second processor") }
    finish()
  }

  private static func pic() {
    LocalAPIC.enable(acceptsPIC: true)
    PIC.open(mask: 0xffff)
    out8(0x21, 0x5a)
    expect("the PIC's mask reads back", in8(0x21), is: 0x5a)
    out8(0x21, 0xff)
    set_handler(PIC.vector) { _ in
      inService.value = UInt64(PIC.read(inService: true))
      count.value += 1
      PIC.end(0)
    }
    PIT.start(mode: 0, count: 1200)
    expect(
      "a masked request shows in IRR", Time.wait(upTo: 1000) { PIC.read(inService: false) & 1 == 1 }
    )
    interrupts_window()
    expect("and does not interrupt", count.value, is: 0)
    PIC.mask(0xfffe)
    expect("unmasked, it does", arrives(1))
    expect("in service while handled", inService.value, is: 1)
    expect("not after the end of interrupt", PIC.read(inService: true) & 1, is: 0)
    expect("nor requested", PIC.read(inService: false) & 1, is: 0)
    // Without an end of interrupt the next one waits.
    count.value = 0
    set_handler(PIC.vector) { _ in count.value += 1 }
    PIT.start(mode: 2, count: 1200)
    expect("the first comes", arrives(1))
    sleepALittle()
    expect("the next waits for the end of interrupt", count.value, is: 1)
    PIC.end(0)
    expect("and then comes", arrives(2))
    PIT.stop()
    PIC.mask(0xffff)
    PIC.end(0)
    clear_handler(PIC.vector)
  }

  private static func ioAPIC() {
    LocalAPIC.enable()
    note("I/O APIC pins", .decimal((IOAPIC.read(1) >> 16 & 0xff) + 1))
    let pin = ACPI.pin(ofISA: 0)
    count.value = 0
    set_handler(0x50) { _ in
      count.value += 1
      LocalAPIC.end()
    }
    IOAPIC.route(pin, to: 0x50, masked: true)
    expect("an entry reads back", IOAPIC.entry(pin) & 0x1_ffff, is: 0x1_0050)
    PIT.start(mode: 2, count: 1200)
    sleepALittle()
    expect("a masked entry does not interrupt", count.value, is: 0)
    IOAPIC.route(pin, to: 0x50)
    expect("an edge interrupts, again and again", arrives(5))
    PIT.stop()
    IOAPIC.mask(pin)
    interrupts_window()
    count.value = 0
    PIT.start(mode: 0, count: 100)
    sleepALittle()
    expect("masked again, no more", count.value, is: 0)
    PIT.stop()
    clear_handler(0x50)
  }

  /// A level comes again until its source is quiet; the HPET can drive one.
  private static func level() {
    guard let table = ACPI.hpet else { return skip("no HPET") }
    let hpet = load64(table + 44)
    let routes = load32(hpet + 0x104)
    guard routes & 0xff_fff0 != 0 else { return skip("the HPET has no pin of its own") }
    let pin = UInt64(31 - (routes & 0xff_fff0).leadingZeroBitCount)
    address.value = hpet
    entry.value = pin
    count.value = 0
    set_handler(0x51) { _ in
      count.value += 1
      if remote.value == 0 { remote.value = UInt64(IOAPIC.entry(entry.value)) }
      // The first two times the source stays as it is.
      if count.value == 3 { store64(address.value + 0x20, 1) }
      LocalAPIC.end()
    }
    store64(hpet + 0x10, 0)
    store64(hpet + 0xf0, 0)
    store64(hpet + 0x20, 7)
    IOAPIC.route(pin, to: 0x51, level: true)
    store64(hpet + 0x100, 0x6 | pin << 9)
    store64(hpet + 0x108, 1000)
    store64(hpet + 0x10, 1)
    expect("a level interrupts until its source is quiet", arrives(3))
    expect("remote IRR is set meanwhile", remote.value & 0x4000, is: 0x4000)
    sleepALittle()
    expect("and then no more", count.value, is: 3)
    expect("remote IRR is clear", IOAPIC.entry(pin) & 0x4000, is: 0)
    store64(hpet + 0x100, 0)
    store64(hpet + 0x10, 0)
    IOAPIC.mask(pin)
    clear_handler(0x51)
  }

  private static func toSelf() {
    count.value = 0
    set_handler(0x60) { _ in
      count.value += 1
      inService.value = LocalAPIC.has(0x60, in: LocalAPIC.Register.inService) ? 1 : 0
      LocalAPIC.end()
    }
    LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toSelf | 0x60)
    expect("an IPI to itself waits in IRR", LocalAPIC.has(0x60, in: LocalAPIC.Register.request))
    expect("while interrupts are off", count.value, is: 0)
    interrupts_window()
    expect("and comes when they are on", count.value, is: 1)
    expect("in service while handled", inService.value, is: 1)
    LocalAPIC.send(LocalAPIC.Command.fixed | 0x60, to: LocalAPIC.id)
    interrupts_window()
    expect("an IPI to its own APIC ID", count.value, is: 2)
    LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toAll | 0x60)
    interrupts_window()
    expect("an IPI to all", count.value, is: 3)
    LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toSelf | 0x60)
    LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toSelf | 0x60)
    interrupts_window()
    interrupts_window()
    expect("two requests before the first is taken are one", count.value, is: 4)
  }

  private static func priorities() {
    sequence.value = 0
    for vector: UInt8 in [0x61, 0x72, 0x83] {
      set_handler(vector) { frame in
        sequence.value = sequence.value << 8 | (frame?.pointee.vector ?? 0)
        LocalAPIC.end()
      }
    }
    for vector: UInt32 in [0x72, 0x61, 0x83] {
      LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toSelf | vector)
    }
    for _ in 0..<3 { interrupts_window() }
    expect("the highest vector goes first", sequence.value, is: 0x83_7261)

    sequence.value = 0
    write_cr8(7)
    expect("CR8 is the task priority", LocalAPIC.read(LocalAPIC.Register.taskPriority), is: 0x70)
    for vector: UInt32 in [0x72, 0x61, 0x83] {
      LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toSelf | vector)
    }
    for _ in 0..<3 { interrupts_window() }
    expect("the task priority keeps its class and lower ones out", sequence.value, is: 0x83)
    write_cr8(0)
    for _ in 0..<3 { interrupts_window() }
    expect("until it is lowered", sequence.value, is: 0x83_7261)

    // A handler with interrupts on is interrupted only by a higher class.
    sequence.value = 0
    set_handler(0x72) { _ in
      LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toSelf | 0x61)
      LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toSelf | 0x83)
      for _ in 0..<3 { interrupts_window() }
      sequence.value = sequence.value << 8 | 0x72
      LocalAPIC.end()
    }
    LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toSelf | 0x72)
    for _ in 0..<3 { interrupts_window() }
    expect("a handler gives way to a higher class alone", sequence.value, is: 0x83_7261)
    for vector: UInt8 in [0x61, 0x72, 0x83] { clear_handler(vector) }
  }

  private static func shadows() {
    count.value = 0
    LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toSelf | 0x60)
    for _ in 0..<100 { interrupts_shadowed() }
    expect("STI covers the next instruction", count.value, is: 0)
    wait_for_interrupt()
    expect("STI and HLT: it wakes", count.value, is: 1)
    clear_handler(0x60)
  }

  private static func nonMaskable() {
    count.value = 0
    depth.value = 0
    deepest.value = 0
    set_handler(2) { _ in
      count.value += 1
      depth.value += 1
      if depth.value > deepest.value { deepest.value = depth.value }
      if count.value == 1 { LocalAPIC.send(LocalAPIC.Command.nmi, to: LocalAPIC.id) }
      Time.rest()
      depth.value -= 1
    }
    LocalAPIC.send(LocalAPIC.Command.nmi, to: LocalAPIC.id)
    expect("an NMI comes with interrupts off", Time.wait(upTo: 1000) { count.value >= 1 })
    expect("the second after the first", Time.wait(upTo: 1000) { count.value == 2 })
    expect("not inside it: IRET ends the blocking", deepest.value, is: 1)
    clear_handler(2)
  }

  private static func betweenProcessors() {
    Processors.start()
    let others = Processors.count - 1
    count.value = 0
    set_handler(0x90) { _ in
      locked_increment(count.address)
      LocalAPIC.end()
    }
    LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toOthers | 0x90)
    expect("an IPI wakes all others", Time.wait(upTo: 2000) { count.value == others })
    for _ in 0..<100 {
      let before = count.value
      LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toOthers | 0x90)
      _ = Time.wait(upTo: 1000) { count.value == before + others }
    }
    expect("a hundred times", count.value, is: 101 * others)
    // An NMI reaches a processor that works with interrupts off.
    count.value = 0
    stop.value = 0
    set_handler(2) { _ in locked_increment(count.address) }
    Processors.begin(on: 2) { _ in while stop.value == 0 { spin_pause() } }
    LocalAPIC.send(LocalAPIC.Command.nmi | LocalAPIC.Command.toOthers)
    expect("an NMI reaches all others", Time.wait(upTo: 2000) { count.value == others })
    stop.value = 1
    Processors.join()
  }

  /// Lets interrupts in until `count` reaches `number`.
  private static func arrives(_ number: UInt64) -> Bool {
    Time.wait(upTo: 2000) {
      interrupts_window()
      return count.value >= number
    }
  }

  private static func sleepALittle() {
    let end = Time.microseconds + 10_000
    while Time.microseconds < end { interrupts_window() }
  }
}

private var count: Word { Word(0) }
private var inService: Word { Word(1) }
private var sequence: Word { Word(2) }
private var depth: Word { Word(3) }
private var deepest: Word { Word(4) }
private var address: Word { Word(5) }
private var entry: Word { Word(6) }
private var remote: Word { Word(7) }
private var stop: Word { Word(8) }
