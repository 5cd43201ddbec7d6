/// A thread of the host, from its start to its join.
package final class Thread: Sendable {
  let handle: Handle

  /// Starts a thread that runs `body` and ends. The host shows at most 15 bytes of `name`.
  package init(name: String, _ body: @escaping @Sendable () -> Void) throws(HostError) {
    handle = try Handle(name: name, body)
  }

  /// Waits until the thread has ended. Once at most, and not from the thread itself.
  package func join() { handle.join() }

  /// Names the calling thread, for comparison.
  package static var current: ID { Handle.current }
}

extension Thread {
  /// Names a thread while it lives.
  package struct ID: Sendable, Hashable { let rawValue: UInt }
}
