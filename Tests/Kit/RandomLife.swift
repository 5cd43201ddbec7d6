package import Board
import SavedState

/// A component's life as chance has it: accesses, time, whatever else may befall it, and now and then a
/// save into a twin or a reset. Nothing traps, and a twin is in the state that it was given.
///
/// The same seed gives the same life.
package struct RandomLife<Device: Component> {
  private var chance: Chance
  private let make: () -> Device
  private let plug: (Device, IOBus) -> Void
  private let wideAccess: IOBus.WideAccess
  private let events: [(Device, UInt64) -> Void]
  private let rest: ((Device) -> Bool)?
  private let clock: ManualClock

  /// - Parameters:
  ///   - make: builds the part anew, the same each time, on `clock`.
  ///   - plug: maps its registers.
  ///   - events: what else may happen to it, each given a random number.
  ///   - rest: brings it to rest before it is saved, after which it is started again. Parts without work in flight need
  ///     none.
  package init(
    seed: UInt64, clock: ManualClock, of make: @escaping () -> Device,
    plug: @escaping (Device, IOBus) -> Void, wideAccess: IOBus.WideAccess = .split,
    events: [(Device, UInt64) -> Void] = [], rest: ((Device) -> Bool)? = nil
  ) {
    chance = Chance(seed: seed)
    self.clock = clock
    self.make = make
    self.plug = plug
    self.wideAccess = wideAccess
    self.events = events
    self.rest = rest
  }

  /// Lives for a number of steps. Answers the promises broken.
  package mutating func live(steps: Int) -> [String] {
    var broken: [String] = []
    let device = make()
    device.start()
    let bus = IOBus(wideAccess: wideAccess)
    plug(device, bus)
    for step in 0..<steps {
      switch chance.number(below: 100) {
      case 0: device.reset()
      case 1...4:
        if let complaint = checkTwin(of: device) { broken.append("step \(step): \(complaint)") }
      case 5...14: clock.advance(by: chance.number(below: 100_000))
      case 15...24 where !events.isEmpty:
        events[Int(chance.number(below: UInt64(events.count)))](device, chance.next())
      default: access(bus)
      }
    }
    return broken
  }

  private mutating func access(_ bus: IOBus) {
    var view = BusView(bus)
    let mappings = bus.map
    guard !mappings.isEmpty else { return }
    let range = mappings[Int(chance.number(below: UInt64(mappings.count)))].range
    let width = AccessWidth.allCases[Int(chance.number(below: 4))]
    var address = range.lowerBound + chance.number(below: range.upperBound - range.lowerBound)
    if chance.number(below: 4) != 0 { address &= ~(width.bytes - 1) }
    if chance.number(below: 3) == 0 {
      _ = view.read(address, width)
    } else {
      view.write(chance.value(), address, width)
    }
  }

  private func checkTwin(of device: Device) -> String? {
    if let rest {
      guard rest(device) else { return "it does not come to rest" }
    }
    defer { if rest != nil { device.start() } }
    do {
      let saved = try device.savedPart(named: "part")
      let twin = make()
      try twin.restore(from: saved)
      return try twin.savedPart(named: "part") == saved ? nil : "the twin differs"
    } catch {
      return "\(error)"
    }
  }
}

/// Numbers that look random: SplitMix64, by Steele, Lea and Flood (2014).
package struct Chance {
  private var state: UInt64

  package init(seed: UInt64) { state = seed }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed ^ mixed >> 31
  }

  package mutating func number(below limit: UInt64) -> UInt64 { next() % limit }

  /// A number as registers like them: often small, one bit, all ones, or anything.
  package mutating func value() -> UInt64 {
    switch number(below: 5) {
    case 0: number(below: 16)
    case 1: 1 << number(below: 64)
    case 2: .max
    case 3: number(below: 0x1_0000)
    default: next()
    }
  }
}
