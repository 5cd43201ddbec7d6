import Synchronization
package import Work

/// One host thread that runs work: what was posted to it, what became ready on the host's handles, and
/// timers.
package final class EventLoop: Loop {
  package let name: String
  private let poller: Poller
  private let posted = Mutex(Posted())
  private let timers = Mutex(TimerQueue())
  private let sources = Mutex(Sources())
  private let thread = Mutex<Thread?>(nil)
  private let runner = Atomic<UInt>(0)

  private struct Posted {
    var work: [@Sendable () -> Void] = []
    /// The poller was woken and has not looked yet.
    var isAnnounced = false
    var isEnding = false
  }

  private struct Sources {
    var answers: [UInt64: @Sendable (Readiness) -> Void] = [:]
    var next = Poller.firstSource
  }

  /// Starts the loop's thread.
  package init(name: String) throws(HostError) {
    self.name = name
    poller = try Poller()
    let thread = try Thread(name: name) { self.run() }
    self.thread.withLock { $0 = thread }
  }

  /// Ends the loop after what has been posted so far. Returns when its thread has ended; not to be
  /// called from that thread.
  package func stop() {
    precondition(!isCurrent, "a loop cannot wait for its own end")
    posted.withLock { $0.isEnding = true }
    poller.wake()
    let thread = self.thread.withLock { $0.take() }
    thread?.join()
  }
}

// MARK: - Work from other threads

extension EventLoop {
  package var isCurrent: Bool { runner.load(ordering: .acquiring) == Thread.current.rawValue }

  package func post(_ work: @escaping @Sendable () -> Void) {
    let mustWake = posted.withLock { posted in
      posted.work.append(work)
      defer { posted.isAnnounced = true }
      return !posted.isAnnounced
    }
    if mustWake { poller.wake() }
  }

  package func makeDoorbell(_ answer: @escaping @Sendable () -> Void) -> any Doorbell {
    do {
      return try Bell(on: self, answer)
    } catch {
      // A bell is made while a machine is built; without a handle it still works, by posting.
      return PostingBell(on: self, answer)
    }
  }
}

// MARK: - Handles of the host

/// What may be done with a handle without waiting.
package struct Readiness: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  package static let readable = Readiness(rawValue: 1)
  package static let writable = Readiness(rawValue: 2)
  /// The other end is gone, or the handle failed. Always told, never asked for.
  package static let ended = Readiness(rawValue: 4)
  /// As an interest: to be told when a handle becomes ready, each time, and not for as long as it is.
  package static let eachTime = Readiness(rawValue: 8)
}

extension EventLoop {
  /// Runs `answer` on the loop for as long as the handle is ready for one of `interests`.
  ///
  /// The handle must stay open for as long as the source lives.
  package func watch(
    _ handle: Int32, for interests: Readiness, _ answer: @escaping @Sendable (Readiness) -> Void
  ) throws(HostError) -> HandleSource {
    let token = sources.withLock { sources in
      defer { sources.next += 1 }
      sources.answers[sources.next] = answer
      return sources.next
    }
    do throws(HostError) {
      try poller.add(handle, token: token, interests)
    } catch {
      _ = sources.withLock { $0.answers.removeValue(forKey: token) }
      throw error
    }
    return HandleSource(loop: self, handle: handle, token: token)
  }

  fileprivate func setInterests(_ interests: Readiness, _ source: HandleSource) {
    poller.modify(source.handle, token: source.token, interests)
  }

  fileprivate func remove(_ source: HandleSource) {
    // The answer may own the last reference to something whose end calls back: let go of it unlocked.
    let answer = sources.withLock { $0.answers.removeValue(forKey: source.token) }
    if answer != nil { poller.remove(source.handle) }
  }
}

/// A handle that a loop watches, until `cancel` or the source's end.
package final class HandleSource: Sendable {
  private let loop: EventLoop
  fileprivate let handle: Int32
  fileprivate let token: UInt64

  fileprivate init(loop: EventLoop, handle: Int32, token: UInt64) {
    self.loop = loop
    self.handle = handle
    self.token = token
  }

  deinit { cancel() }

  /// Changes what the loop watches for. From any thread.
  package func setInterests(_ interests: Readiness) { loop.setInterests(interests, self) }

  /// Stops watching. An answer that runs at this moment still ends.
  package func cancel() { loop.remove(self) }
}

// MARK: - Timers

extension EventLoop {
  /// Makes a timer that runs `ring` on the loop.
  package func makeTimer(_ ring: @escaping @Sendable () -> Void) -> Timer {
    Timer(loop: self, ring: ring)
  }

  fileprivate func set(_ timer: Timer, to deadline: HostInstant?) {
    timers.withLock { timers in
      timers.set(timer, to: deadline)
      timers.arm(poller)
    }
  }

  private func ringTimers() {
    let due = timers.withLock { timers in
      timers.isArmedFor = nil
      defer { timers.arm(poller) }
      return timers.takeDue(HostClock.now)
    }
    for timer in due { timer.ring() }
  }
}

/// Rings once at a moment of the host's clock.
package final class Timer: Sendable {
  private let loop: EventLoop
  fileprivate let ring: @Sendable () -> Void

  fileprivate init(loop: EventLoop, ring: @escaping @Sendable () -> Void) {
    self.loop = loop
    self.ring = ring
  }

  /// Sets the moment, in place of any set before; `nil`: silent. From any thread.
  package func set(_ deadline: HostInstant?) { loop.set(self, to: deadline) }
}

/// Timers by deadline. A machine has a few dozen, so that a sorted array is the quickest order.
private struct TimerQueue {
  private var entries: [(deadline: HostInstant, timer: Timer)] = []
  /// When the host will wake the loop.
  var isArmedFor: HostInstant?

  mutating func set(_ timer: Timer, to deadline: HostInstant?) {
    if let index = entries.firstIndex(where: { $0.timer === timer }) { entries.remove(at: index) }
    guard let deadline else { return }
    let index = entries.firstIndex { $0.deadline > deadline } ?? entries.endIndex
    entries.insert((deadline, timer), at: index)
  }

  mutating func takeDue(_ now: HostInstant) -> [Timer] {
    let count = entries.firstIndex { $0.deadline > now } ?? entries.endIndex
    defer { entries.removeFirst(count) }
    return entries.prefix(count).map(\.timer)
  }

  /// Has the loop woken for the first deadline. A wake-up that is too early is left alone: looking once
  /// more costs less than telling the host of every change.
  mutating func arm(_ poller: Poller) {
    guard let first = entries.first?.deadline else { return }
    if let isArmedFor, isArmedFor <= first { return }
    isArmedFor = first
    poller.arm(first)
  }
}

// MARK: - The loop itself

extension EventLoop {
  private func run() {
    runner.store(Thread.current.rawValue, ordering: .releasing)
    var hasEnded = false
    var polling = AdaptivePolling(longest: 100_000)
    while !hasEnded {
      poller.wait(&polling) { token, readiness in
        switch token {
        case Poller.wakeToken: hasEnded = runPosted()
        case Poller.timerToken:
          poller.takeTimer()
          ringTimers()
        default:
          let answer = sources.withLock { $0.answers[token] }
          answer?(readiness)
        }
      }
    }
    runner.store(0, ordering: .releasing)
  }

  /// Runs what was posted. Answers whether the loop is to end.
  private func runPosted() -> Bool {
    let (work, isEnding) = posted.withLock { posted in
      defer {
        posted.work = []
        posted.isAnnounced = false
      }
      return (posted.work, posted.isEnding)
    }
    for item in work { item() }
    return isEnding
  }
}
