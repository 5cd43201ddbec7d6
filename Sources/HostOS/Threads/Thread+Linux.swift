import CHostOS
import Glibc

extension Thread {
  /// A POSIX thread.
  struct Handle: Sendable {
    private let thread: pthread_t

    init(name: String, _ body: @escaping @Sendable () -> Void) throws(HostError) {
      var attributes = pthread_attr_t()
      pthread_attr_init(&attributes)
      defer { pthread_attr_destroy(&attributes) }
      pthread_attr_setstacksize(&attributes, Self.stackSize)
      let start = Unmanaged.passRetained(Start(name: String(name.prefix(15)), body: body))
      var thread = pthread_t()
      let code = pthread_create(
        &thread, &attributes,
        { argument in
          let start = Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
          roost_thread_set_name(start.name)
          start.body()
          return nil
        }, start.toOpaque())
      guard code == 0 else {
        start.release()
        throw HostError("start the thread \"\(name)\"", code: code)
      }
      self.thread = thread
    }

    func join() { pthread_join(thread, nil) }

    static var current: ID { ID(rawValue: UInt(pthread_self())) }

    private static let stackSize = 8 << 20
  }

  /// What a new thread is handed.
  private final class Start: Sendable {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }
}

extension Thread {
  /// How many of the host's processors threads may run on.
  package static let processorCount = Int(roost_processor_count())

  /// Lets another thread have the calling thread's processor, if one waits for it.
  static func yield() { sched_yield() }

  /// Lets the calling thread sleep.
  package static func sleep(until deadline: HostInstant) {
    var moment = timespec(deadline)
    while clock_nanosleep(CLOCK_MONOTONIC, Int32(TIMER_ABSTIME), &moment, nil) == EINTR {}
  }
}
