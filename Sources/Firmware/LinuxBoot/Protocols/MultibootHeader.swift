/// The header by which a kernel asks for the Multiboot protocol (Multiboot Specification 0.6.96
/// §3.1.1 "The layout of Multiboot header").
struct MultibootHeader {
  /// Where it lies in the file.
  let offset: UInt64
  private let flags: UInt32
  private let file: FileBytes

  /// Looks for a header: 4-aligned, wholly in the first 8192 bytes, with a right checksum.
  init?(in file: FileBytes) {
    for offset in stride(from: UInt64(0), through: 8192 - 12, by: 4) {
      guard file.load(UInt32.self, ifPresentAt: offset) == Self.magic,
        let flags = file.load(UInt32.self, ifPresentAt: offset + 4),
        let checksum = file.load(UInt32.self, ifPresentAt: offset + 8),
        Self.magic &+ flags &+ checksum == 0
      else { continue }
      self.offset = offset
      self.flags = flags
      self.file = file
      return
    }
    return nil
  }

  /// Whether the header itself says where the file goes, as for kernels that are not ELF.
  var hasAddresses: Bool { flags & 0x1_0000 != 0 }

  /// Refuses kernels that demand what we do not provide (§3.1.2: bits 0–15 are demands). Aligned
  /// modules (bit 0) and memory information (bit 1) every kernel gets.
  func checkDemands() throws(BootError) {
    guard flags & 0x4 == 0 else {
      throw .unsupported("The Multiboot kernel demands a video mode; this machine has no display.")
    }
    guard flags & 0xFFF8 == 0 else {
      throw .unsupported("The Multiboot kernel demands unknown features: flags \(hex(flags)).")
    }
  }

  /// Puts the file where the address fields say (§3.1.3) and returns the entry point.
  func placeFlat(in placement: inout Placement) throws(BootError) -> UInt64 {
    let header = try addressField(0)
    let load = try addressField(1)
    let loadEnd = try addressField(2)
    let bssEnd = try addressField(3)
    let (before, wrong) = header.subtractingReportingOverflow(load)
    let (start, outside) = offset.subtractingReportingOverflow(before)
    guard !wrong, !outside else {
      throw .damaged(
        "The Multiboot kernel is damaged: it puts its header at \(hex(header)) and what precedes it "
          + "at \(hex(load)), which is not in the file.")
    }
    let (count, negative) =
      loadEnd == 0
      ? (file.count - start, false) : loadEnd.subtractingReportingOverflow(load)
    guard !negative else {
      throw .damaged(
        "The Multiboot kernel is damaged: it loads from \(hex(load)) to \(hex(loadEnd)).")
    }
    let bytes = try file.slice(at: start, count: count, of: "loaded part")
    // `load` and `count` come from 32-bit fields and a file's size: their sum fits.
    let end = load + count
    try placement.put(
      "kernel", bytes, zeroFill: bssEnd > end ? bssEnd - end : 0, at: load)
    let entry = try addressField(4)
    guard (load..<Swift.max(end, bssEnd)).contains(entry) else {
      throw .damaged("The Multiboot kernel's entry point \(hex(entry)) is not in what it loads.")
    }
    return entry
  }

  private func addressField(_ index: UInt64) throws(BootError) -> UInt64 {
    UInt64(try file.load(UInt32.self, at: offset + 12 + index * 4, of: "Multiboot header"))
  }

  private static let magic: UInt32 = 0x1BAD_B002
}
