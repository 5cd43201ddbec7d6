import HostOS
import Synchronization
import Work

/// What services have for the guest, on its way to the loop: datagrams, and news of streams. A service may answer while
/// it is being asked.
final class Replies: DatagramSender {
  struct Reply {
    let payload: [UInt8]
    let source: Endpoint
    let destination: Endpoint
    let hardware: MACAddress?
  }

  struct Waiting {
    var datagrams: [Reply] = []
    /// Flows by their tokens, and what their streams are ready for.
    var streams: [(UInt64, Readiness)] = []
    var isEmpty: Bool { datagrams.isEmpty && streams.isEmpty }
  }

  private let waiting = Mutex(Waiting())
  private let bell: any Doorbell
  /// More than this wait for the loop only if it stands still.
  private static let limit = 4096

  init(bell: any Doorbell) { self.bell = bell }

  func send(
    _ payload: [UInt8], from: Endpoint, to: Endpoint, hardwareDestination: MACAddress?
  ) {
    let reply = Reply(
      payload: payload, source: from, destination: to, hardware: hardwareDestination)
    add { waiting in
      if waiting.datagrams.count < Self.limit { waiting.datagrams.append(reply) }
    }
  }

  /// A service's stream may be read or written.
  func ready(_ token: UInt64, _ readiness: Readiness) {
    add { $0.streams.append((token, readiness)) }
  }

  private func add(_ news: (inout Waiting) -> Void) {
    let isFirst = waiting.withLock { waiting in
      let wasEmpty = waiting.isEmpty
      news(&waiting)
      return wasEmpty && !waiting.isEmpty
    }
    if isFirst { bell.ring() }
  }

  func take() -> Waiting {
    waiting.withLock { waiting in
      defer { waiting = Waiting() }
      return waiting
    }
  }
}

extension NetworkStack {
  func send(_ reply: Replies.Reply) {
    let prefix = headerLength(isV6: reply.source.address.isV6) + UDP.headerLength
    var bytes = [UInt8](repeating: 0, count: prefix) + reply.payload
    sendUDP(&bytes, from: reply.source, to: reply.destination, hardware: reply.hardware)
  }
}
