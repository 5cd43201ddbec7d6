package import HostOS
import Synchronization
package import Work

/// Stands for a guest's sockets by Unix sockets of the host's.
///
/// A program that calls the guest connects to the socket at `path` and sends `CONNECT <port>` and a newline; once the
/// guest has answered it reads `OK <port>` and a newline, and from there on the bytes of the connection. The port is
/// the one that the guest sees as the caller's. A guest that calls port P of the host reaches the Unix socket at
/// `<path>_P`. The convention is that of Firecracker and Cloud Hypervisor.
package final class VsockRelay: VsockHost {
  // Wiring: fixed for the life of the relay.
  private let events: EventLoop
  private let listener: UnixListener
  private let path: String
  /// Unix sockets in use at once, whatever for.
  private let limit: Int
  // State.
  private let state: LoopBound<State>
  private let callers = Mutex<HandleSource?>(nil)

  private struct State {
    var user: (any VsockUser)?
    var streams: [ObjectIdentifier: RelayedStream] = [:]
    var isClosed = false
  }

  package var loop: any Loop { events }

  /// Listens at `path`.
  package init(path: String, limit: Int = 1024, on loop: EventLoop) throws(HostError) {
    self.path = path
    self.limit = limit
    events = loop
    state = LoopBound(State(), on: loop)
    listener = try UnixListener(path: path)
    let source = try loop.watch(listener.handle, for: .readable) { [weak self] _ in self?.answer() }
    callers.withLock { $0 = source }
  }

  package func attach(_ user: any VsockUser) {
    if events.isCurrent {
      state.with { $0.user = user }
    } else {
      events.post { self.state.with { $0.user = user } }
    }
  }

  /// Takes no more calls, hangs up on everybody, and lets go of the user. On the loop.
  package func close() {
    callers.withLock { $0 = nil }
    let streams = state.with { state in
      state.user = nil
      state.isClosed = true
      return Array(state.streams.values)
    }
    for stream in streams { stream.hangUp() }
  }
}

// MARK: - On the loop

extension VsockRelay {
  package func connect(toPort port: UInt32) -> (any VsockStream)? {
    guard let socket = try? UnixClient.connect("\(path)_\(port)") else { return nil }
    return admit(socket, isCaller: false)
  }

  private func answer() {
    guard let socket = listener.accept() else { return }
    _ = admit(socket, isCaller: true)
  }

  /// Makes a stream of a socket if there is room for one more.
  private func admit(_ socket: Descriptor, isCaller: Bool) -> RelayedStream? {
    let hasRoom = state.with { !$0.isClosed && $0.streams.count < limit }
    guard hasRoom, let stream = try? RelayedStream(socket, isCaller: isCaller, self, on: events)
    else { return nil }
    state.with { $0.streams[ObjectIdentifier(stream)] = stream }
    listenWhileThereIsRoom()
    return stream
  }

  /// Callers wait in the host's own queue while there are too many connections.
  private func listenWhileThereIsRoom() {
    let hasRoom = state.with { $0.streams.count < limit }
    callers.withLock { $0?.setInterests(hasRoom ? .readable : []) }
  }

  /// A caller has said whom it wants. Answers whether somebody will answer it.
  func called(_ stream: RelayedStream, port: UInt32) -> Bool {
    guard let user = state.with({ $0.user }) else { return false }
    return user.called(stream, port: port)
  }

  func forget(_ stream: RelayedStream) {
    state.with { _ = $0.streams.removeValue(forKey: ObjectIdentifier(stream)) }
    listenWhileThereIsRoom()
  }

  package var connectionCount: Int { state.with { $0.streams.count } }
}
