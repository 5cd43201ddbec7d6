import Board
import PCI

/// A window in configuration space to a device's structures, for firmware that cannot reach its BAR.
///
/// The driver writes BAR, offset and length; then an access to the last register is one to that place.
///
/// - SeeAlso: VIRTIO 1.3 §4.1.4.9 "PCI configuration access capability".
final class PCIConfigurationAccess: LiveCapability {
  private let structures: PCIStructures
  private let bar: UInt8

  private init(_ structures: PCIStructures, bar: UInt8) {
    self.structures = structures
    self.bar = bar
  }

  static func capability(to structures: PCIStructures, bar: UInt8) -> PCICapability {
    PCICapability(
      id: 0x09, registers: [20 << 16 | 5 << 24, 0, 0, 0, 0], writable: [0, 0xff, .max, .max, .max],
      live: PCIConfigurationAccess(structures, bar: bar))
  }

  private static let data = 4

  func read(_ index: Int, _ registers: [UInt32]) -> UInt32 {
    guard index == Self.data else { return registers[index] }
    guard let access = access(registers), let value = try? structures.read(access) else { return 0 }
    return UInt32(truncatingIfNeeded: value & access.width.mask)
  }

  func written(_ index: Int, mask: UInt32, old: UInt32, _ registers: [UInt32]) {
    guard index == Self.data, let access = access(registers) else { return }
    try? structures.write(UInt64(registers[index]) & access.width.mask, access)
  }

  /// The access that the registers ask for; `nil`: none that the device has.
  private func access(_ registers: [UInt32]) -> Access? {
    let offset = UInt64(registers[2])
    guard UInt8(truncatingIfNeeded: registers[1]) == bar, registers[3] <= 4,
      let width = AccessWidth(rawValue: UInt8(registers[3])), offset % width.bytes == 0,
      let structure = VirtioPCI.Structure.allCases.first(where: {
        $0.offset..<$0.offset + 0x1000 ~= offset
      })
    else { return nil }
    return Access(region: structure.rawValue, width: width, offset: offset - structure.offset)
  }
}
