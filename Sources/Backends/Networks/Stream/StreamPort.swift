package import HostOS
import Synchronization
package import Work

/// A cable whose other end sits at a Unix stream socket: passt, QEMU's `-netdev stream`, or another Roost.
///
/// While nobody is there, what is sent is lost and nothing comes, as on an unplugged cable. The peer finishes
/// nothing: sums and segmentation are done here, so that the guest sees the same card whoever the peer is.
package final class StreamPort: NetworkPort {
  /// How the other end is met.
  package enum Meeting: Sendable {
    /// We call; when the peer goes we call again.
    case connect(Reconnection)
    /// We are called; when the peer goes the next one may call.
    case listen
  }

  private struct State {
    var peer: Peer?
    var statistics = PortStatistics()
    var incoming: [Frame] = []
    /// How many of `incoming` the user has taken.
    var taken = 0
    var owesRoom = false
    var failedTries = 0
    var isClosed = false
  }

  /// Who is at the other end now.
  private struct Peer {
    let socket: Descriptor
    let source: HandleSource
    var outgoing: [UInt8] = []
    var sent = 0
    var incoming = FrameStream()
    /// What the loop watches for.
    var interests: Readiness = .readable
  }

  private let path: String
  private let clock: any VMClock
  private let loop: EventLoop
  private let listener: UnixListener?
  private let reconnection: Reconnection?
  private let alarm = Mutex<(any Alarm)?>(nil)
  private let callers = Mutex<HandleSource?>(nil)
  private let state = Mutex(State())
  private let user = PortUser()
  package let maximumTransmissionUnit: Int

  /// Bytes that wait for the peer before `send` answers that there is no room; one frame's segments may exceed it.
  private static let capacity = 1 << 20
  /// Frames that wait for the user before nothing more is read.
  private static let depth = 512

  /// Connects to, or listens at, the socket `path`. To connect, the peer must be there already; later it may come and
  /// go. `clock` times the tries.
  package init(
    path: String, _ meeting: Meeting, maximumTransmissionUnit: Int = 1500, on loop: EventLoop,
    clock: any VMClock
  ) throws(HostError) {
    self.path = path
    self.clock = clock
    self.loop = loop
    self.maximumTransmissionUnit = min(65535, max(68, maximumTransmissionUnit))
    switch meeting {
    case .listen:
      let listener = try UnixListener(path: path)
      self.listener = listener
      reconnection = nil
      let source = try loop.watch(listener.handle, for: .readable) { [weak self] _ in
        self?.answerCaller()
      }
      callers.withLock { $0 = source }
    case .connect(let reconnection):
      listener = nil
      self.reconnection = reconnection
      try meet(UnixClient.connect(path))
      let alarm = clock.makeAlarm(on: loop) { [weak self] in self?.tryAgain() }
      self.alarm.withLock { $0 = alarm }
    }
  }

  package var offloads: Offloads { .all }
  package func accept(_ offloads: Offloads) {}
  package func attach(_ user: any NetworkPortUser) {
    self.user.attach(user)
    if state.withLock({ !$0.incoming.isEmpty }) { self.user.tell(.mayReceive) }
  }

  package var statistics: PortStatistics { state.withLock { $0.statistics } }
  /// Whether somebody is at the other end.
  package var isConnected: Bool { state.withLock { $0.peer != nil } }

  /// Hangs up and meets nobody any more.
  package func close() {
    let source = state.withLock { state in
      state.isClosed = true
      defer { state.peer = nil }
      return state.peer?.source
    }
    source?.cancel()
    callers.withLock { $0 = nil }
    alarm.withLock { $0?.set(nil) }
  }
}

// MARK: - Frames

extension StreamPort {
  package func send(_ frames: [Frame]) -> Int {
    let (accepted, isLost) = state.withLock { state -> (Int, Bool) in
      var accepted = 0
      for frame in frames {
        if let peer = state.peer, peer.outgoing.count - peer.sent >= Self.capacity { break }
        accepted += 1
        let finished = frame.finished(maximum: maximumTransmissionUnit)
        if finished.isEmpty || state.peer == nil {
          state.statistics.dropped += 1
          continue
        }
        for part in finished { state.peer?.outgoing.append(inStream: part.bytes) }
        state.statistics.sent += UInt64(finished.count)
      }
      let isLost = !Self.flush(&state)
      if accepted < frames.count { state.owesRoom = true }
      return (accepted, isLost)
    }
    if isLost { loop.post { self.hangUp() } }
    return accepted
  }

  package func receive(upTo count: Int) -> [Frame] {
    state.withLock { state in
      let part = Array(state.incoming[state.taken...].prefix(max(0, count)))
      state.taken += part.count
      state.statistics.received += UInt64(part.count)
      if state.taken == state.incoming.count {
        state.incoming.removeAll(keepingCapacity: true)
        state.taken = 0
        Self.setInterests(&state)
      }
      return part
    }
  }

