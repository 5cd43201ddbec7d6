import HostOS
import Synchronization
import Work

// MARK: - Asking outside

extension NameServer {
  /// Begins to ask. The client is told at once if there is no asking.
  func forward(_ message: DNSMessage, _ client: Client) {
    var waiting = Waiting(client: client, message: message, resolvers: source.resolvers)
    if case .datagram(let guest, _, _) = client {
      waiting.asked = Asked(
        client: guest, identifier: message.identifier, question: Array(message.questionBytes))
    }
    let isAccepted = state.with { state -> Bool in
      if let asked = waiting.asked, state.asked[asked] != nil { return true }
      guard state.waiting.count < Self.capacity, !waiting.resolvers.isEmpty else { return false }
      var identifier = UInt16.random(in: .min ... .max)
      while state.waiting[identifier] != nil { identifier = .random(in: .min ... .max) }
      state.waiting[identifier] = waiting
      if let asked = waiting.asked { state.asked[asked] = identifier }
      return ask(identifier, &state)
    }
    setAlarm()
    guard !isAccepted else { return }
    counters.withLock { $0.failed += 1 }
    deliver(message.answer(.serverFailure), of: message, to: client)
  }

  /// Asks the next resolver that can be asked. `false`: none is left, and the question no longer waits.
  private func ask(_ identifier: UInt16, _ state: inout State) -> Bool {
    guard var waiting = state.waiting[identifier] else { return false }
    while waiting.tries < waiting.resolvers.count * Self.rounds {
      let resolver = waiting.resolvers[waiting.tries % waiting.resolvers.count]
      waiting.tries += 1
      let number = waiting.tries
      let channel = transport.open(to: resolver, by: waiting.transport) { [weak self] bytes in
        self?.answered(identifier, try: number, bytes)
      }
      guard let channel, channel.send(waiting.message.numbered(identifier)) else { continue }
      waiting.channel = channel
      waiting.deadline = clock.now.advanced(by: Self.patience)
      state.waiting[identifier] = waiting
      return true
    }
    state.forget(identifier)
    return false
  }

  /// A resolver has sent something, or cannot be reached.
  private func answered(_ identifier: UInt16, try number: Int, _ bytes: [UInt8]?) {
    let reply = state.with { state -> (Waiting, [UInt8])? in
      guard let waiting = state.waiting[identifier], waiting.tries == number else {
        counters.withLock { $0.strayAnswers += 1 }
        return nil
      }
      guard let bytes else { return next(identifier, waiting, &state) }
      guard let answer = checked(bytes, identifier, waiting) else {
        counters.withLock { $0.strayAnswers += 1 }
        return nil
      }
      let isUnable = [2, 4, 5].contains(bytes[3] & 0xf)  // failure, not implemented, refused
      // Who asked by TCP has no other way to the rest.
      let isUseless = waiting.client.isStream && DNSMessage.isTruncated(bytes)
      if isUseless || isUnable && waiting.tries < waiting.resolvers.count {
        return next(identifier, waiting, &state)
      }
      state.forget(identifier)
      counters.withLock { $0.answeredOutside += 1 }
      return (waiting, answer)
    }
    deliver(reply)
    setAlarm()
  }

  private func next(
    _ identifier: UInt16, _ waiting: Waiting, _ state: inout State
  ) -> (Waiting, [UInt8])? {
    if ask(identifier, &state) { return nil }
    counters.withLock { $0.failed += 1 }
    return (waiting, waiting.message.answer(.serverFailure))
  }

  private func deliver(_ reply: (Waiting, [UInt8])?) {
    guard let (waiting, answer) = reply else { return }
    deliver(answer, of: waiting.message, to: waiting.client)
  }

  /// Turns from those that were silent to the next.
  func askOthers() {
    let now = clock.now
    let replies = state.with { state in
      state.waiting.filter { $0.value.deadline <= now }.compactMap { identifier, waiting in
        next(identifier, waiting, &state)
      }
    }
    for reply in replies { deliver(reply) }
  }
}

extension NameServer.Waiting {
  /// How the last of its tries is to go.
  fileprivate var transport: Transport {
    client.isStream && tries <= resolvers.count ? .tcp : .udp
  }
}

extension NameServer.State {
  /// The question no longer waits.
  mutating func forget(_ identifier: UInt16) {
    if let asked = waiting.removeValue(forKey: identifier)?.asked { self.asked[asked] = nil }
  }
}
