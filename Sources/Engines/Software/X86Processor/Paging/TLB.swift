import CProcessor

/// The two translation caches of a processor: of supervisor and of user accesses.
struct TLB: ~Copyable {
  let supervisor: UnsafeMutablePointer<x86_tlb_entry>
  let user: UnsafeMutablePointer<x86_tlb_entry>
  /// A table in which nothing is or will be, made when it is first wanted.
  private var empties: UnsafeMutablePointer<x86_tlb_entry>?
  /// Entries filled since they were last flushed, so that a flush touches no others: with pages that are not global, and
  /// with those that are.
  private var locals: EntryList
  private var globals: EntryList
  private let listed: UnsafeMutablePointer<UInt16>
  /// Where large pages are in use, of which INVLPG drops all parts: one range for each half of the address space.
  private var largeRanges: (lower: LargeRange, upper: LargeRange) = (LargeRange(), LargeRange())

  /// The protection keys of entries filled since the last full flush, a bit each.
  private var keys: UInt16 = 0

  private static var entries: Int { Int(X86_TLB_ENTRIES) }
  private static func empty(_ index: Int) -> x86_tlb_entry {
    let tag = x86_tlb_entry.slow(UInt64(index & (entries - 1)) << 12)
    return x86_tlb_entry(read_tag: tag, write_tag: tag, host: 0, physical: 0)
  }

  /// - Parameter memory: room for both tables, which its owner frees.
  init(in memory: UnsafeMutableRawPointer) {
    supervisor = memory.bindMemory(to: x86_tlb_entry.self, capacity: 2 * Self.entries)
    for index in 0..<2 * Self.entries { (supervisor + index).initialize(to: Self.empty(index)) }
    user = supervisor + Self.entries
    listed = .allocate(capacity: 4 * Self.entries)
    locals = EntryList(in: listed)
    globals = EntryList(in: listed + 2 * Self.entries)
  }

  deinit {
    listed.deallocate()
    empties?.deallocate()
  }

  /// A table by which no access is a fast one.
  mutating func blind() -> UnsafeMutablePointer<x86_tlb_entry> {
    if let empties { return empties }
    let table = UnsafeMutablePointer<x86_tlb_entry>.allocate(capacity: Self.entries)
    for index in 0..<Self.entries { (table + index).initialize(to: Self.empty(index)) }
    empties = table
    return table
  }

  func table(user isUser: Bool) -> UnsafeMutablePointer<x86_tlb_entry> {
    isUser ? user : supervisor
  }

  /// An entry's number among those of both tables.
  func number(of entry: UnsafeMutablePointer<x86_tlb_entry>) -> Int { entry - supervisor }

  /// Whether taking in a translation would drop one that lets writes pass without being asked.
  func dropsGrants(fill linear: UInt64, user isUser: Bool) -> Bool {
    let index = Self.index(linear, isUser)
    return supervisor[index].permitsWrites(at: index)
  }

  private static func index(_ linear: UInt64, _ isUser: Bool) -> Int {
    tlbNumber(linear) + (isUser ? entries : 0)
  }

  /// Takes in a translation.
  mutating func fill(_ linear: UInt64, user isUser: Bool, _ entry: x86_tlb_entry) {
    let index = Self.index(linear, isUser)
    let isGlobal = entry.physical & UInt64(X86_TLB_GLOBAL) != 0
    let isListed = UInt64(isGlobal ? X86_TLB_LISTED_GLOBAL : X86_TLB_LISTED)
    let lists = supervisor[index].physical & Self.lists
    supervisor[index] = entry
    supervisor[index].physical |= lists | isListed
    if entry.physical & UInt64(X86_TLB_LARGE) != 0 { noteLargePage(linear) }
    keys |= 1 << UInt16(Self.key(entry))
    guard lists & isListed == 0 else { return }
    if isGlobal { globals.append(index) } else { locals.append(index) }
  }

  /// Which lists an entry is in; that stays so when it is replaced or dropped.
  private static var lists: UInt64 { UInt64(X86_TLB_LISTED | X86_TLB_LISTED_GLOBAL) }

  private func drop(_ index: Int) {
    let lists = supervisor[index].physical & Self.lists
    supervisor[index] = Self.empty(index)
    supervisor[index].physical = lists
  }

  /// Drops what a write to CR3 drops.
  mutating func flushNonGlobal() {
    for index in locals {
      if supervisor[index].physical & UInt64(X86_TLB_GLOBAL) == 0 { drop(index) }
      supervisor[index].physical &= ~UInt64(X86_TLB_LISTED)
    }
    locals.removeAll()
  }

