extension Table {
  /// A virtio device that no bus announces.
  ///
  /// - SeeAlso: ACPI 6.4 §6.1.5 "_HID (Hardware ID)"; `LNRO0005` is the identifier by which Linux knows it.
  static func virtioDevice(_ index: Int, _ device: PCDescription.VirtioMMIO) -> Term {
    precondition(index < 1 << 8, "two hexadecimal digits name a virtio device")
    let digits = String(index, radix: 16, uppercase: true)
    return Device(NamePath("VR" + String(repeating: "0", count: 2 - digits.count) + digits)) {
      Name("_HID", "LNRO0005")
      Name("_UID", Term(UInt64(index)))
      Name(
        "_CRS",
        ResourceTemplate {
          Memory32Fixed(device.address, length: device.length)
          Interrupt(device.interrupt)
        })
    }
  }
}
