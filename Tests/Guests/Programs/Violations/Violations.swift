import Arch

/// Breaks the rules of one device, one at a time. After each the machine must live on, and the device be usable once it
/// was reset.
final class Violations {
  let driver: VirtioDriver
  /// A driver that keeps the rules, of another device, which must not notice anything.
  let witness: VirtioDriver
  var dialect: Dialect = []
  var chance = Chance()
  private(set) var count: UInt64 = 0
  /// Of so many violations one is committed, and how many were left out since.
  private let stride: UInt64
  private var leftOut: UInt64 = 0
  /// Violations after which the device asked for a reset.
  private(set) var refused: UInt64 = 0
  private(set) var failures: UInt64 = 0

  /// A device that is broken for good would cost all the time there is.
  private static var mostFailures: UInt64 { 8 }

  init(of driver: VirtioDriver, before witness: VirtioDriver, oneOf stride: UInt64) {
    self.driver = driver
    self.witness = witness
    self.stride = stride
  }

  var use: any DeviceUse { driver.use }

  // MARK: One violation

  /// Brings the device up, lets the rules be broken, and looks what became of it.
  func violate(
    _ what: StaticString, _ detail: StaticString = "", _ number: UInt64? = nil,
    _ commit: (VirtioDriver) -> Void
  ) {
    check(what, detail, number) { driver in
      commit(driver)
      return nil
    }
  }

  /// The same where it is known what must not come of it; then `commit` says what did.
  func check(
    _ what: StaticString, _ detail: StaticString = "", _ number: UInt64? = nil,
    _ commit: (VirtioDriver) -> StaticString?
  ) {
    guard failures < Self.mostFailures else { return }
    leftOut += 1
    guard leftOut >= stride else { return }
    leftOut = 0
    count += 1
    var fault: StaticString?
    if driver.begin(dialect) {
      fault = commit(driver)
      fault = fault ?? aftermath()
    } else {
      fault = "it does not begin"
    }
    guard let fault else { return }
    failures += 1
    Report.failed += 1
    line(
      "FAIL ", .words(use.name), dialect.contains(.packed) ? " packed: " : " split: ", .words(what),
      " ", .words(detail), " ", number.map { .hex($0) } ?? "", ": ", .words(fault))
  }

  /// The same, before the driver has done anything to the device but reset it.
  func checkEarly(
    _ what: StaticString, _ number: UInt64? = nil, _ commit: (VirtioDriver) -> StaticString?
  ) {
    check(what, "", number) { driver in
      driver.transport.status = 0
      _ = driver.isReset
      driver.requests.start(size: Ring.mostEntries, dialect)
      return commit(driver)
    }
  }

  private func aftermath() -> StaticString? {
    let before = Time.ticks
    guard isWitnessWell else { return "another device has fallen silent" }
    if Time.ticks == before { return "time stands still" }
    if driver.transport.status & DeviceStatus.needsReset != 0 { refused += 1 }
    if count % 4 == 0, driver.transport.resetFunction() {
      if !driver.isReset { return "a reset of the function does not end" }
    } else if !driver.reset() {
      return "a reset does not end"
    }
    if !driver.isContained { return "it wrote where it should not" }
    if !driver.begin(dialect) { return "it does not begin after a reset" }
    if let fault = use.fault(with: driver) { return fault }
    return driver.isContained ? nil : "it wrote where it should not after a reset"
  }

  /// What the device was told before is through when another has answered twice: they share a thread, and a device that
  /// has much to do lets others have their turn in between.
  private var isWitnessWell: Bool {
    witness.use.fault(with: witness) == nil && witness.use.fault(with: witness) == nil
  }

  /// Whether the device has left the requests alone, which it may not take.
  func isSilent(_ driver: VirtioDriver) -> Bool {
    isWitnessWell && driver.requests.take() == nil
  }

  // MARK: Kinds of violations

  /// Offers a sound request in which something was changed, with its buffers in the ring and in a table.
  func spoil(
    _ what: StaticString, _ detail: StaticString = "", _ number: UInt64? = nil,
    _ change: (inout Chain, Ring) -> Void
  ) {
    for isInTable in [false, true] {
      violate(what, detail, number) { driver in
        var chain = driver.use.request()
        chain.isInTable = isInTable
        driver.requests.join(&chain)
        change(&chain, driver.requests)
        driver.requests.add(chain)
        driver.kick(chain.queue)
      }
    }
  }

  /// Offers a request that the ring has nothing against: the device must answer it, or ask for a reset.
  func request(_ what: StaticString, _ number: UInt64? = nil, _ chain: () -> Chain) {
    check(what, "", number) { driver in
      settle(chain(), driver) ? nil : "it neither answers nor asks for a reset"
    }
  }

  /// Offers a request, and waits until the device has answered it, or has asked for a reset.
  @discardableResult
  func settle(_ chain: Chain, _ driver: VirtioDriver) -> Bool {
    driver.offer(chain)
    return Patience.wait {
      driver.ring(chain.queue).take() != nil
        || driver.transport.status & DeviceStatus.needsReset != 0
    }
  }

  /// Leaves as many requests in flight as the ring holds.
  func fill(_ driver: VirtioDriver) {
    for _ in 0..<driver.requests.size {
      var chain = driver.use.request()
      chain.isInTable = true
      driver.requests.join(&chain)
      driver.requests.add(chain)
    }
    driver.kick(use.requestQueue)
  }
}

/// Numbers that are the same each time (Marsaglia, "Xorshift RNGs").
struct Chance {
  private var state: UInt64 = 0x2545_f491_4f6c_dd1d

  mutating func next() -> UInt64 {
    state ^= state << 13
    state ^= state >> 7
    state ^= state << 17
    return state
  }
}
