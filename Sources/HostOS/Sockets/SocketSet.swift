/// Many sockets that one loop watches, each change told once.
///
/// A socket is told of when it becomes readable or writable, not for as long as it is: its user goes on until the
/// socket blocks. Ten thousand sockets then need one system call each in their life, and their events come in
/// batches, without a closure or a look-up each.
package final class SocketSet: Sendable {
  private let events: SocketEvents
  private let source: HandleSource

  /// `ready` runs on the loop, and visits what has changed.
  package init(
    on loop: EventLoop, _ ready: @escaping @Sendable (SocketEvents) -> Void
  ) throws(HostError) {
    let events = try SocketEvents()
    self.events = events
    source = try loop.watch(events.handle, for: .readable) { _ in ready(events) }
  }

  deinit { source.cancel() }

  /// Watches `socket` until it is closed. Events name it by `token`.
  package func add(_ socket: InternetSocket, token: UInt64) throws(HostError) {
    try events.add(socket.handle, token: token)
  }
}
