import ArchitectureX86
import CProcessor

// What may be read, written and executed of a segment: SDM Vol. 3A §5.3 "Limit Checking" and §5.4 "Type Checking".
//
// An access asks one number of its segment: where it ends, for reads or for writes. That is the limit plus one where
// the limit alone decides; zero, so that nothing passes, where more is to be asked; and as large as can be in 64-bit
// mode, where nothing is.

/// The bytes of a segment that may be reached, by limit and type.
struct SegmentBounds {
  var limit: UInt64
  /// As in a VMCS.
  var attributes: UInt32
  /// Whether the type counts: not in real and virtual-8086 mode.
  var isTyped: Bool

  private static let unusable: UInt32 = 0x1_0000
  private var isUsable: Bool { attributes & Self.unusable == 0 }
  private var isCode: Bool { attributes & 0x18 == 0x18 }
  /// Data that lies above its limit.
  private var expandsDown: Bool { attributes & 0x1c == 0x14 }

  private func permits(write: Bool) -> Bool {
    guard isTyped else { return true }
    return write ? !isCode && attributes & 2 != 0 : !isCode || attributes & 2 != 0
  }

  /// Whether `size` bytes from an offset on may be read or written.
  func permit(_ offset: UInt64, _ size: Int, write: Bool) -> Bool {
    guard isUsable, permits(write: write) else { return false }
    let last = offset &+ UInt64(size &- 1)
    if expandsDown {
      return offset > limit && last <= (attributes & 0x4000 != 0 ? 0xffff_ffff : 0xffff)
    }
    return last <= limit
  }

  /// Where the bytes end that may be accessed without asking `permit`.
  func end(write: Bool) -> UInt64 {
    isUsable && !expandsDown && permits(write: write) ? limit &+ 1 : 0
  }
}

/// What decides whether limits and types count.
private enum SegmentRules {
  static let untyped: UInt32 = 1
  static let typed: UInt32 = 2
  static let none: UInt32 = 3
}

extension UnsafeMutablePointer<x86_cpu> {
  func bounds(_ segment: Int) -> SegmentBounds {
    SegmentBounds(
      limit: limit(segment), attributes: attributes(segment), isTyped: !usesParagraphs)
  }

  /// Works out again where a segment ends; after its limit or attributes changed.
  func updateEnds(of segment: Int) {
    guard pointee.segment_rules != SegmentRules.none else { return }
    let bounds = bounds(segment)
    setEnds(segment &+ 2, read: bounds.end(write: false), write: bounds.end(write: true))
  }

  private func setEnds(_ index: Int, read: UInt64, write: UInt64) {
    withUnsafeMutablePointer(to: &pointee.segment_read_end) {
      UnsafeMutableRawPointer($0).storeBytes(of: read, toByteOffset: index &* 8, as: UInt64.self)
    }
    withUnsafeMutablePointer(to: &pointee.segment_write_end) {
      UnsafeMutableRawPointer($0).storeBytes(of: write, toByteOffset: index &* 8, as: UInt64.self)
    }
  }

  /// Works out again what follows for segments from the mode.
  func updateSegmentRules() {
    let rules =
      pointee.code_mode == 2
      ? SegmentRules.none : usesParagraphs ? SegmentRules.untyped : SegmentRules.typed
    guard rules != pointee.segment_rules else { return }
    pointee.segment_rules = rules
    setEnds(0, read: .max, write: .max)
    for segment in 0..<6 {
      if segment < 4 {
        set(
          Slot.segmentBase &+ UInt8(segment &* 8),
          rules == SegmentRules.none ? 0 : keptBase(segment))
      }
      if rules == SegmentRules.none {
        setEnds(segment &+ 2, read: .max, write: .max)
      } else {
        updateEnds(of: segment)
      }
    }
  }

  /// The base of a segment as it was loaded, in 64-bit mode too.
  func keptBase(_ segment: Int) -> UInt64 {
    guard segment < 4 else { return segmentBase(segment) }
    return withUnsafePointer(to: &pointee.segment_kept_base) {
      UnsafeRawPointer($0).load(fromByteOffset: segment &* 8, as: UInt64.self)
    }
  }

  /// Loads a segment's base.
  func setBase(_ segment: Int, _ base: UInt64) {
    guard segment < 4 else { return set(Slot.segmentBase &+ UInt8(segment &* 8), base) }
    withUnsafeMutablePointer(to: &pointee.segment_kept_base) {
      UnsafeMutableRawPointer($0).storeBytes(of: base, toByteOffset: segment &* 8, as: UInt64.self)
    }
    set(
      Slot.segmentBase &+ UInt8(segment &* 8),
      pointee.segment_rules == SegmentRules.none ? 0 : base)
  }

  /// See `CodeVariant.isFlat`.
  var hasFlatSegments: Bool {
    guard pointee.code_mode == 1, !usesParagraphs, limit(1) == 0xffff_ffff, segmentBase(1) == 0,
      pointee.stack_mask == 0xffff_ffff
    else { return false }
    return [0, 2, 3].allSatisfy { segment in
      let slot = Slot.segmentBase &+ UInt8(segment * 8)
      return segmentBase(segment) == 0 && segmentEnd(slot, write: false) == 1 << 32
        && segmentEnd(slot, write: true) == 1 << 32
    }
  }

  /// Works out again which pages of code the segment holds whole.
  func updateCodeBounds() {
    pointee.code_key_bounded = 0
    guard pointee.code_mode != 2 else { return }
    let base = segmentBase(1)
    let end = (base &+ limit(1) &+ 1) & ~pageMask
    let first = (base &+ pageMask) & ~pageMask
    pointee.code_whole_first = first &- base
    pointee.code_whole_count = end > first ? end &- first : 0
  }

  /// Outside 64-bit mode: whether an offset lies in a page of which the code segment holds all.
  @inline(__always)
  func isInWholeCodePage(_ offset: UInt64) -> Bool {
    offset &- pointee.code_whole_first < pointee.code_whole_count
  }
}
