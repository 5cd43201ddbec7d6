import Synchronization
import Work

/// Datagrams of the services' on their way to the loop. A service may answer while it is being asked.
final class Replies: DatagramSender {
  struct Reply {
    let payload: [UInt8]
    let source: Endpoint
    let destination: Endpoint
    let hardware: MACAddress?
  }

  private let waiting = Mutex<[Reply]>([])
  private let bell: any Doorbell
  /// More than this wait for the loop only if it stands still.
  private static let limit = 4096

  init(bell: any Doorbell) { self.bell = bell }

  func send(
    _ payload: [UInt8], from: Endpoint, to: Endpoint, hardwareDestination: MACAddress?
  ) {
    let reply = Reply(
      payload: payload, source: from, destination: to, hardware: hardwareDestination)
    let isFirst = waiting.withLock { waiting in
      guard waiting.count < Self.limit else { return false }
      waiting.append(reply)
      return waiting.count == 1
    }
    if isFirst { bell.ring() }
  }

  func take() -> [Reply] {
    waiting.withLock { waiting in
      defer { waiting = [] }
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
