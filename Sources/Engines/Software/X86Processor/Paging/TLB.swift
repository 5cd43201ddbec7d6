import CProcessor

/// The two translation caches of a processor: of supervisor and of user accesses.
struct TLB: ~Copyable {
  let supervisor: UnsafeMutablePointer<x86_tlb_entry>
  let user: UnsafeMutablePointer<x86_tlb_entry>
  /// Entries of non-global pages filled since they were last flushed, so that a flush touches no others.
  private let filled: UnsafeMutablePointer<UInt16>
  private var filledCount = 0
  /// Whether any entry is part of a large page, which INVLPG drops whole.
  private var hasLarge = false

  private static var entries: Int { Int(X86_TLB_ENTRIES) }
  private static let empty = x86_tlb_entry(
    read_tag: .max, write_tag: .max, addend: 0, physical: 0)

  init() {
    supervisor = .allocate(capacity: 2 * Self.entries)
    supervisor.initialize(repeating: Self.empty, count: 2 * Self.entries)
    user = supervisor + Self.entries
    filled = .allocate(capacity: 2 * Self.entries)
  }

  deinit {
    supervisor.deallocate()
    filled.deallocate()
  }

  func table(user isUser: Bool) -> UnsafeMutablePointer<x86_tlb_entry> {
    isUser ? user : supervisor
  }

  /// Takes in a translation. Tags have bits below the page where the fast path must not serve.
  mutating func fill(_ linear: UInt64, user isUser: Bool, _ entry: x86_tlb_entry) {
    let index =
      Int(truncatingIfNeeded: linear >> 12) & (Self.entries - 1) + (isUser ? Self.entries : 0)
    supervisor[index] = entry
    if entry.physical & UInt64(X86_TLB_LARGE) != 0 { hasLarge = true }
    guard entry.physical & UInt64(X86_TLB_GLOBAL) == 0 else { return }
    if filledCount < 2 * Self.entries {
      filled[filledCount] = UInt16(index)
      filledCount += 1
    } else {
      flushNonGlobal()
      supervisor[index] = entry
      filled[0] = UInt16(index)
      filledCount = 1
    }
  }

  /// Drops what a write to CR3 drops.
  mutating func flushNonGlobal() {
    for position in 0..<filledCount {
      let index = Int(filled[position])
      if supervisor[index].physical & UInt64(X86_TLB_GLOBAL) == 0 {
        supervisor[index] = Self.empty
      }
    }
    filledCount = 0
  }

  mutating func flushAll() {
    supervisor.update(repeating: Self.empty, count: 2 * Self.entries)
    filledCount = 0
    hasLarge = false
  }

  /// Drops one page, at all privilege levels, global or not; large pages go with all their parts.
  mutating func flush(page linear: UInt64) {
    if hasLarge {
      flushAll()
      return
    }
    let index = Int(truncatingIfNeeded: linear >> 12) & (Self.entries - 1)
    let page = linear & ~pageMask
    for table in [supervisor, user] where table[index].read_tag & ~pageMask == page {
      table[index] = Self.empty
    }
  }

  /// Takes away the right to write without being asked: of one physical page, or of all.
  ///
  /// - Returns: whether any entry had it.
  @discardableResult
  func revokeWrites(toPhysical page: UInt64?) -> Bool {
    var had = false
    for index in 0..<2 * Self.entries {
      let entry = supervisor + index
      guard entry.pointee.write_tag & pageMask == 0 else { continue }
      if let page, entry.pointee.physical & ~pageMask != page { continue }
      entry.pointee.write_tag |= 1
      had = true
    }
    return had
  }
}
