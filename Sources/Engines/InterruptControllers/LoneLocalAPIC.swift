package import Board
import Synchronization
package import Work

/// A local APIC without others: a copy of one that lives elsewhere, for as long as an instruction works on it.
///
/// What it sends is kept for whoever carries it further, and its timer never rings: the original's does.
package final class LoneLocalAPIC: LocalAPICBus {
  // Wiring.
  // Written by `init` only; a `var` because the APIC needs to know its bus.
  nonisolated(unsafe) private var only: LocalAPIC?
  private let processors: Int
  // State.
  private let outgoing = Mutex(Outgoing())

  /// What the APIC sent.
  package struct Outgoing: Sendable {
    /// Interprocessor messages, one for each processor addressed unless an 8-bit logical destination names them.
    package var messages: [MSI] = []
    /// Vectors of level-triggered interrupts whose end is to be broadcast to the I/O APICs.
    package var ended: [UInt8] = []
  }

  /// - Parameters:
  ///   - id: its APIC ID.
  ///   - processors: how many there are in the machine; their APIC IDs count from 0.
  package init(
    id: UInt32, processors: Int, clock: any VMClock, tscFrequency: UInt64,
    physicalAddressBits: UInt32
  ) {
    self.processors = processors
    only = LocalAPIC(
      id: id, bus: self, clock: clock, loop: nil, counter: Oscillator(frequency: tscFrequency),
      addressBits: physicalAddressBits)
  }

  package var apic: LocalAPIC {
    guard let only else { preconditionFailure("a local APIC used before it was made") }
    return only
  }

  /// Hands out what was sent since it was last asked.
  package func takeOutgoing() -> Outgoing {
    outgoing.withLock { outgoing in
      defer { outgoing = Outgoing() }
      return outgoing
    }
  }
}

// MARK: - What the APIC asks of it
extension LoneLocalAPIC {
  func send(_ message: InterruptMessage) {
    let messages = message.messages(processors: processors, isWide: apic.isX2APIC)
    outgoing.withLock { $0.messages += messages }
  }

  func broadcastEnd(of vector: UInt8) { outgoing.withLock { $0.ended.append(vector) } }

  func acknowledgeExternalInterrupt() -> UInt8? { nil }

  func attend(_ processor: Int) {}
}

extension InterruptMessage {
  /// The message as devices write it: SDM Vol. 3A §11.11 "Message Signalled Interrupts".
  ///
  /// A device's destination has eight bits, and no shorthand: all that needs more becomes one message for each
  /// processor. Of several addressed by a lowest-priority message the first takes it.
  ///
  /// - Parameter isWide: whether a logical destination is one of x2APIC mode (§11.12.10.1).
  func messages(processors: Int, isWide: Bool) -> [MSI] {
    switch destination {
    case .logical(let target) where !isWide: return [message(to: target & 0xff, isLogical: true)]
    case .physical(let id): return id < processors ? [message(to: id)] : []
    default: break
    }
    let addressed = (0..<UInt32(processors)).filter { id in
      switch destination {
      case .all: true
      case .allExcept(let other): id != other
      case .physical(let target): id == target
      case .logical(let target):
        target == .max || id >> 4 == target >> 16 && target & 1 << (id & 0xf) != 0
      }
    }
    return addressed.prefix(isArbitrated ? 1 : addressed.count).map { message(to: $0) }
  }

  private func message(to target: UInt32, isLogical: Bool = false) -> MSI {
    let level: UInt32 = isLevelTriggered ? 1 << 15 : 0
    return MSI(
      address: 0xfee0_0000 | UInt64(target & 0xff) << 12 | (isLogical ? 1 << 2 : 0),
      data: UInt32(vector) | UInt32(mode.rawValue) << 8 | 1 << 14 | level)
  }
}
