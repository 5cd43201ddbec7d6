extension ConfigurationSpace {
  /// The host bridge, function 00:00.0: what tells a guest that this is PCI at all. It has nothing to
  /// configure.
  ///
  /// Its identity is that of the generic host bridge of QEMU's virtual machines, for which guests know
  /// no exceptions.
  package static func hostBridge() -> ConfigurationSpace {
    let identity = PCIIdentity(
      vendor: 0x1b36, device: 0x0008, classCode: .hostBridge, subsystemVendor: 0x1af4,
      subsystem: 0x1100)
    return ConfigurationSpace(identity)
  }
}