  mutating func flushAll() {
    for index in locals { supervisor[index] = Self.empty(index) }
    for index in globals { supervisor[index] = Self.empty(index) }
    locals.removeAll()
    globals.removeAll()
    keys = 0
    largeRanges = (LargeRange(), LargeRange())
  }

  private static func key(_ entry: x86_tlb_entry) -> UInt64 {
    entry.physical >> UInt64(X86_TLB_KEY_SHIFT) & 15
  }

  /// Whether any page of these protection keys may be known; key 0 is also that of pages without one.
  func mayHold(keys wanted: UInt16) -> Bool { keys & wanted != 0 }

  /// Drops the pages of these protection keys.
  mutating func flush(keys wanted: UInt16) {
    for list in [locals, globals] {
      for index in list where wanted >> UInt16(Self.key(supervisor[index])) & 1 != 0 {
        drop(index)
      }
    }
    keys &= ~wanted
  }

  /// A large page is in use, if only by code.
  mutating func noteLargePage(_ linear: UInt64) {
    if linear >> 63 == 0 {
      largeRanges.lower.include(linear)
    } else {
      largeRanges.upper.include(linear)
    }
  }

  /// Drops one page, at all privilege levels, global or not; of a large page all parts.
  ///
  /// - Returns: whether the page may be part of a large one.
  mutating func flush(page linear: UInt64) -> Bool {
    let index = tlbNumber(linear)
    let page = linear & ~pageMask
    for index in [index, index + Self.entries] where supervisor[index].translates(page) {
      drop(index)
    }
    let range = linear >> 63 == 0 ? largeRanges.lower : largeRanges.upper
    guard range.contains(linear) else { return false }
    for list in [locals, globals] {
      for index in list where supervisor[index].physical & UInt64(X86_TLB_LARGE) != 0 {
        // The largest page is one of 1 GiB; a tag may be off by a bit below that.
        if supervisor[index].read_tag >> 30 == linear >> 30 { drop(index) }
      }
    }
    return true
  }

  /// Takes away the right to write without being asked: of one physical page, or of all.
  ///
  /// - Returns: whether any entry had it.
  @discardableResult
  func revokeWrites(toPhysical page: UInt64?) -> Bool {
    var had = false
    for list in [locals, globals] {
      for index in list where revokeWrites(of: index, toPhysical: page) { had = true }
    }
    return had
  }

  /// The same of one entry.
  func revokeWrites(of index: Int, toPhysical page: UInt64?) -> Bool {
    let entry = supervisor + index
    guard entry.pointee.permitsWrites(at: index),
      page == nil || entry.pointee.physical & ~pageMask == page
    else { return false }
    entry.pointee.write_tag = x86_tlb_entry.slow(entry.pointee.write_tag)
    return true
  }
}

/// Numbers of entries, each at most once.
private struct EntryList: Sequence {
  private let numbers: UnsafeMutablePointer<UInt16>
  private var count = 0

  init(in numbers: UnsafeMutablePointer<UInt16>) { self.numbers = numbers }

  mutating func append(_ number: Int) {
    numbers[count] = UInt16(number)
    count += 1
  }

  mutating func removeAll() { count = 0 }

  struct Iterator: IteratorProtocol {
    var position: UnsafeMutablePointer<UInt16>
    let end: UnsafeMutablePointer<UInt16>

    mutating func next() -> Int? {
      guard position < end else { return nil }
      defer { position += 1 }
      return Int(position.pointee)
    }
  }

  func makeIterator() -> Iterator { Iterator(position: numbers, end: numbers + count) }
}

extension x86_tlb_entry {
  /// The tag of a page whose accesses are not fast ones.
  static func slow(_ page: UInt64) -> UInt64 { page ^ UInt64(X86_TLB_SLOW) }

  /// Whether it holds the translation of a page that leads to this entry, fast or not.
  func translates(_ page: UInt64) -> Bool {
    physical & UInt64(X86_TLB_VALID) != 0 && (read_tag ^ page) & ~UInt64(X86_TLB_SLOW) == 0
  }

  /// Whether writes pass without being asked, of the entry with this number.
  func permitsWrites(at index: Int) -> Bool {
    tlbNumber(write_tag) == index & Int(X86_TLB_ENTRIES - 1)
  }
}

/// A range of linear addresses that holds all large pages seen, rounded to the largest page there is.
private struct LargeRange {
  private static let largest: UInt64 = 1 << 30
  private var first: UInt64 = .max
  private var last: UInt64 = 0

  mutating func include(_ linear: UInt64) {
    first = min(first, linear & ~(Self.largest - 1))
    last = max(last, linear | (Self.largest - 1))
  }

  func contains(_ linear: UInt64) -> Bool { first <= linear && linear <= last }
}
