import Arch

/// The configuration space of one function of bus 0, through ECAM (PCI Express 5.0 §7.2.2).
struct PCIFunctionSpace {
  let base: UInt64
  let device: UInt32

  init(_ window: UInt64, device: UInt32) {
    base = window + UInt64(device << 15)
    self.device = device
  }

  /// Offsets in the header (PCI 3.0 §6.1).
  enum Register {
    static var identity: UInt64 { 0x00 }
    static var command: UInt64 { 0x04 }
    static var bar: UInt64 { 0x10 }
    static var subsystem: UInt64 { 0x2c }
    static var capabilities: UInt64 { 0x34 }
  }

  /// Bits of the command register (PCI 3.0 §6.2.2).
  enum Command {
    static var memory: UInt16 { 1 << 1 }
    static var busMaster: UInt16 { 1 << 2 }
    static var interruptDisable: UInt16 { 1 << 10 }
  }

  /// Capability IDs (PCI 3.0 appendix H).
  enum CapabilityID {
    static var powerManagement: UInt32 { 0x01 }
    static var vendor: UInt32 { 0x09 }
    static var express: UInt32 { 0x10 }
    static var msix: UInt32 { 0x11 }
  }

  func read(_ offset: UInt64) -> UInt32 { load32(base + offset) }
  func write(_ offset: UInt64, _ value: UInt32) { store32(base + offset, value) }

  var command: UInt16 {
    get { load16(base + Register.command) }
    nonmutating set { store16(base + Register.command, newValue) }
  }

  /// The capability that follows `offset` in the list, or the first; 0: none.
  func capability(after offset: UInt64? = nil) -> UInt64 {
    UInt64(load8(base + (offset.map { $0 + 1 } ?? Register.capabilities))) & 0xfc
  }
}
