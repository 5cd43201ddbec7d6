import Board
import CKVM
import Execution
import Synchronization

/// The kernel's local APICs, seen from the board.
final class KVMInterrupts: ProcessorInterrupts, Sendable {
  /// Parts of the board, which hold the way to here themselves.
  private struct Connections {
    weak var acknowledger: (any InterruptAcknowledger)?
    weak var endOfInterrupt: (any EndOfInterruptListener)?
  }

  private let machine: KVMHandle
  private let routes: MessageRoutes
  private let attention: [Attention]
  private let connections = Mutex(Connections())
  /// LINT0: the 8259 pair asks for an interrupt.
  private let externalAsserted = Atomic<Bool>(false)
  private let nmiLevel = Atomic<Bool>(false)
  /// By processor: an NMI that came by LINT1 and was not handed over yet.
  private let nmis = Mutex<Set<Int>>([])
  /// Whether there is any of them.
  private let someNMI = Atomic<Bool>(false)

  init(_ machine: KVMHandle, routes: MessageRoutes, attention: [Attention]) {
    self.machine = machine
    self.routes = routes
    self.attention = attention
  }

  // MARK: - What the board does

  func set(_ pin: UInt32, asserted: Bool) {
    switch pin {
    case ProcessorPin.lint0:
      externalAsserted.store(asserted, ordering: .sequentiallyConsistent)
      if asserted { for processor in attention { processor.ask(.interrupt) } }
    case ProcessorPin.lint1:
      let wasAsserted = nmiLevel.exchange(asserted, ordering: .sequentiallyConsistent)
      guard asserted, !wasAsserted else { return }
      nmis.withLock { nmis in
        nmis = Set(attention.indices)
        someNMI.store(true, ordering: .sequentiallyConsistent)
      }
      for processor in attention { processor.ask(.interrupt) }
    default: break
    }
  }

  /// - SeeAlso: Intel SDM Vol. 3A §11.11 "Message Signalled Interrupts".
  func signal(_ message: MSI, from requester: UInt16) {
    let isLevel = message.data & 1 << 15 != 0
    let isAsserted = message.data & 1 << 14 != 0
    guard (message.address & 0xffff_ffff) >> 20 == 0xfee, !isLevel || isAsserted else { return }
    // Without a route the interrupt works, but its end is not reported: the device's line then stays
    // quiet, which harms nobody else.
    if isLevel { try? routes.reportEnds(of: [message]) }
    var request = kvm_msi()
    request.address_lo = UInt32(truncatingIfNeeded: message.address)
    request.address_hi = UInt32(truncatingIfNeeded: message.address >> 32)
    request.data = message.data
    // A message that nobody is there to take is lost, as on a bus.
    _ = try? machine.request(KVM_REQUEST_SIGNAL_MSI, &request, "signal a message")
  }

  func connect(acknowledger: any InterruptAcknowledger) {
    connections.withLock { $0.acknowledger = acknowledger }
  }

  func connect(endOfInterrupt: any EndOfInterruptListener) {
    connections.withLock { $0.endOfInterrupt = endOfInterrupt }
  }

  // MARK: - What the processors ask

  /// Whether the 8259 pair asks for an interrupt.
  var hasExternal: Bool { externalAsserted.load(ordering: .sequentiallyConsistent) }

  /// The vector of the external interrupt, which counts as taken.
  func acknowledgeExternal() -> UInt8? {
    connections.withLock { $0.acknowledger }?.acknowledge()
  }

  /// Whether an NMI has come for the processor; taken by asking.
  func takeNMI(_ processor: Int) -> Bool {
    nmis.withLock { nmis in
      let wasThere = nmis.remove(processor) != nil
      if nmis.isEmpty { someNMI.store(false, ordering: .sequentiallyConsistent) }
      return wasThere
    }
  }

  var hasNMI: Bool { someNMI.load(ordering: .sequentiallyConsistent) }

  func ended(_ vector: UInt8) {
    connections.withLock { $0.endOfInterrupt }?.endOfInterrupt(vector: vector)
  }

  /// The processor has level-triggered vectors under way whose end must be reported.
  func expectEnds(of vectors: [UInt8], on processor: Int) throws(EngineError) {
    try routes.reportEnds(
      of: vectors.map { vector in
        MSI(
          address: 0xfee0_0000 | UInt64(processor & 0xff) << 12,
          data: UInt32(vector) | 1 << 14 | 1 << 15)
      })
  }
}
