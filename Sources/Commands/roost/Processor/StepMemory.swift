/// Bytes by address, kept in pages.
struct StepMemory {
  struct Page {
    var bytes = [UInt8](repeating: 0, count: 4096)
    /// Which of the bytes were given, and so are answered.
    var given = [Bool](repeating: false, count: 4096)
  }

  /// By the address of their first byte.
  private(set) var pages: [UInt64: Page] = [:]

  subscript(address: UInt64) -> UInt8 { pages[address & ~4095]?.bytes[Int(address & 4095)] ?? 0 }

  mutating func set(_ bytes: [UInt8], at address: UInt64) {
    for (index, byte) in bytes.enumerated() {
      let place = address &+ UInt64(index)
      let offset = Int(place & 4095)
      pages[place & ~4095, default: Page()].bytes[offset] = byte
      pages[place & ~4095, default: Page()].given[offset] = true
    }
  }
}
