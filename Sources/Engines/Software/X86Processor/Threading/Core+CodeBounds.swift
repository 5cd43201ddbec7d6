import ArchitectureX86
import CProcessor

// Outside 64-bit mode a page need not lie in the code segment as a whole: its start, or its end, may be beyond what the
// segment holds. Code of such a page is decoded for that very part of it, so that what runs needs no checks: decoding
// stops at the segment's limit, and jumps in the page that leave the part are not linked. In the jump cache it has keys
// that tell the segment. SDM Vol. 3A §5.3 "Limit Checking".

/// The part of a page that the code segment holds: offsets in the page.
struct CodeBound: Hashable {
  var first: Int
  var last: Int
}

/// Where a code segment lies.
struct CodeSpan: Hashable {
  var base: UInt64
  var limit: UInt64
}

extension Core {
  /// The part of the page at `rip` that the code segment holds: `.some(nil)` if that is all of it, `nil` once an
  /// exception was raised, because `rip` is beyond the limit.
  func codeBound() -> CodeBound?? {
    guard cpu.pointee.code_mode != 2 else { return .some(nil) }
    let rip = cpu.pointee.rip
    let offset = codeOffset(rip)
    if cpu.isInWholeCodePage(offset) { return .some(nil) }
    let limit = cpu.limit(1)
    guard offset <= limit else {
      raiseAtRIP(cpu, X86.Exception.generalProtection, code: 0)
      return nil
    }
    let place = rip & pageMask
    let bound = CodeBound(
      first: offset < place ? Int(place - offset) : 0,
      last: Int(min(pageMask, place + (limit - offset))))
    return .some(bound)
  }

  /// The key of jump entries to such pages in the present code segment.
  func boundedCodeKey() -> UInt64 {
    if cpu.pointee.code_key_bounded != 0 { return cpu.pointee.code_key_bounded }
    if boundedSegments.count == 0xffff {
      boundedSegments.removeAll()
      forgetCodeAddresses()
    }
    let span = CodeSpan(base: cpu.segmentBase(1), limit: cpu.limit(1))
    let number = asHost {
      let number = boundedSegments[span] ?? UInt64(boundedSegments.count)
      boundedSegments[span] = number
      return number
    }
    let mode = UInt64(codeVariant)
    let key = 1 << 63 | number << 47 | (codeGeneration << 5 & (1 << 47 - 1)) | mode
    cpu.pointee.code_key_bounded = key
    return key
  }
}
