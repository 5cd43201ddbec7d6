package import CProcessor
import Glibc

/// Decoded instructions of one processor, by physical page and variant (mode, availability of vectors), and by which
/// part of the page the code segment holds, if it does not hold all.
///
/// Ops are appended to one arena and never move. A page whose code changed keeps its ops, but each is made
/// to lead back to the run loop: whoever was about to run one finds that out by running it. When the arena is
/// full everything is dropped.
final class CodeCache {
  static let opCapacity = Int(X86_OP_CAPACITY)
  /// How many pages and variants are kept at a time: a guest that runs code in every page must not make the
  /// monitor outgrow it.
  static let tableCapacity = 8192

  /// For each page and variant, the table of its instructions.
  private let tables: UnsafeMutablePointer<UnsafeMutablePointer<CodeTable>?>
  private let pages: Int
  /// For each page, the lines of 64 bytes of which anything is decoded.
  private let kept: UnsafeMutablePointer<UInt64>
  private let capacity: Int
  private let ops: UnsafeMutablePointer<x86_op>
  private(set) var used = 0
  private var tableCount = 0
  /// Who keeps host code of the ops.
  unowned(unsafe) var translator: (any CodeTranslator)?
  /// Host code that leaves to an op which has none.
  var leaving: UInt64 { translator?.leaving ?? 0 }
  /// The same for parts of pages.
  private var boundedTables: [BoundedPage: UnsafeMutablePointer<CodeTable>] = [:]
  private var boundedPages: [Int: [BoundedPage]] = [:]

  private struct BoundedPage: Hashable {
    var page: Int
    var variant: Int
    var bound: CodeBound
  }

  /// Without pages nothing can be kept, and nothing is reserved.
  init(pages: Int) {
    self.pages = pages
    capacity = pages > 0 ? Self.opCapacity : 0
    // Both are reserved from the host and supplied when touched.
    tables = reserve(pages * CodeVariant.count, of: UnsafeMutablePointer<CodeTable>?.self)
    kept = reserve(pages, of: UInt64.self)
    // The ops, and as far behind each what a translator keeps of it.
    ops = reserve(2 * capacity, of: x86_op.self)
  }

  deinit {
    freeTables()
    release(tables, pages * CodeVariant.count)
    release(ops, 2 * capacity)
    release(kept, pages)
  }

  /// Whether anything is decoded from a page.
  @inline(__always)
  func keeps(_ page: Int) -> Bool { keptLines(page) != 0 }

  /// Of which lines of a page.
  @inline(__always)
  func keptLines(_ page: Int) -> UInt64 { pages > 0 ? kept[page] : 0 }

  /// Lines of a page are about to be decoded.
  func keep(_ lines: UInt64, of page: Int) { if pages > 0 { kept[page] |= lines } }

  /// Whether an op lies here.
  func contains(_ op: UnsafePointer<x86_op>) -> Bool { op >= firstOp && op < firstOp + capacity }

  /// Where ops start.
  var firstOp: UnsafePointer<x86_op> { UnsafePointer(ops) }

  private func freeTables() {
    guard tableCount > 0 else { return }
    // Written only where it must be: the host has supplied little of it.
    for page in 0..<pages where kept[page] != 0 { kept[page] = 0 }
    for table in boundedTables.values { Self.free(table) }
    boundedTables.removeAll()
    boundedPages.removeAll()
    for index in 0..<pages * CodeVariant.count {
      guard let table = tables[index] else { continue }
      Self.free(table)
      tables[index] = nil
    }
  }

  /// The op of the instruction at an offset; `nil` if it is not decoded.
  func find(page: Int, variant: Int, bound: CodeBound? = nil, offset: Int) -> Op? {
    let kept =
      bound.map { boundedTables[BoundedPage(page: page, variant: variant, bound: $0)] }
      ?? tables[page * CodeVariant.count + variant]
    guard let number = kept?.pointee[offset], number != 0 else { return nil }
    return Op(ops + Int(number - 1))
  }

  /// Where the next ops go, if there is room for `count`.
  func room(for count: Int) -> UnsafeMutablePointer<x86_op>? {
    used + count <= capacity && tableCount < Self.tableCapacity ? ops + used : nil
  }

  /// Takes in ops written at `room`'s address.
  func commit(_ count: Int) { used += count }

