/// Who a function says it is: PCI 3.0 §6.2.1 "Device Identification".
package struct PCIIdentity: Sendable {
  package let vendor: UInt16
  package let device: UInt16
  package let revision: UInt8
  package let classCode: ClassCode
  package let subsystemVendor: UInt16
  package let subsystem: UInt16

  package init(
    vendor: UInt16, device: UInt16, revision: UInt8 = 0, classCode: ClassCode,
    subsystemVendor: UInt16 = 0, subsystem: UInt16 = 0
  ) {
    self.vendor = vendor
    self.device = device
    self.revision = revision
    self.classCode = classCode
    self.subsystemVendor = subsystemVendor
    self.subsystem = subsystem
  }

  /// Base class, sub-class and programming interface: PCI Code and ID Assignment 1.11 §1.
  package struct ClassCode: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue & 0xff_ffff }

    package static let massStorageNVMe = ClassCode(rawValue: 0x01_0802)
    package static let ethernet = ClassCode(rawValue: 0x02_0000)
    package static let hostBridge = ClassCode(rawValue: 0x06_0000)
    package static let pciBridge = ClassCode(rawValue: 0x06_0400)
  }
}
