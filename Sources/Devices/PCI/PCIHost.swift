package import Board
package import Inspection
package import SavedState
import Synchronization

/// The way from the processors to the configuration space of a PCI hierarchy: two ports, or memory.
///
/// The ports share addresses with others. CONFIG_ADDRESS is accessed as a doubleword; narrower accesses
/// go to whatever lies beneath, such as the reset control register at port CF9h.
///
/// - SeeAlso: PCI 3.0 §3.2.2.3.2 "Software Generation of Configuration Transactions"; PCIe 6.0 §7.2.2
///   "PCI Express Enhanced Configuration Access Mechanism (ECAM)".
package final class PCIHost {
  /// The number with which each block is mapped: ports on the port bus, memory on the other.
  package enum Block: UInt8, Sendable {
    /// CONFIG_ADDRESS and CONFIG_DATA: eight ports, from CF8h on.
    case ports
    /// A mebibyte for each bus.
    case memory
  }

  // Wiring: fixed for the life of the device.
  private let root: PCIRoot
  private let beneath: [UInt64: any IODevice]
  // State: everything the guest can change.
  private let state = Mutex(State())

  package static let ports: Range<UInt64> = 0xcf8..<0xd00
  package static let memorySize: UInt64 = 1 << 28

  /// - Parameter beneath: byte-wide devices inside CONFIG_ADDRESS, by port.
  package init(root: PCIRoot, beneath: [UInt64: any IODevice] = [:]) {
    self.root = root
    self.beneath = beneath
  }
}

// MARK: - What the guest sees

extension PCIHost: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    switch Block(rawValue: access.region) {
    case .ports where access.offset >= 4:
      guard let target = state.withLock({ $0.target }) else { return access.width.mask }
      return try read(target.address, Lanes(access, target.register, access.offset - 4))
    case .ports where access.width == .doubleword && access.offset == 0:
      return UInt64(state.withLock { $0.configAddress })
    case .ports:
      let (device, inner) = try deviceBeneath(access)
      return try device.read(inner)
    case .memory:
      let address = PCIAddress(requesterID: UInt16(truncatingIfNeeded: access.offset >> 12))
      return try read(address, Lanes(access, 0, access.offset & 0xfff))
    case nil: throw .noSuchRegister
    }
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    switch Block(rawValue: access.region) {
    case .ports where access.offset >= 4:
      guard let target = state.withLock({ $0.target }) else { return }
      let lanes = try Lanes(access, target.register, access.offset - 4)
      write(value, target.address, lanes)
    case .ports where access.width == .doubleword && access.offset == 0:
      state.withLock { $0.configAddress = UInt32(truncatingIfNeeded: value) & State.writable }
    case .ports:
      let (device, inner) = try deviceBeneath(access)
      try device.write(value, inner)
    case .memory:
      let address = PCIAddress(requesterID: UInt16(truncatingIfNeeded: access.offset >> 12))
      write(value, address, try Lanes(access, 0, access.offset & 0xfff))
    case nil: throw .noSuchRegister
    }
  }

  private func deviceBeneath(_ access: Access) throws(IOError) -> (any IODevice, Access) {
    guard access.width == .byte else { throw .unsupportedWidth }
    guard let device = beneath[Self.ports.lowerBound + access.offset] else { throw .absent }
    return (device, Access(width: .byte, offset: 0))
  }

  private func read(_ address: PCIAddress, _ lanes: Lanes) throws(IOError) -> UInt64 {
    guard let bus = root.bus(address.bus) else { throw .absent }
    let low = UInt64(bus.read(lanes.register, of: address))
    guard lanes.isQuadword else { return low >> lanes.shift & lanes.mask }
    return low | UInt64(bus.read(lanes.register + 4, of: address)) << 32
  }

  private func write(_ value: UInt64, _ address: PCIAddress, _ lanes: Lanes) {
    guard let bus = root.bus(address.bus) else { return }
    let low = UInt32(truncatingIfNeeded: value << lanes.shift)
    let mask = UInt32(truncatingIfNeeded: lanes.mask << lanes.shift)
    bus.write(low & mask, mask: mask, lanes.register, of: address)
    if lanes.isQuadword {
      let high = UInt32(truncatingIfNeeded: value >> 32)
      bus.write(high, mask: .max, lanes.register + 4, of: address)
    }
  }
}

// MARK: - What the machine sees

extension PCIHost: Component {
  package static let schema = "pci-host/1"

  package struct Saved: Codable, Sendable {
    var configAddress: UInt32
  }

  package func reset() { state.withLock { $0 = State() } }

  package func save() -> Saved { Saved(configAddress: state.withLock { $0.configAddress }) }

  package func restore(_ saved: Saved) throws(RestoreError) {
    guard saved.configAddress & ~State.writable == 0 else {
      throw .refused(part: "PCI host", reason: "a reserved bit is set")
    }
    state.withLock { $0.configAddress = saved.configAddress }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.hex("configAddress", state.configAddress)
    node.field("target", state.target.map { "\($0.address) register \($0.register)" })
  }
}

// MARK: - The chip itself

extension PCIHost {
  struct State {
    /// CONFIG_ADDRESS: enable, bus, device, function, register.
    var configAddress: UInt32 = 0

    static let writable: UInt32 = 0x80ff_fffc

    /// What CONFIG_DATA stands for; `nil`: nothing.
    var target: (address: PCIAddress, register: UInt64)? {
      guard configAddress >> 31 == 1 else { return nil }
      let requesterID = UInt16(truncatingIfNeeded: configAddress >> 8)
      return (PCIAddress(requesterID: requesterID), UInt64(configAddress & 0xfc))
    }
  }

  /// An access inside one register, or to two whole ones.
  private struct Lanes {
    let register: UInt16
    /// How many bits up the access starts, and a one in each of its bits before that.
    let shift: UInt64
    let mask: UInt64
    let isQuadword: Bool

    init(_ access: Access, _ register: UInt64, _ offset: UInt64) throws(IOError) {
      let start = offset & 3
      isQuadword = access.width == .quadword
      guard isQuadword ? offset & 7 == 0 : start + access.width.bytes <= 4 else {
        throw .unsupportedWidth
      }
      self.register = UInt16(truncatingIfNeeded: register + (offset & ~3))
      shift = start * 8
      mask = access.width.mask
    }
  }
}