  /// Names an instruction's first op.
  func enter(
    page: Int, variant: Int, bound: CodeBound?, offset: Int, _ op: UnsafeMutablePointer<x86_op>
  ) {
    let number = UInt32(op - ops) + 1
    guard let bound else {
      let slot = page * CodeVariant.count + variant
      if tables[slot] == nil { tables[slot] = makeTable() }
      tables[slot]!.pointee[offset] = number
      return
    }
    let part = BoundedPage(page: page, variant: variant, bound: bound)
    if boundedTables[part] == nil {
      boundedTables[part] = makeTable()
      boundedPages[page, default: []].append(part)
    }
    boundedTables[part]!.pointee[offset] = number
  }

  private func makeTable() -> UnsafeMutablePointer<CodeTable> {
    tableCount += 1
    let table = UnsafeMutablePointer<CodeTable>.allocate(capacity: 1)
    table.initialize(to: CodeTable())
    return table
  }

  private static func free(_ table: UnsafeMutablePointer<CodeTable>) {
    table.pointee.deallocate()
    table.deallocate()
  }

  /// Forgets a page. Its ops lead back to the run loop from now on.
  ///
  /// - Returns: whether anything was decoded from it.
  @discardableResult
  func drop(page: Int) -> Bool {
    guard keeps(page) else { return false }
    kept[page] = 0
    var any = false
    for variant in 0..<CodeVariant.count {
      guard let table = tables[page * CodeVariant.count + variant] else { continue }
      any = true
      empty(table)
    }
    if any { translator?.forget(page: page) }
    guard let parts = boundedPages[page] else { return any }
    for part in parts { empty(boundedTables[part]!) }
    return true
  }

  private func empty(_ table: UnsafeMutablePointer<CodeTable>) {
    table.pointee.removeAll { number in
      let op = ops + Int(number - 1)
      op.pointee.run = lookUpHere
      let kept = native(op)
      kept.pointee.handler = lookUpHere
      if kept.pointee.entry != 0 { kept.pointee.entry = leaving }
    }
  }

  /// Forgets everything. Only while no op runs.
  func dropAll() {
    translator?.forgetAll()
    freeTables()
    UnsafeMutableRawPointer(ops + capacity).initializeMemory(
      as: UInt8.self, repeating: 0, count: used * MemoryLayout<x86_native>.stride)
    used = 0
    tableCount = 0
  }
}

/// What a translator keeps of an op that lies in a `CodeCache`.
@inline(__always)
package func native(_ op: UnsafePointer<x86_op>) -> UnsafeMutablePointer<x86_native> {
  UnsafeMutableRawPointer(mutating: op + Int(X86_OP_CAPACITY))
    .assumingMemoryBound(to: x86_native.self)
}

/// Memory that the host supplies when it is touched, all zero.
func reserve<T>(_ count: Int, of: T.Type) -> UnsafeMutablePointer<T> {
  let memory = mmap(
    nil, max(count, 1) * MemoryLayout<T>.stride, PROT_READ | PROT_WRITE,
    MAP_PRIVATE | MAP_ANONYMOUS | Int32(MAP_NORESERVE), -1, 0)
  guard let memory, memory != MAP_FAILED else {
    preconditionFailure("the host refused address space for decoded code")
  }
  return memory.bindMemory(to: T.self, capacity: count)
}

/// Gives such memory back.
func release<T>(_ memory: UnsafeMutablePointer<T>, _ count: Int) {
  munmap(memory, max(count, 1) * MemoryLayout<T>.stride)
}

/// Which decoded page lies behind a linear page.
struct CodePageEntry {
  static let count = 1024

  var linear: UInt64
  var physical: UInt64
  var key: UInt64
  var page: Int
  var isGlobal: Bool

  static let empty = CodePageEntry(linear: .max, physical: 0, key: 0, page: 0, isGlobal: false)

  static func slot(
    _ table: UnsafeMutablePointer<CodePageEntry>, _ linear: UInt64
  ) -> UnsafeMutablePointer<CodePageEntry> {
    table + Int(truncatingIfNeeded: linear >> 12) & (count - 1)
  }
}

/// A set of pages that may say yes of one that it does not hold.
struct PageFilter {
  private var words = InlineArray<64, UInt64>(repeating: 0)

  private static func place(_ linear: UInt64) -> (word: Int, bit: UInt64) {
    let page = linear >> 12
    let hash = (page ^ page >> 12 ^ page >> 24) & 0xfff
    return (Int(truncatingIfNeeded: hash >> 6), 1 << (hash & 63))
  }

  mutating func insert(_ linear: UInt64) {
    let (word, bit) = Self.place(linear)
    words[word] |= bit
  }

  func mayContain(_ linear: UInt64) -> Bool {
    let (word, bit) = Self.place(linear)
    return words[word] & bit != 0
  }

  mutating func removeAll() { words = InlineArray(repeating: 0) }
}
