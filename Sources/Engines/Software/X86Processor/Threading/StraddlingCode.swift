import CProcessor
import Memory

/// Instructions of 64-bit mode that lie across two pages, decoded.
///
/// Pages of which code is kept are watched, each by itself; of these instructions the bytes are kept too, and compared
/// with those in memory whenever one is to run.
struct StraddlingCode: ~Copyable {
  struct Entry {
    var rip: UInt64 = 1
    /// The page in which it starts: jumps may be linked to ops of that page.
    var page = -1
    var variant = -1
    var length = 0
    var bytes = InlineArray<16, UInt8>(repeating: 0)
  }

  private static let count = 64
  private let entries: UnsafeMutablePointer<Entry>
  private let ops: UnsafeMutablePointer<x86_op>

  init() {
    entries = .allocate(capacity: Self.count)
    entries.initialize(repeating: Entry(), count: Self.count)
    ops = .allocate(capacity: Self.count * Self.opsPerEntry)
  }

  deinit {
    entries.deallocate()
    ops.deallocate()
  }

  /// Room for an instruction's steps and what follows them.
  static let opsPerEntry = 4 * Translator.stepsPerInstruction

  /// Where an instruction is kept, and its ops, if it is.
  func place(
    of rip: UInt64
  ) -> (entry: UnsafeMutablePointer<Entry>, ops: UnsafeMutablePointer<x86_op>) {
    let number = Int(truncatingIfNeeded: (rip ^ rip >> 6) >> 12) & (Self.count - 1)
    return (entries + number, ops + number * Self.opsPerEntry)
  }

  func removeAll() { entries.update(repeating: Entry(), count: Self.count) }
}

extension Core {
  /// The ops of the straddling instruction at `rip`, if they are kept and its bytes are what they were; `nil` may
  /// leave an exception raised.
  func straddlingOp() -> Op? {
    let rip = cpu.pointee.rip
    let (entry, ops) = straddlingCode.place(of: rip)
    guard entry.pointee.rip == rip, entry.pointee.variant == codeVariant,
      let first = codePlace(rip), first.page == entry.pointee.page,
      let head = reachablePage(first.physical)
    else { return nil }
    let offset = Int(rip & pageMask)
    let inFirst = 4096 - offset
    for index in 0..<inFirst
    where head.base.load(fromByteOffset: offset + index, as: UInt8.self)
      != entry.pointee.bytes[index]
    {
      return nil
    }
    guard let second = codePlace(rip &+ UInt64(inFirst)), second.page != nil,
      let tail = reachablePage(second.physical)
    else { return nil }
    for index in inFirst..<entry.pointee.length
    where tail.base.load(fromByteOffset: index - inFirst, as: UInt8.self)
      != entry.pointee.bytes[index]
    {
      return nil
    }
    fetched.count = 0
    for index in 0..<entry.pointee.length { fetched.append(entry.pointee.bytes[index]) }
    cpu.pointee.page_base = rip & ~pageMask
    return Op(ops)
  }
}
