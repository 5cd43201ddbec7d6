package import Board
import Execution
import Synchronization
package import Work

/// Told, from any thread, that a processor should look at its APIC's `pending`: it wakes a halted
/// processor, and makes a running one stop at its next block.
package protocol ProcessorAttention: AnyObject, Sendable {
  func attend(_ processor: Int)
}

/// The local APICs of all processors, and the bus between them.
///
/// No two of their locks are ever held at once.
package final class LocalAPICs: ProcessorInterrupts, LocalAPICBus {
  // Wiring.
  private let attention: any ProcessorAttention
  // Written by `init` only; a `var` because the APICs need to know their bus.
  nonisolated(unsafe) private var apics: [LocalAPIC] = []
  private let connections = Mutex(Connections())
  // State: which APIC won the last arbitration, so that equals take turns.
  private let lastWinner = Atomic<Int>(0)

  /// Parts of the board, which hold the way to here themselves.
  private struct Connections {
    weak var acknowledger: (any InterruptAcknowledger)?
    weak var endOfInterrupt: (any EndOfInterruptListener)?
  }

  /// - Parameters:
  ///   - processors: how many; their indices are their APIC IDs.
  ///   - loop: where the timers run.
  ///   - tscFrequency: ticks of the time-stamp counters in a second of guest time.
  ///   - physicalAddressBits: how many bits of IA32_APIC_BASE may be set.
  package init(
    processors: Int, clock: any VMClock, loop: any Loop, tscFrequency: UInt64,
    attention: any ProcessorAttention, physicalAddressBits: UInt32 = 52
  ) {
    precondition((13...52).contains(physicalAddressBits), "no processor addresses memory like that")
    self.attention = attention
    let counter = Oscillator(frequency: tscFrequency)
    apics = (0..<processors).map {
      LocalAPIC(
        id: UInt32($0), bus: self, clock: clock, loop: loop, counter: counter,
        addressBits: physicalAddressBits)
    }
  }

  package subscript(processor: Int) -> LocalAPIC { apics[processor] }

  package var count: Int { apics.count }
}

// MARK: - What the board sees
extension LocalAPICs {
  /// Drives a pin of `ProcessorPin` on every APIC.
  package func set(_ pin: UInt32, asserted: Bool) {
    guard let lint = [ProcessorPin.lint0, ProcessorPin.lint1].firstIndex(of: pin) else { return }
    for apic in apics { apic.setPin(lint, asserted: asserted) }
  }

  package func signal(_ message: MSI, from requester: UInt16) {
    if let message = InterruptMessage(message) { send(message) }
  }

  package func connect(acknowledger: any InterruptAcknowledger) {
    connections.withLock { $0.acknowledger = acknowledger }
  }

  package func connect(endOfInterrupt: any EndOfInterruptListener) {
    connections.withLock { $0.endOfInterrupt = endOfInterrupt }
  }
}

// MARK: - What the APICs ask of it
extension LocalAPICs {
  func send(_ message: InterruptMessage) {
    if message.isArbitrated {
      if let winner = arbitrate(message) { apics[winner].receive(message) }
    } else if case .physical(let id) = message.destination {
      if id < apics.count { apics[Int(id)].receive(message) }
    } else {
      for apic in apics { apic.receive(message) }
    }
  }

  /// §11.6.2.4 "Lowest Priority Delivery Mode". Of equals, the next after the last winner.
  private func arbitrate(_ message: InterruptMessage) -> Int? {
    let first = lastWinner.load(ordering: .relaxed) + 1
    var winner: (index: Int, bid: UInt8)?
    for index in (0..<apics.count).map({ ($0 + first) % apics.count }) {
      guard let bid = apics[index].bid(for: message) else { continue }
      if winner.map({ bid < $0.bid }) ?? true { winner = (index, bid) }
    }
    if let winner { lastWinner.store(winner.index, ordering: .relaxed) }
    return winner?.index
  }

  func acknowledgeExternalInterrupt() -> UInt8? {
    connections.withLock { $0.acknowledger }?.acknowledge()
  }

  func attend(_ processor: Int) { attention.attend(processor) }

  func broadcastEnd(of vector: UInt8) {
    connections.withLock { $0.endOfInterrupt }?.endOfInterrupt(vector: vector)
  }
}
