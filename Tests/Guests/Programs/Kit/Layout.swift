import Arch

/// Where a guest keeps what must lie at a known place.
enum Layout {
  /// Words that several processors or interrupt handlers share, a cache line each.
  static var words: UInt64 { 0x7000 }
  /// Where a processor wakes up after SIPI with vector 8.
  static var startup: UInt64 { 0x8000 }
  /// Free memory for page tables, code and data: 16 MiB to 32 MiB.
  static var pool: UInt64 { 0x100_0000 }
  static var poolEnd: UInt64 { 0x200_0000 }
}

/// A word in memory, read and written by exactly one instruction each time.
struct Word {
  let address: UInt64
  init(_ index: UInt64) { address = Layout.words + 64 * index }
  init(at address: UInt64) { self.address = address }
  var value: UInt64 {
    get { load64(address) }
    nonmutating set { store64(address, newValue) }
  }
}

/// Pages for the taking, each filled with zeros.
enum Pool {
  nonisolated(unsafe) private static var next: UInt64 = 0
  static func pages(_ count: UInt64 = 1, alignedTo alignment: UInt64 = 4096) -> UInt64 {
    let start = (Layout.pool + next + alignment - 1) & ~(alignment - 1)
    next = start + count * 4096 - Layout.pool
    if Layout.pool + next > Layout.poolEnd { fail("the pool is empty") }
    fill_bytes(start, 0, count * 4096)
    return start
  }
}
