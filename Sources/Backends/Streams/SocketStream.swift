package import HostOS
import Synchronization
import Work

/// A Unix socket at which one client at a time sits at the other end of the line.
///
/// What is sent while nobody is there is kept, the newest 64 KiB of it, for the next client. A second
/// client waits until the first has left. All that touches the client runs on the loop; the rest meets it in `state`.
package final class SocketStream: HostStream {
  private struct State {
    var outgoing = ByteQueue(capacity: 1 << 16)
    var incoming = ByteQueue(capacity: 4096)
    var client: Client?
    var owesRoom = false
  }
  private struct Client {
    let socket: Descriptor
    let source: HandleSource
  }
  private let loop: EventLoop
  private let listener: UnixListener
  private let state = Mutex(State())
  private let callers = Mutex<HandleSource?>(nil)
  private let drained = Event()
  private let user = StreamUser()

  /// How long `close` waits for a client that does not read, in nanoseconds.
  private static let patience: UInt64 = 2_000_000_000

  /// Listens at `path`; the loop carries the bytes.
  package init(path: String, on loop: EventLoop) throws(HostError) {
    self.loop = loop
    listener = try UnixListener(path: path)
    let source = try loop.watch(listener.handle, for: .readable) { [weak self] _ in self?.answer() }
    callers.withLock { $0 = source }
  }

  package func send(_ bytes: [UInt8]) -> Int {
    let (accepted, mustFlush) = state.withLock { state in
      if state.client == nil {
        // Nobody reads: the oldest bytes make room.
        let new = bytes.suffix(state.outgoing.capacity)
        state.outgoing.drop(max(0, new.count - state.outgoing.room))
        _ = state.outgoing.append(new)
        return (bytes.count, false)
      }
      let wasEmpty = state.outgoing.isEmpty
      let accepted = state.outgoing.append(bytes)
      if accepted < bytes.count { state.owesRoom = true }
      return (accepted, wasEmpty)
    }
    if mustFlush { loop.post { self.flush() } }
    return accepted
  }

  package func receive(upTo count: Int) -> [UInt8] {
    let (bytes, wasFull) = state.withLock { ($0.incoming.take(count), $0.incoming.room < count) }
    if wasFull || !bytes.isEmpty { loop.post { self.setInterests() } }
    return bytes
  }

  package func attach(_ user: any ByteStreamUser) { self.user.attach(user) }

  package func close() -> HostError? {
    if !loop.isCurrent {
      let deadline = HostClock.now.advanced(by: Self.patience)
      while state.withLock({ $0.client != nil && !$0.outgoing.isEmpty }) {
        if !drained.wait(until: deadline) { break }
      }
    }
    callers.withLock { $0 = nil }
    let lost = state.withLock { $0.client == nil ? 0 : $0.outgoing.count }
    hangUp()
    return lost == 0 ? nil : .timedOut("deliver the last \(lost) bytes")
  }
}

// MARK: - On the loop

extension SocketStream {
  private func answer() {
    guard let socket = listener.accept() else { return }
    do throws(HostError) {
      let source = try loop.watch(socket.handle, for: [.readable, .writable]) { [weak self] in
        self?.clientReady($0)
      }
      state.withLock { $0.client = Client(socket: socket, source: source) }
      callers.withLock { $0?.setInterests([]) }
    } catch {
      // The host has no room for one more handle: the client is turned away, as by closing.
    }
  }

  private func clientReady(_ readiness: Readiness) {
    if readiness.contains(.readable) || readiness.contains(.ended) { fill() }
    if readiness.contains(.writable) { flush() }
  }

  /// Takes in what the client sent and there is room for.
  private func fill() {
    guard
      let (socket, room) = state.withLock({ state in
        state.client.map { ($0.socket, state.incoming.room) }
      }), room > 0
    else { return setInterests() }
    let bytes: [UInt8]
    do throws(HostError) {
      bytes = try socket.read(upTo: room)
    } catch {
      return error.isTransient ? () : hangUp()
    }
    if bytes.isEmpty { return hangUp() }
    state.withLock { _ = $0.incoming.append(bytes) }
    setInterests()
    user.tell(.mayReceive)
  }

  /// Hands the client what it takes now.
  private func flush() {
    var hasRoom = false
    do throws(HostError) {
      while let (socket, bytes) = state.withLock({ state in
        state.client.map { ($0.socket, Array(state.outgoing.waiting)) }
      }), !bytes.isEmpty {
        let sent = try socket.send(bytes[...])
        if sent == 0 { break }
        hasRoom = state.withLock { state in
          state.outgoing.drop(sent)
          guard state.owesRoom else { return hasRoom }
          state.owesRoom = false
          return true
        }
      }
    } catch {
      return hangUp()
    }
    drained.signal()
    setInterests()
    if hasRoom { user.tell(.maySend) }
  }

  private func hangUp() {
    let (client, owesRoom) = state.withLock { state in
      defer {
        state.client = nil
        state.owesRoom = false
      }
      return (state.client, state.owesRoom)
    }
    client?.source.cancel()
    callers.withLock { $0?.setInterests(.readable) }
    drained.signal()
    if owesRoom { user.tell(.maySend) }
  }

  /// Watches for what there is something to do about.
  private func setInterests() {
    state.withLock { state in
      var interests: Readiness = []
      if state.incoming.room > 0 { interests.insert(.readable) }
      if !state.outgoing.isEmpty { interests.insert(.writable) }
      state.client?.source.setInterests(interests)
    }
  }
}
