import Board
import Synchronization

/// What joins a PCI hierarchy to the machine: the address spaces that its functions answer in, and where
/// their messages go.
///
/// Who answers where follows from the registers of all functions and bridges, and is worked out anew
/// after a change of any. So it does not depend on the order of changes: a restored machine is the same.
final class PCIFabric: Sendable {
  /// A block of a BAR that answers.
  private struct Answer: Sendable {
    let isMemory: Bool
    let range: Range<UInt64>
    let block: BAR.Block

    func isSame(as other: Answer) -> Bool {
      isMemory == other.isMemory && range == other.range && block.device === other.block.device
        && block.region == other.block.region
    }
  }

  private struct State: Sendable {
    weak var root: PCIBus?
    var answers: [Answer] = []
  }

  let messages: any MSITarget
  private let ports: IOBus
  private let registers: IOBus
  // Taken before the lock of any function.
  private let state = Mutex(State())

  init(ports: IOBus, registers: IOBus, messages: any MSITarget) {
    self.ports = ports
    self.registers = registers
    self.messages = messages
  }

  /// The bus that the hierarchy begins with. Once, before anything is plugged in.
  func connect(root: PCIBus) { state.withLock { $0.root = root } }

  /// Brings bus mastering and the machine's address spaces in line with the functions' registers.
  func settle() {
    state.withLock { state in
      var wanted: [Answer] = []
      if let root = state.root { collect(root, above: [], isOpen: true, &wanted) }
      // First all that goes, then what comes: two BARs may change places.
      var kept: [Answer] = []
      for old in state.answers {
        if wanted.contains(where: { $0.isSame(as: old) }) {
          kept.append(old)
        } else {
          bus(old).unmap(old.range)
        }
      }
      // What is another's, such as the I/O APIC's, stays so.
      for new in wanted where !kept.contains(where: { $0.isSame(as: new) }) {
        if bus(new).map(new.block.device, at: new.range, region: new.block.region) {
          kept.append(new)
        }
      }
      state.answers = kept
    }
  }

  private func bus(_ answer: Answer) -> IOBus { answer.isMemory ? registers : ports }

  /// Goes over a bus and those behind it, in the order of their slots. Of BARs that overlap the first has
  /// its way. The recursion is as deep as the hierarchy was built, whatever the guest says of it.
  private func collect(
    _ bus: PCIBus, above: [any PCIBridge], isOpen: Bool, _ answers: inout [Answer]
  ) {
    for function in bus.inventory {
      function.setUpstream(isOpen: isOpen)
      for decode in function.decodes {
        let isMemory = decode.bar.space.isMemory
        guard above.allSatisfy({ $0.forwards(decode.range, isMemory: isMemory) }) else { continue }
        for block in decode.bar.blocks {
          let start = decode.range.lowerBound
          let range = start + block.range.lowerBound..<start + block.range.upperBound
          let isTaken = answers.contains { $0.isMemory == isMemory && $0.range.overlaps(range) }
          if !isTaken { answers.append(Answer(isMemory: isMemory, range: range, block: block)) }
        }
      }
      if let bridge = function.bridge {
        let isOpen = isOpen && bridge.isMaster
        collect(bridge.secondary, above: above + [bridge], isOpen: isOpen, &answers)
      }
    }
  }
}
