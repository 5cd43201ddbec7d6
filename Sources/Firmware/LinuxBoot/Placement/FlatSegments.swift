/// The global descriptor table that a kernel is entered with: flat code and data under the
/// selectors that Linux asks for (`__BOOT_CS`, `__BOOT_DS`), and a busy TSS as Xen's PVH asks for.
struct FlatSegments {
  static let code32 = EntryState.Segment(
    selector: 0x10, base: 0, limit: .max, attributes: 0xC09B)  // G, D, P, execute/read, accessed
  static let code64 = EntryState.Segment(
    selector: 0x10, base: 0, limit: .max, attributes: 0xA09B)  // G, L, P, execute/read, accessed
  static let data = EntryState.Segment(
    selector: 0x18, base: 0, limit: .max, attributes: 0xC093)  // G, B, P, read/write, accessed
  static let task32 = EntryState.Segment(
    selector: 0x20, base: 0, limit: 0x67, attributes: 0x008B)  // P, busy 32-bit TSS
  static let task64 = EntryState.Segment(
    selector: 0x20, base: 0, limit: 0x67, attributes: 0x008B)  // P, busy 64-bit TSS, 16 bytes

  private let segments: [EntryState.Segment]

  init(_ mode: EntryState.Mode) {
    segments =
      switch mode {
      case .protected32: [Self.code32, Self.data, Self.task32]
      case .long64: [Self.code64, Self.data, Self.task64]
      }
  }

  /// Puts the table into the scratch area.
  func place(in placement: inout Placement) throws(BootError) -> EntryState.DescriptorTable {
    var table = Structure(count: Self.count)
    for segment in segments {
      table.store(Self.descriptor(segment), at: Int(segment.selector))
    }
    let base = try placement.putLow("descriptor table", table.bytes, alignment: 8)
    return .init(base: base, limit: UInt16(Self.count - 1))
  }

  /// Null, unused, code, data, and two entries for a TSS that is wide in 64-bit mode.
  private static let count = 6 * 8

  /// A segment descriptor as the table holds it (Intel SDM Vol. 3A §3.4.5, Figure 3-8).
  private static func descriptor(_ segment: EntryState.Segment) -> UInt64 {
    let inPages = segment.attributes & 0x8000 != 0
    let limit = UInt64(inPages ? segment.limit >> 12 : segment.limit)
    let attributes = UInt64(segment.attributes)
    let low = (limit & 0xFFFF) | (segment.base & 0xFF_FFFF) << 16
    let high = (attributes & 0xF0FF) << 40 | (limit >> 16 & 0xF) << 48
    return low | high | (segment.base >> 24 & 0xFF) << 56
  }
}
