/// The setup header of a bzImage (boot.rst, "The Real-Mode Kernel Header" and "Details of Header
/// Fields"). Fields newer than the header's version read as the value that older kernels imply.
struct SetupHeader {
  /// The header as the file has it, from offset 0x1F1 to its end.
  let bytes: ArraySlice<UInt8>
  /// The boot protocol version: major in the high byte, minor in the low one.
  let version: UInt16
  private let fields: FileBytes

  /// Where the header starts, in the file and in the boot parameters.
  static let start: UInt64 = 0x1F1
  /// Where the room for it in the boot parameters ends.
  private static let limit: UInt64 = 0x290

  init(_ file: FileBytes) throws(BootError) {
    let name = "setup header"
    version = try file.load(at: 0x206, of: name)
    // The second byte of a short jump over the header tells its end.
    let end = 0x202 + UInt64(try file.load(UInt8.self, at: 0x201, of: name))
    bytes = try file.slice(
      at: Self.start, count: Swift.min(end, Self.limit) - Self.start, of: name)
    fields = FileBytes(bytes)
    guard version >= 0x202 else {
      throw .unsupported(
        "The kernel speaks boot protocol \(versionName); 2.02 (Linux 2.4) is the oldest supported.")
    }
    guard end >= 0x22C else {
      throw .damaged(
        "The kernel is damaged: its setup header ends at \(hex(end)), before the fields of boot "
          + "protocol \(versionName).")
    }
    guard loadFlags & 0x01 != 0 else {
      throw .unsupported("The kernel is a zImage, loaded low; only bzImage kernels are supported.")
    }
    guard alignment.nonzeroBitCount == 1 else {
      throw .damaged("The kernel is damaged: it asks for an alignment of \(hex(alignment)).")
    }
  }

  // MARK: - The file's layout

  /// Where the protected-mode code starts in the file.
  var codeOffset: UInt64 {
    let sectors = UInt64(field(0x1F1, since: 0x200) as UInt8)
    return ((sectors == 0 ? 4 : sectors) + 1) * 512
  }
  /// The size of the protected-mode code, where the header can be relied on for it.
  var codeSize: UInt64? {
    let paragraphs = UInt64(field(0x1F4, since: 0x204) as UInt32)
    return paragraphs == 0 ? nil : paragraphs * 16
  }
  /// Offset of the release string, less 0x200; 0 for none.
  var versionText: UInt16 { field(0x20E, since: 0x200) }

  // MARK: - What the kernel can and wants

  var versionName: String {
    let minor = String(version & 0xFF)
    return "\(version >> 8)." + (minor.count < 2 ? "0" : "") + minor
  }
  /// XLF_KERNEL_64.
  var has64BitEntry: Bool { extendedLoadFlags & 0x1 != 0 }
  /// XLF_CAN_BE_LOADED_ABOVE_4G.
  var canBeLoadedAbove4G: Bool { extendedLoadFlags & 0x2 != 0 }
  /// The most bytes a command line may have, without its final zero.
  var commandLineLimit: UInt64 { UInt64(field(0x238, since: 0x206, else: 255) as UInt32) }
  /// The first address that an initrd may not touch.
  var initrdLimit: UInt64 {
    UInt64(field(0x22C, since: 0x203, else: 0x37FF_FFFF) as UInt32) + 1
  }
  /// The memory needed from the runtime start on; 0 where the header does not tell.
  var initSize: UInt64 { UInt64(field(0x260, since: 0x20A) as UInt32) }

  /// Where to load the protected-mode code: where it will run if it can be moved, else at 1 MiB.
  func loadAddress() throws(BootError) -> UInt64 {
    guard isRelocatable else { return Self.defaultLoadAddress }
    let wanted = preferredAddress == 0 ? Self.defaultLoadAddress : preferredAddress
    guard let address = wanted.aligned(up: alignment), address <= Self.loadLimit else {
      throw .damaged("The kernel wants to be loaded at \(hex(wanted)), which 32 bits do not reach.")
    }
    return address
  }

  /// Where the kernel will unpack itself to (boot.rst, `init_size`).
  func runtimeStart(loadedAt address: UInt64) -> UInt64 {
    isRelocatable || preferredAddress == 0 ? address : preferredAddress
  }

  private static let defaultLoadAddress: UInt64 = 0x10_0000
  private static let loadLimit: UInt64 = 0xFFFF_0000

  private var loadFlags: UInt8 { field(0x211, since: 0x200) }
  private var extendedLoadFlags: UInt16 { field(0x236, since: 0x20C) }
  private var isRelocatable: Bool { (field(0x234, since: 0x205) as UInt8) != 0 }
  private var preferredAddress: UInt64 { field(0x258, since: 0x20A) }
  private var alignment: UInt64 {
    isRelocatable ? UInt64(field(0x230, since: 0x205) as UInt32) : 1
  }

  private func field<T: FixedWidthInteger & UnsignedInteger>(
    _ offset: UInt64, since: UInt16, else missing: T = 0
  ) -> T {
    guard version >= since else { return missing }
    return fields.load(ifPresentAt: offset - Self.start) ?? missing
  }
}
