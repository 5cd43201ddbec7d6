import Arch

/// The other processors: how they are started, and how work is given to all.
enum Processors {
  /// What each of them runs; the argument is its number, 0 for the first.
  typealias Work = @convention(c) (UInt64) -> Void

  /// How many there are, by the MADT.
  static var count: UInt64 {
    nonisolated(unsafe) var count: UInt64 = 0
    ACPI.forEachController { if load8($0) == 0, load32($0 + 4) & 1 != 0 { count += 1 } }
    return count
  }

  /// INIT, then twice start-up, to all but this one (SDM vol. 3A §9.4.4).
  static func start() {
    LocalAPIC.enable()
    set_handler(wakeVector) { _ in LocalAPIC.end() }
    copy_bytes(
      Layout.startup, address_of_startup_code(),
      address_of_startup_code_end() - address_of_startup_code())
    let others = count - 1
    if others == 0 { return }
    LocalAPIC.send(LocalAPIC.Command.initialize | LocalAPIC.Command.toOthers)
    Time.wait(microseconds: 10_000)
    for _ in 0..<2 {
      LocalAPIC.send(
        LocalAPIC.Command.startUp | LocalAPIC.Command.toOthers | UInt32(Layout.startup >> 12))
      Time.wait(microseconds: 200)
    }
    _ = Time.wait(upTo: 5000) { alive.value == others }
  }

  /// How many of the others have come up.
  static var alive: Word { Word(32) }
  private static var round: Word { Word(33) }
  private static var done: Word { Word(34) }
  private static var work: Word { Word(35) }
  private static var helpers: Word { Word(36) }
  private static var wakeVector: UInt8 { 0xe0 }

  /// Runs `body` on the first `count` processors at once, this one included; returns when all are done.
  static func run(on count: UInt64, _ body: Work) {
    begin(on: count, body)
    body(0)
    join()
  }

  /// The same without this one.
  static func begin(on count: UInt64, _ body: Work) {
    done.value = 0
    helpers.value = count
    work.value = UInt64(UInt(bitPattern: unsafeBitCast(body, to: UnsafeRawPointer.self)))
    locked_add(round.address, 1)
    LocalAPIC.send(LocalAPIC.Command.fixed | LocalAPIC.Command.toOthers | UInt32(wakeVector))
  }

  static func join() {
    while done.value < helpers.value - 1 { spin_pause() }
  }

  fileprivate static func serve(_ number: UInt64) -> Never {
    LocalAPIC.enable()
    var seen: UInt64 = 0
    locked_increment(alive.address)
    while true {
      interrupts_off()
      while round.value == seen { wait_for_interrupt() }
      seen = round.value
      if number < helpers.value {
        unsafeBitCast(UnsafeRawPointer(bitPattern: UInt(work.value)), to: Work.self)(number)
        locked_increment(done.address)
      }
    }
  }
}

/// Where the other processors begin, each with a number of its own from 1.
@c(processor_main) public func processorMain(_ number: UInt64) {
  Processors.serve(number)
}
