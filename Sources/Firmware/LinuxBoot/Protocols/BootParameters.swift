/// `struct boot_params`, the "zero page": what a loader tells Linux
/// (Linux Documentation/arch/x86/zero-page.rst; names as in its bootparam.h).
struct BootParameters {
  private var page = Structure(count: 4096)

  /// Parameters for a kernel that brings a setup header.
  init(copying header: SetupHeader) {
    page.store(header.bytes, at: Int(SetupHeader.start))
    page.store(Self.undefinedLoader, at: 0x210)
  }

  /// Parameters for a kernel without one (a vmlinux), as its own loader would have filled them.
  init() {
    page.store(0xAA55 as UInt16, at: 0x1FE)  // boot_flag
    page.store(0x5372_6448 as UInt32, at: 0x202)  // header: "HdrS"
    page.store(0x020C as UInt16, at: 0x206)  // version
    page.store(Self.undefinedLoader, at: 0x210)
    page.store(0x01 as UInt8, at: 0x211)  // loadflags: LOADED_HIGH
    page.store(0x0100_0000 as UInt32, at: 0x230)  // kernel_alignment
  }

  /// `code32_start`: where the protected-mode code was loaded.
  var codeStart: UInt32 = 0 {
    didSet { page.store(codeStart, at: 0x214) }
  }

  /// Places command line and initrd, writes what is known of the machine, places the page itself
  /// and returns its address.
  mutating func complete(
    for request: BootRequest, commandLineLimit: UInt64, initrdLimit: UInt64,
    in placement: inout Placement
  ) throws(BootError) -> UInt64 {
    let line = try CommandLine.bytes(request.commandLine, limit: commandLineLimit)
    storeSplit(try placement.putLow("command line", line), low: 0x228, high: 0xC8)
    let initrd = request.initrd ?? []
    let address =
      initrd.isEmpty ? 0 : try Self.place(initrd, limit: initrdLimit, in: &placement)
    storeSplit(address, low: 0x218, high: 0xC0)  // ramdisk_image
    storeSplit(UInt64(initrd.count), low: 0x21C, high: 0xC4)  // ramdisk_size
    page.store(request.rsdp ?? 0, at: 0x70)  // acpi_rsdp_addr
    try store(request.memoryMap)
    return try placement.putLow("boot parameters", page.bytes, alignment: 4096)
  }

  /// The initrd goes below 4 GiB while it fits there.
  private static func place(
    _ initrd: [UInt8], limit: UInt64, in placement: inout Placement
  ) throws(BootError) -> UInt64 {
    do {
      return try placement.putHigh("initrd", initrd, below: Swift.min(limit, 1 << 32))
    } catch {
      guard limit > 1 << 32 else { throw error }
      return try placement.putHigh("initrd", initrd, below: limit)
    }
  }

  /// `e820_table` and `e820_entries`.
  private mutating func store(_ map: [MemoryRange]) throws(BootError) {
    guard map.count <= 128 else {
      throw .badRequest(
        "The memory map has \(map.count) ranges; the Linux boot protocol takes 128.")
    }
    page.store(UInt8(map.count), at: 0x1E8)
    for (index, range) in map.enumerated() {
      let offset = 0x2D0 + index * 20
      page.store(range.start, at: offset)
      page.store(range.size, at: offset + 8)
      page.store(range.kind.rawValue, at: offset + 16)
    }
  }

  private mutating func storeSplit(_ value: UInt64, low: Int, high: Int) {
    page.store(UInt32(truncatingIfNeeded: value), at: low)
    page.store(UInt32(truncatingIfNeeded: value >> 32), at: high)
  }

  /// `type_of_loader`: a loader without an assigned number.
  private static let undefinedLoader: UInt8 = 0xFF
}
