import Glibc

extension HostClock {
  /// Nanoseconds since 1970-01-01T00:00:00Z, as the host believes: for stamps in files.
  package static var nanosecondsSince1970: UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return UInt64(max(0, time.tv_sec)) &* 1_000_000_000 &+ UInt64(time.tv_nsec)
  }
}
