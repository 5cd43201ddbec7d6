import CHostOS
import Glibc

/// What an event loop sleeps on: epoll(7), with an eventfd to be woken by and a timerfd for deadlines.
final class Poller: Sendable {
  static let wakeToken: UInt64 = 0
  static let timerToken: UInt64 = 1
  /// Tokens from here on are the caller's.
  static let firstSource: UInt64 = 2

  private let epoll: Descriptor
  private let timer: Descriptor
  private let bell: Counter

  init() throws(HostError) {
    let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard epoll >= 0 else { throw .last("make an event loop") }
    self.epoll = Descriptor(owning: epoll)
    let timer = timerfd_create(CLOCK_MONOTONIC, Int32(TFD_CLOEXEC) | Int32(TFD_NONBLOCK))
    guard timer >= 0 else { throw .last("make a timer") }
    self.timer = Descriptor(owning: timer)
    bell = try Counter()
    try add(bell.handle, token: Self.wakeToken, [.readable, .eachTime])
    try add(timer, token: Self.timerToken, .readable)
  }

  /// Makes `wait` return, now or the next time.
  func wake() { bell.add() }

  /// Makes `wait` return at `deadline`, or at once if that has passed.
  func arm(_ deadline: HostInstant) {
    // All zeroes would disarm the timer.
    let moment = timespec(max(deadline, HostInstant(nanoseconds: 1)))
    var specification = itimerspec(it_interval: timespec(), it_value: moment)
    timerfd_settime(timer.handle, Int32(TFD_TIMER_ABSTIME), &specification, nil)
  }

  func takeTimer() {
    var expirations: UInt64 = 0
    _ = read(timer.handle, &expirations, 8)
  }

  func add(_ handle: Int32, token: UInt64, _ interests: Readiness) throws(HostError) {
    var event = Self.event(token, interests)
    guard epoll_ctl(epoll.handle, EPOLL_CTL_ADD, handle, &event) == 0 else {
      throw .last("watch a handle")
    }
  }

  func modify(_ handle: Int32, token: UInt64, _ interests: Readiness) {
    var event = Self.event(token, interests)
    epoll_ctl(epoll.handle, EPOLL_CTL_MOD, handle, &event)
  }

  func remove(_ handle: Int32) { epoll_ctl(epoll.handle, EPOLL_CTL_DEL, handle, nil) }

  /// Waits until something is ready, then visits what is.
  func wait(_ polling: inout AdaptivePolling, _ visit: (UInt64, Readiness) -> Void) {
    withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: Self.batch) { events in
      func look(_ timeout: Int32) -> Int {
        Int(epoll_wait(epoll.handle, events.baseAddress!, Int32(Self.batch), timeout))
      }
      var count = 0
      polling.wait {
        count = look(0)
        return count > 0
      } orSleep: {
        count = look(-1)
      }
      for index in 0..<max(0, count) {
        visit(events[index].data.u64, Self.readiness(events[index].events))
      }
    }
  }

  private static let batch = 16

  private static func event(_ token: UInt64, _ interests: Readiness) -> epoll_event {
    var bits: UInt32 = 0
    if interests.contains(.readable) { bits |= EPOLLIN.rawValue | EPOLLRDHUP.rawValue }
    if interests.contains(.writable) { bits |= EPOLLOUT.rawValue }
    if interests.contains(.eachTime) { bits |= EPOLLET.rawValue }
    return epoll_event(events: bits, data: epoll_data_t(u64: token))
  }

  static func readiness(_ bits: UInt32) -> Readiness {
    var result: Readiness = []
    if bits & EPOLLIN.rawValue != 0 { result.insert(.readable) }
    if bits & EPOLLOUT.rawValue != 0 { result.insert(.writable) }
    if bits & (EPOLLHUP.rawValue | EPOLLERR.rawValue | EPOLLRDHUP.rawValue) != 0 {
      result.insert(.ended)
    }
    return result
  }
}
