import Board
package import Inspection
import Memory
package import SavedState
import Synchronization

// MARK: - What the machine sees

extension ConfigurationSpace: Component {
  package static let schema = "pci-function/2"

  package struct Saved: Codable, Sendable {
    var registers: [UInt32]
    var msix: MSIX.Saved?
    /// MSI's pending bits.
    var msiPending: UInt32?
  }

  package func reset() { with { clear(&$0) } }

  package func save() -> Saved {
    state.withLock { state in
      Saved(registers: state.registers, msix: msix?.save(), msiPending: msi?.pending)
    }
  }

  package func restore(_ saved: Saved) throws(RestoreError) {
    guard saved.registers.count == layout.count else {
      throw .refused(part: "PCI function", reason: "its configuration space has another size")
    }
    for (index, value) in saved.registers.enumerated() {
      let fixed = ~(layout.writable[index] | layout.clearable[index] | layout.driven[index])
      guard (value ^ layout.initial[index]) & fixed == 0 else {
        throw .refused(part: "PCI function", reason: "it was saved from another kind of device")
      }
    }
    let table = saved.msix.map { msix?.accepts($0) ?? false } ?? (msix == nil)
    let pending = saved.msiPending.map { $0 & ~(msi?.all ?? 0) == 0 } ?? (msi == nil)
    guard table, pending, (saved.msiPending == nil) == (msi == nil) else {
      throw .refused(part: "PCI function", reason: "its messages are those of another device")
    }
    with { state in
      state.registers = saved.registers
      if let table = saved.msix { msix?.restore(table) }
      if let pending = saved.msiPending { msi?.pending = pending }
    }
  }

  package func inspect(_ node: inout Node) {
    let sendsMessages = self.sendsMessages
    let state = state.withLock { $0 }
    node.field("address", state.place?.address.description)
    node.hex("identity", state.registers[0])
    node.hex("class", state.registers[2] >> 8)
    node.hex("command", state.command.rawValue)
    node.field("busMaster", busMaster.isOpen)
    node.field("interrupt", state.interruptPending)
    node.field("messages", sendsMessages)
    if let msix {
      let (pending, masked) = msix.summary
      node.child("msix") { node in
        node.field("vectors", msix.vectors)
        node.field("pending", pending)
        node.field("masked", masked)
      }
    }
    for slot in layout.bars {
      let range = state.range(of: slot)
      node.child("bar\(slot.register - Layout.firstBAR)") { node in
        node.field("space", "\(slot.bar.space)")
        node.hex("size", slot.bar.size)
        node.field("enabled", range != nil)
        if let range { node.hex("at", range.lowerBound) }
      }
    }
  }
}
