import Synchronization
package import Work

/// Lets a guest read the files of one folder: what it boots from the network.
///
/// A transfer is told from others by a port of ours, of which there are as many as there may be transfers at once.
/// All work is done on the network's loop.
///
/// - SeeAlso: RFC 1350 "The TFTP Protocol (Revision 2)"; RFC 2347, RFC 2348, RFC 2349, RFC 7440 for its options.
package final class TFTPServer: DatagramService {
  // Wiring.
  private let plan: UserNetworkPlan
  private let folder: TFTPFolder
  private let clock: any VMClock
  private let alarm = Mutex<(any Alarm)?>(nil)
  /// The way to the guest, by which it was last heard from.
  private let sender = Mutex<(any DatagramSender)?>(nil)
  // State.
  private let transfers: LoopBound<[UInt16: TFTPTransfer]>
  private let counters = Mutex(Counters())

  package struct Counters: Sendable, Equatable {
    package var requests: UInt64 = 0
    package var refused: UInt64 = 0
    package var finished: UInt64 = 0
    /// Given up, because the guest no longer answered or a file could not be read.
    package var abandoned: UInt64 = 0
    package var malformed: UInt64 = 0
  }
  package var statistics: Counters { counters.withLock { $0 } }

  package init(
    plan: UserNetworkPlan, folder: TFTPFolder, clock: any VMClock, loop: any Loop
  ) {
    self.plan = plan
    self.folder = folder
    self.clock = clock
    transfers = LoopBound([:], on: loop)
    let alarm = clock.makeAlarm(on: loop) { [weak self] in self?.timePassed() }
    self.alarm.withLock { $0 = alarm }
  }

  private static let port: UInt16 = 69
  /// Ports of transfers.
  static let transferPorts: Range<UInt16> = 61_000..<61_016

  package var ports: [UInt16] { [Self.port] + Self.transferPorts }
}

// MARK: - Packets

extension TFTPServer {
  package func receive(_ datagram: Datagram, _ sender: any DatagramSender) {
    guard plan.isOwn(datagram.destination.address), !datagram.source.address.isUnspecified,
      datagram.source.port != 0
    else { return }
    self.sender.withLock { $0 = sender }
    var reader = MessageReader(datagram.payload)
    guard let raw = reader.word16(), let operation = TFTPRequest.Operation(rawValue: raw),
      let body = reader.take(reader.remaining)
    else { return counters.withLock { $0.malformed += 1 } }
    if datagram.destination.port == Self.port {
      begin(operation, body, datagram)
    } else {
      goOn(operation, body, datagram)
    }
    setAlarm()
  }

  private func begin(_ operation: TFTPRequest.Operation, _ body: [UInt8], _ datagram: Datagram) {
    counters.withLock { $0.requests += 1 }
    guard operation == .read else {
      // An error is never answered with one (RFC 1350 7).
      guard operation != .error else { return }
      return refuse(
        datagram, operation == .write ? .accessViolation : .illegalOperation,
        "files can only be read")
    }
    guard let request = TFTPRequest(body) else {
      return refuse(datagram, .illegalOperation, "the request is malformed")
    }
    let free = transfers.with { transfers -> UInt16? in
      // The guest asks again: what it waits for is on its way.
      if transfers.values.contains(where: { $0.client == datagram.source }) { return 0 }
      return Self.transferPorts.filter { transfers[$0] == nil }.randomElement()
    }
    guard let free else { return refuse(datagram, .undefined, "too many transfers") }
    guard free != 0 else { return }
    guard let (file, size) = folder.open(request.path) else {
      return refuse(datagram, .notFound, "there is no such file")
    }
    var transfer = TFTPTransfer(
      request, file, size: size, client: datagram.source,
      server: Endpoint(datagram.destination.address, free),
      // Headers of IP, UDP and TFTP.
      largestBlock: plan.maximumTransmissionUnit - (datagram.source.address.isV6 ? 52 : 32))
    carryOut(transfer.start(clock.now), transfer)
  }

  private func goOn(_ operation: TFTPRequest.Operation, _ body: [UInt8], _ datagram: Datagram) {
    let port = datagram.destination.port
    guard var transfer = transfers.with({ $0[port] }), transfer.client == datagram.source else {
      // RFC 1350 4: the stranger is told, and the transfer goes on.
      guard operation != .error else { return }
      return refuse(datagram, .unknownTransfer, "there is no such transfer")
    }
    switch operation {
    case .acknowledge:
      var reader = MessageReader(body)
      guard let number = reader.word16() else {
        return counters.withLock { $0.malformed += 1 }
      }
      carryOut(transfer.acknowledged(number, clock.now), transfer)
    case .error: end(transfer, isFinished: false)
    case .read, .write, .data, .options:
      refuse(datagram, .illegalOperation, "that is not expected here")
      end(transfer, isFinished: false)
    }
  }

  private func refuse(_ datagram: Datagram, _ failure: TFTPRequest.Failure, _ text: String) {
    counters.withLock { $0.refused += 1 }
    send(TFTPRequest.error(failure, text), from: datagram.destination, to: datagram.source)
  }
}

// MARK: - Transfers

extension TFTPServer {
  private func carryOut(_ step: TFTPTransfer.Step, _ transfer: TFTPTransfer) {
    switch step {
    case .wait: break
    case .send(let packets):
      transfers.with { $0[transfer.server.port] = transfer }
      for packet in packets { send(packet, from: transfer.server, to: transfer.client) }
    case .end(let packets):
      for packet in packets { send(packet, from: transfer.server, to: transfer.client) }
      end(transfer, isFinished: packets.isEmpty && transfer.isComplete)
    }
  }

  private func end(_ transfer: TFTPTransfer, isFinished: Bool) {
    transfers.with { $0[transfer.server.port] = nil }
    counters.withLock { counters in
      if isFinished { counters.finished += 1 } else { counters.abandoned += 1 }
    }
  }

  private func send(_ bytes: [UInt8], from server: Endpoint, to client: Endpoint) {
    let sender = self.sender.withLock { $0 }
    sender?.send(bytes, from: server, to: client, hardwareDestination: nil)
  }

  private func timePassed() {
    let now = clock.now
    for var transfer in transfers.with({ $0.values.filter { $0.deadline <= now } }) {
      carryOut(transfer.timedOut(now), transfer)
    }
    setAlarm()
  }

  private func setAlarm() {
    let next = transfers.with { $0.values.map(\.deadline).min() }
    alarm.withLock { $0?.set(next) }
  }
}
