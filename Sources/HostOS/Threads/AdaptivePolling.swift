/// Looking for what a thread waits for before it sleeps, for as long as that has paid lately.
///
/// To wake a thread on a processor that idles costs tens of microseconds, more in a virtual machine than on hardware,
/// and a guest that does one thing after the other waits for two or three such wakes at each. A thread that looks on
/// meanwhile is there at once, but uses a processor. So it looks for about as long as the last waits took, and not at
/// all after waits so long that the wake does not matter, or where others want the processor. Where there is only one
/// processor, whoever is to bring what it waits for needs that.
///
/// For one thread.
package struct AdaptivePolling: Sendable {
  /// Nanoseconds to look for; zero: the thread sleeps at once.
  package private(set) var window: UInt64 = 0
  /// Waits up to here are worth looking for.
  private let longest: UInt64

  private static let shortest: UInt64 = 10_000
  /// A look takes well under a microsecond: one that took this long was interrupted for another thread.
  private static let interruption: UInt64 = 100_000

  /// - Parameters:
  ///   - longest: in nanoseconds, the longest wait that is looked for.
  ///   - processors: how many the process may run on.
  package init(longest: UInt64, processors: Int = Thread.processorCount) {
    self.longest = processors > 1 ? longest : 0
  }

  /// Waits for something: looks for it, and if it does not come soon, sleeps.
  ///
  /// - Parameter sleep: returns when it is there.
  package mutating func wait(for look: () -> Bool, orSleep sleep: () -> Void) {
    let start = HostClock.now.nanoseconds
    if poll(look) { return }
    sleep()
    slept(nanoseconds: HostClock.now.nanoseconds - start)
  }

  /// Looks until there is what the thread waits for, or it has looked long enough.
  ///
  /// - Returns: whether it is there; if not, the thread is to sleep.
  package mutating func poll(_ look: () -> Bool) -> Bool {
    if window == 0 { return false }
    let start = HostClock.now
    var last = start.nanoseconds
    while !look() {
      // Whoever else wants this processor has it.
      Thread.yield()
      let now = HostClock.now.nanoseconds
      if now - last > Self.interruption { window = 0 }
      if now - start.nanoseconds >= window { return false }
      last = now
    }
    return true
  }

  /// Takes note of how long a thread that slept has waited in all, looking and sleeping.
  package mutating func slept(nanoseconds: UInt64) {
    if nanoseconds <= longest {
      // Half as long again: waits are never quite the same.
      window = min(longest, max(window, nanoseconds + nanoseconds / 2, Self.shortest))
    } else {
      window /= 2
      if window < Self.shortest { window = 0 }
    }
  }
}
