import Board
import Memory
import PCI
import Virtio

extension PC {
  /// Plugs the devices that the user asked for into their places, in the order in which they were asked for.
  static func plug(
    _ devices: [OpenedDevice], into root: PCIRoot, on board: Backplane
  ) throws -> [Part] {
    var parts: [Part] = []
    var slot: UInt8 = 0
    var window = 0
    for opened in devices {
      let device = try opened.make(board)
      switch opened.bus {
      case .pci:
        slot += 1
        let function = VirtioPCI(
          device, memory: board.memory, express: .endpoint, loop: board.loop)
        root.bus.plug(function.configuration, device: slot)
        parts.append(Part(opened.name, function))
      case .mmio:
        let function = VirtioMMIO(
          device, interrupt: root.interruptLine(window), dma: DMA(board.memory), loop: board.loop)
        board.registers.map(function, at: PCAddressMap.virtioWindow(window))
        parts.append(Part(opened.name, function))
        window += 1
      }
    }
    return parts
  }
}
