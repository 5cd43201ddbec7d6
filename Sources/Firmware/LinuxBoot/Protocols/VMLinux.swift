/// A vmlinux without a PVH note: entered as the decompressor would enter it, in 64-bit mode with
/// the boot parameters in RSI (boot.rst, "64-bit Boot Protocol").
extension ELFImage {
  func planLinux64(_ request: BootRequest) throws(BootError) -> BootPlan {
    guard file.is64Bit else {
      throw .unsupported(
        "The kernel is a 32-bit ELF file without a PVH note or a Multiboot header, so there is no "
          + "agreed way to start it; pass the bzImage instead.")
    }
    guard request.modules.isEmpty else {
      throw .badRequest("A Linux vmlinux entered in 64-bit mode takes an initrd, but no modules.")
    }
    var placement = try Placement(request)
    try file.place(in: &placement)
    let entry = try file.physicalEntry()
    guard entry < 1 << 32 else {
      throw .unsupported("The kernel's entry point \(hex(entry)) lies above 4 GiB.")
    }
    var parameters = BootParameters()
    let address = try parameters.complete(
      for: request, commandLineLimit: Self.commandLineLimit, initrdLimit: .max, in: &placement)
    let state = try EntryState.long64(at: entry, .init(rsi: address), &placement)
    return BootPlan(
      description: "ELF kernel, 64-bit entry at \(hex(entry))",
      segments: placement.segments, start: .entry(state))
  }

  /// COMMAND_LINE_SIZE of Linux on x86, less the final zero.
  private static let commandLineLimit: UInt64 = 2047
}
