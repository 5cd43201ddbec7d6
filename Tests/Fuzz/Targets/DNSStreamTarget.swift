import HostOS
import Kit
import UserNetwork
import Work

extension FuzzTarget {
  /// Connections to the name server: bytes for them, answers from outside, and time that passes.
  static let dnsStream = FuzzTarget("dns-stream") { input in
    var script = Script(input)
    let rig = ServiceRig()
    var calls: [Call] = []
    while !script.isAtEnd {
      switch script.byte() & 7 {
      case 0:
        rig.clock.advance(by: UInt64(script.byte()) << 28)
        rig.loop.run()
      case 1, 2: rig.resolvers.stir(&script)
      case 3: if let call = Call(rig.services.nameServer, rig.plan) { calls.append(call) }
      case 4: if !calls.isEmpty { calls.remove(at: script.pick(calls.count)).close(&script) }
      default: if !calls.isEmpty { calls[script.pick(calls.count)].step(&script) }
      }
    }
    for call in calls { call.close(&script) }
    rig.resolvers.forget()
    // Whatever was asked and given up, there is room again.
    guard let last = Call(rig.services.nameServer, rig.plan) else {
      return require(false, "a connection that is closed makes room")
    }
    last.send(Call.question(0))
    require(last.read(1 << 16) > 0, "the network's own names are always answered")
    last.close(&script)
  }
}

/// One connection, and a reader that checks how answers are framed.
private final class Call {
  private let connection: any HostConnection
  /// Bytes of the answer that is being read which are still to come.
  private var left = 0
  private var length: [UInt8] = []

  init?(_ server: NameServer, _ plan: UserNetworkPlan) {
    guard
      let connection = server.accept(
        from: Endpoint(plan.guestV4, 40_000), at: Endpoint(plan.dnsV4, 53), { _ in })
    else { return nil }
    self.connection = connection
  }

  func step(_ script: inout Script) {
    switch script.byte() & 7 {
    case 0: _ = read(1 + Int(script.byte()) << 4)
    case 1: connection.finishSending()
    case 2: send(script.piece())
    case 3:
      let piece = script.piece()
      send([0, UInt8(piece.count)] + piece)
    default: send(Self.question(script.byte()))
    }
  }

  func close(_ script: inout Script) { script.flag() ? connection.close() : connection.abort() }

  func send(_ bytes: [UInt8]) {
    if case .moved(let count) = connection.send(bytes, 0..<bytes.count) {
      require(count <= bytes.count, "no more is taken than there is")
    }
  }

  /// Reads once; answers how many bytes came.
  func read(_ count: Int) -> Int {
    let head: [UInt8] = [0xa5, 0x5a]
    var bytes: [UInt8] = []
    let transfer = connection.receive(upTo: count, piecesOf: 100, behind: head, into: &bytes)
    guard case .moved(let moved) = transfer else { return 0 }
    var read = 0
    for start in stride(from: 0, to: bytes.count, by: 102) {
      let piece = bytes[start..<min(start + 102, bytes.count)]
      require(piece.starts(with: head), "each piece is behind its head")
      for byte in piece.dropFirst(2) { take(byte) }
      read += piece.count - 2
    }
    require(read == moved && moved <= count, "pieces hold what was read")
    return moved
  }

  private func take(_ byte: UInt8) {
    guard left == 0 else { return left -= 1 }
    length.append(byte)
    guard length.count == 2 else { return }
    left = Int(length[0]) << 8 | Int(length[1])
    length = []
    require(left >= 12, "an answer has a header")
  }

  /// A question behind its length: for a name of the network's own, or of the outside.
  static func question(_ kind: UInt8) -> [UInt8] {
    let own: [UInt8] = [
      4, 104, 111, 115, 116, 5, 114, 111, 111, 115, 116, 8, 105, 110, 116, 101, 114, 110, 97, 108,
      0,
    ]
    let name = kind & 1 == 0 ? own : [1, 97, 3, 111, 114, 103, 0]
    let message = [kind, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0] + name + [0, kind >> 1, 0, 1]
    return [0, UInt8(message.count)] + message
  }
}