  /// Hands the peer what it takes now. Answers whether it is still there.
  private static func flush(_ state: inout State) -> Bool {
    guard var peer = state.peer else { return true }
    state.peer = nil
    defer {
      state.peer = peer
      setInterests(&state)
    }
    while peer.sent < peer.outgoing.count {
      guard let count = try? peer.socket.send(peer.outgoing[peer.sent...]) else { return false }
      if count == 0 { break }
      peer.sent += count
    }
    if peer.sent == peer.outgoing.count {
      peer.outgoing.removeAll(keepingCapacity: true)
      peer.sent = 0
    } else if peer.sent >= capacity {
      peer.outgoing.removeFirst(peer.sent)
      peer.sent = 0
    }
    return true
  }

  /// Watches for what there is something to do about.
  private static func setInterests(_ state: inout State) {
    guard let peer = state.peer else { return }
    var interests: Readiness = []
    if state.incoming.count - state.taken < depth { interests.insert(.readable) }
    if peer.sent < peer.outgoing.count { interests.insert(.writable) }
    guard interests != peer.interests else { return }
    state.peer?.interests = interests
    peer.source.setInterests(interests)
  }
}

// MARK: - On the loop

extension StreamPort {
  private func answerCaller() {
    guard let socket = listener?.accept() else { return }
    // Without a handle to watch it by, the caller is turned away, as by closing.
    guard (try? meet(socket)) != nil else { return }
    callers.withLock { $0?.setInterests([]) }
  }

  private func meet(_ socket: Descriptor) throws(HostError) {
    let source = try loop.watch(socket.handle, for: .readable) { [weak self] in
      self?.peerReady($0, socket.handle)
    }
    state.withLock { state in
      guard !state.isClosed else { return }
      state.peer = Peer(socket: socket, source: source)
      state.failedTries = 0
      Self.setInterests(&state)
    }
  }

  private func peerReady(_ readiness: Readiness, _ handle: Int32) {
    guard state.withLock({ $0.peer?.socket.handle == handle }) else { return }
    if readiness.contains(.writable) {
      let (isThere, hasRoom) = state.withLock { state in
        let isThere = Self.flush(&state)
        let waiting = state.peer.map { $0.outgoing.count - $0.sent } ?? 0
        guard state.owesRoom, waiting < Self.capacity / 2 else { return (isThere, false) }
        state.owesRoom = false
        return (isThere, true)
      }
      if hasRoom { user.tell(.maySend) }
      guard isThere else { return hangUp() }
    }
    if readiness.contains(.readable) || readiness.contains(.ended) {
      // A peer that is gone is announced for ever; what it left behind is little, and taken in at once.
      fill(beyondDepth: readiness.contains(.ended))
    }
  }

  /// Takes in what the peer sent. A peer that sends nonsense is hung up on.
  private func fill(beyondDepth: Bool) {
    enum Outcome { case nothing, frames, lost }
    let outcome = state.withLock { state -> Outcome in
      guard var peer = state.peer else { return .nothing }
      guard beyondDepth || state.incoming.count - state.taken < Self.depth else { return .nothing }
      let bytes: [UInt8]
      do throws(HostError) {
        bytes = try peer.socket.read(upTo: 1 << 16)
      } catch {
        return error.isTransient ? .nothing : .lost
      }
      guard !bytes.isEmpty else { return .lost }
      state.peer = nil
      defer {
        state.peer = peer
        Self.setInterests(&state)
      }
      guard let frames = try? peer.incoming.take(bytes) else { return .lost }
      for frame in frames {
        let frame = Frame(frame)
        if frame.hasLegalLength {
          state.incoming.append(frame)
        } else {
          state.statistics.dropped += 1
        }
      }
      return frames.isEmpty ? .nothing : .frames
    }
    switch outcome {
    case .nothing: break
    case .frames: user.tell(.mayReceive)
    case .lost: hangUp()
    }
  }

  private func hangUp() {
    let (peer, owesRoom, wait) = state.withLock { state in
      defer {
        state.peer = nil
        state.owesRoom = false
      }
      let wait =
        state.peer == nil || state.isClosed ? nil : reconnection?.delay(before: state.failedTries)
      return (state.peer, state.owesRoom, wait)
    }
    guard let peer else { return }
    peer.source.cancel()
    callers.withLock { $0?.setInterests(.readable) }
    if owesRoom { user.tell(.maySend) }
    if let wait { callAgain(after: wait) }
  }

  private func callAgain(after wait: UInt64) {
    alarm.withLock { [clock] in $0?.set(clock.now.advanced(by: wait)) }
  }

  /// The peer may be back.
  private func tryAgain() {
    guard state.withLock({ $0.peer == nil && !$0.isClosed }) else { return }
    do throws(HostError) {
      try meet(UnixClient.connect(path))
    } catch {
      let wait = state.withLock { state in
        state.failedTries += 1
        return reconnection?.delay(before: state.failedTries)
      }
      if let wait { callAgain(after: wait) }
    }
  }
}
