import CHostOS
import Glibc

/// The changes of the sockets in a set: an epoll(7) of its own, in the mode that tells each change once.
package final class SocketEvents: Sendable {
  private let epoll: Descriptor
  var handle: Int32 { epoll.handle }

  init() throws(HostError) {
    let handle = epoll_create1(Int32(EPOLL_CLOEXEC))
    guard handle >= 0 else { throw .last("make a set of sockets") }
    epoll = Descriptor(owning: handle)
  }

  func add(_ socket: Int32, token: UInt64) throws(HostError) {
    let bits = EPOLLIN.rawValue | EPOLLOUT.rawValue | EPOLLRDHUP.rawValue | EPOLLET.rawValue
    var event = epoll_event(events: bits, data: epoll_data_t(u64: token))
    guard epoll_ctl(handle, EPOLL_CTL_ADD, socket, &event) == 0 else {
      throw .last("watch a socket")
    }
  }

  /// Visits what has changed, a batch at most; the loop comes back for the rest.
  package func visit(_ body: (_ token: UInt64, Readiness) -> Void) {
    withUnsafeTemporaryAllocation(of: epoll_event.self, capacity: Self.batch) { events in
      let count = epoll_wait(handle, events.baseAddress!, Int32(Self.batch), 0)
      for index in 0..<max(0, Int(count)) {
        body(events[index].data.u64, Poller.readiness(events[index].events))
      }
    }
  }

  private static let batch = 128
}
