import HostOS
import Work

/// A connection of a guest's, at its Unix socket.
final class RelayedStream: VsockStream {
  // Wiring: fixed for the life of the stream.
  private let relay: VsockRelay
  // State.
  private let state: LoopBound<State>

  private struct State {
    /// Where the stream is in its life.
    enum Phase {
      /// A program has connected, and says whom it calls.
      case dialling
      /// Carries bytes, or waits for the guest's answer.
      case inUse
      /// Closed by the guest; what is left goes to the program.
      case lingering
      case over
    }
    var phase: Phase
    var socket: Descriptor?
    var source: HandleSource?
    var interests: Readiness = []
    var user: (any VsockUser)?
    var id: UInt64 = 0
    /// What the program sent before it was answered: of the line with the port, and behind it.
    var early: [UInt8] = []
    /// What is left for the program once the guest has closed.
    var rest: [UInt8] = []
  }

  /// `CONNECT`, a space, ten digits, and a newline, with room to spare.
  private static let longestLine = 32

  init(
    _ socket: Descriptor, isCaller: Bool, _ relay: VsockRelay, on loop: EventLoop
  ) throws(HostError) {
    self.relay = relay
    state = LoopBound(State(phase: isCaller ? .dialling : .inUse, socket: socket), on: loop)
    let first: Readiness = isCaller ? .readable : []
    let source = try loop.watch(socket.handle, for: first) { [weak self] in self?.ready($0) }
    state.with { state in
      state.source = source
      state.interests = first
    }
  }
}

// MARK: - What the guest's device asks

extension RelayedStream {
  func attach(_ user: any VsockUser, as id: UInt64) {
    state.with { state in
      state.user = user
      state.id = id
    }
  }

  func accepted(port: UInt32) { _ = send(Array("OK \(port)\n".utf8)) }

  func send(_ bytes: [UInt8]) -> Int? {
    guard let socket = state.with({ $0.socket }) else { return nil }
    do throws(HostError) {
      let sent = try socket.send(bytes[...])
      if sent < bytes.count { watch(adding: .writable) }
      return sent
    } catch {
      return nil
    }
  }

  func receive(upTo count: Int) -> VsockInput {
    let early = state.with { state -> [UInt8] in
      let early = Array(state.early.prefix(count))
      state.early.removeFirst(early.count)
      return early
    }
    if !early.isEmpty { return .bytes(early) }
    guard let socket = state.with({ $0.socket }) else { return .ended }
    do throws(HostError) {
      let bytes = try socket.read(upTo: count)
      return bytes.isEmpty ? .ended : .bytes(bytes)
    } catch {
      guard error.isTransient else { return .ended }
      watch(adding: .readable)
      return .nothing
    }
  }

  func finishSending() { state.with { $0.socket }?.finishSending() }

  func close(sending rest: [UInt8]) {
    let lingers = state.with { state in
      state.user = nil
      guard state.phase == .inUse, !rest.isEmpty, state.socket != nil else { return false }
      state.phase = .lingering
      state.rest = rest
      return true
    }
    if lingers { linger() } else { hangUp() }
  }
}

// MARK: - On the loop

extension RelayedStream {
  private func watch(adding interest: Readiness) {
    state.with { state in
      guard !state.interests.contains(interest) else { return }
      state.interests.insert(interest)
      state.source?.setInterests(state.interests)
    }
  }

  private func ready(_ readiness: Readiness) {
    switch state.with({ $0.phase }) {
    case .dialling: dial()
    case .inUse: tell(readiness)
    case .lingering: readiness.contains(.ended) ? hangUp() : linger()
    case .over: break
    }
  }

  /// Reads on in the line that says which port is called.
  private func dial() {
    let (socket, had) = state.with { ($0.socket, $0.early) }
    guard let socket else { return }
    do throws(HostError) {
      let new = try socket.read(upTo: Self.longestLine - had.count)
      guard !new.isEmpty else { return hangUp() }
      let all = had + new
      guard let end = all.firstIndex(of: UInt8(ascii: "\n")) else {
        state.with { $0.early = all }
        return all.count < Self.longestLine ? () : hangUp()
      }
      guard let port = Self.port(all[..<end]) else { return hangUp() }
      state.with { state in
        state.early = Array(all[(end + 1)...])
        state.phase = .inUse
        state.interests = []
        state.source?.setInterests([])
      }
      if !relay.called(self, port: port) { hangUp() }
    } catch {
      if !error.isTransient { hangUp() }
    }
  }

  private static func port(_ line: ArraySlice<UInt8>) -> UInt32? {
    let verb = Array("CONNECT ".utf8)
    let digits = line.dropFirst(verb.count)
    guard line.starts(with: verb), !digits.isEmpty, digits.allSatisfy({ (48...57).contains($0) })
    else { return nil }
    return UInt32(String(decoding: digits, as: UTF8.self))
  }

  /// Passes on what is ready, once: what the user leaves undone it asks for again.
  private func tell(_ readiness: Readiness) {
    var events: VsockEvents = []
    let (user, id) = state.with { state -> ((any VsockUser)?, UInt64) in
      if readiness.contains(.readable) { events.insert(.mayReceive) }
      if readiness.contains(.writable) { events.insert(.maySend) }
      if readiness.contains(.ended) {
        if state.interests.contains(.readable) {
          // Perhaps the program has only finished sending. Else the loop comes again.
          events.insert(.mayReceive)
          state.interests.remove(.readable)
        } else {
          // The handle would be ready for ever.
          events = [.mayReceive, .maySend, .ended]
          state.source?.cancel()
          state.source = nil
        }
      }
      state.interests.subtract(readiness)
      state.source?.setInterests(state.interests)
      return (state.user, state.id)
    }
    user?.streamReady(id, events)
  }

  private func linger() {
    let (socket, rest) = state.with { ($0.socket, $0.rest) }
    guard let socket, let sent = try? socket.send(rest[...]), sent < rest.count else {
      return hangUp()
    }
    state.with { state in
      state.rest.removeFirst(sent)
      state.interests = .writable
      state.source?.setInterests(.writable)
    }
    // A program that hung up before the guest did is not told of any more.
    if state.with({ $0.source == nil }) { hangUp() }
  }

  /// Lets go of the socket.
  func hangUp() {
    let wasOpen = state.with { state in
      defer {
        state.phase = .over
        state.source?.cancel()
        state.source = nil
        state.socket = nil
        state.user = nil
      }
      return state.phase != .over
    }
    if wasOpen { relay.forget(self) }
  }
}
