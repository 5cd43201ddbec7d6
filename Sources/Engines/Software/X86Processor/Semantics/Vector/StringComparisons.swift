import ArchitectureX86
import CProcessor

// PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM: SDM Vol. 2 §4.1 "Imm8 Control Byte Operation for PCMPESTRI /
// PCMPESTRM / PCMPISTRI / PCMPISTRM".

/// The immediate byte.
struct StringComparison {
  private let control: UInt8

  /// Bits 0 and 1: the source data format.
  private var isWords: Bool { control & 1 != 0 }
  private var isSigned: Bool { control & 2 != 0 }
  /// Bits 2 and 3: the aggregation operation.
  private enum Aggregation: UInt8 { case equalAny, ranges, equalEach, equalOrdered }
  private var aggregation: Aggregation { Aggregation(rawValue: control >> 2 & 3) ?? .equalAny }
  /// Bits 4 and 5: the polarity.
  private var isNegated: Bool { control & 0x10 != 0 }
  private var negatesValidOnly: Bool { control & 0x20 != 0 }
  /// Bit 6: which of the result's set bits is told, or whether the mask is one of elements.
  private var takesMostSignificant: Bool { control & 0x40 != 0 }

  /// Elements of an operand.
  private var count: Int { isWords ? 8 : 16 }

  private init(_ control: UInt8) { self.control = control }
}

// MARK: - Handlers

extension StringComparison {
  /// By the low two bits of the opcode. `detail`: lengths of 64 bits.
  static let handlers: [Handler] = [
    { compare($0, $1, explicit: true, mask: true) },
    { compare($0, $1, explicit: true, mask: false) },
    { compare($0, $1, explicit: false, mask: true) },
    { compare($0, $1, explicit: false, mask: false) },
  ]

  @inline(__always)
  private static func compare(_ cpu: CPU, _ op: Op, explicit: Bool, mask: Bool) {
    execute(cpu, op, explicit: explicit, mask: mask)
    return next(cpu, op)
  }

  @inline(never)
  private static func execute(_ cpu: CPU, _ op: Op, explicit: Bool, mask: Bool) {
    let comparison = StringComparison(UInt8(truncatingIfNeeded: op.pointee.immediate))
    let a: Bytes = cpu.vector(op.pointee.destination)
    let b: Bytes = cpu.vector(op.pointee.source)
    let lengthA =
      explicit ? comparison.length(cpu.rax, op) : comparison.implicitLength(a)
    let lengthB =
      explicit ? comparison.length(cpu.rdx, op) : comparison.implicitLength(b)
    let result = comparison.result(a, lengthA, b, lengthB)
    if mask {
      cpu.setVector(0, comparison.mask(result))
    } else {
      cpu.set(Slot.rcx, UInt32(truncatingIfNeeded: comparison.index(result)))
    }
    cpu.statusFlags =
      (result != 0 ? X86.Flags.carry : 0) | (lengthB < comparison.count ? X86.Flags.zero : 0)
      | (lengthA < comparison.count ? X86.Flags.sign : 0)
      | (result & 1 != 0 ? X86.Flags.overflow : 0)
  }

  // MARK: - Lengths

  /// An explicit length: the magnitude of a register, at most all elements.
  private func length(_ register: UInt64, _ op: Op) -> Int {
    let isWide = op.pointee.detail != 0
    let value = isWide ? register.signed : Int64(Int32(truncatingIfNeeded: register))
    return Int(min(value.magnitude, UInt64(count)))
  }

  /// Elements before the first that is zero.
  private func implicitLength(_ string: Bytes) -> Int {
    for index in 0..<count where element(string, index) == 0 { return index }
    return count
  }

  // MARK: - Comparison and aggregation

  @inline(__always)
  private func element(_ string: Bytes, _ index: Int) -> Int32 {
    if isWords {
      let word = cast(string, to: Words.self)[index & 7]
      return isSigned ? Int32(word.signed) : Int32(word)
    }
    let byte = string[index & 15]
    return isSigned ? Int32(byte.signed) : Int32(byte)
  }

  /// IntRes2: one bit for each element of `b`.
  private func result(_ a: Bytes, _ lengthA: Int, _ b: Bytes, _ lengthB: Int) -> UInt32 {
    var bits: UInt32 = 0
    for index in 0..<count {
      let holds =
        switch aggregation {
        case .equalAny: index < lengthB && contains(a, lengthA, element(b, index))
        case .ranges: index < lengthB && isInRange(a, lengthA, element(b, index))
        case .equalEach:
          index < lengthA && index < lengthB
            ? element(a, index) == element(b, index) : index >= lengthA && index >= lengthB
        case .equalOrdered: occurs(a, lengthA, b, lengthB, at: index)
        }
      if holds { bits |= 1 &<< UInt32(index) }
    }
    guard isNegated else { return bits }
    let valid: UInt32 = (1 &<< UInt32(negatesValidOnly ? lengthB : count)) &- 1
    return bits ^ valid
  }

  private func contains(_ set: Bytes, _ length: Int, _ character: Int32) -> Bool {
    for index in 0..<length where element(set, index) == character { return true }
    return false
  }

  /// Pairs of a lower and an upper bound; one without its partner does not count.
  private func isInRange(_ ranges: Bytes, _ length: Int, _ character: Int32) -> Bool {
    var index = 0
    while index &+ 1 < length {
      if element(ranges, index) <= character, character <= element(ranges, index &+ 1) {
        return true
      }
      index &+= 2
    }
    return false
  }

  /// Whether `a` lies in `b` from `start` on, as far as the operand reaches.
  private func occurs(
    _ a: Bytes, _ lengthA: Int, _ b: Bytes, _ lengthB: Int, at start: Int
  ) -> Bool {
    for index in 0..<min(lengthA, count &- start) {
      let place = start &+ index
      guard place < lengthB, element(a, index) == element(b, place) else { return false }
    }
    return true
  }

  // MARK: - Output

  /// ECX: the number of the first or last bit, or of one past the last element.
  private func index(_ result: UInt32) -> Int {
    guard result != 0 else { return count }
    return takesMostSignificant
      ? 31 &- result.leadingZeroBitCount : result.trailingZeroBitCount
  }

  /// XMM0: the bits as they are, or each spread over its element.
  private func mask(_ result: UInt32) -> Bytes {
    guard takesMostSignificant else { return cast(Doublewords(result, 0, 0, 0)) }
    var mask = Bytes()
    for index in 0..<16 {
      let bit = UInt32(truncatingIfNeeded: isWords ? index &>> 1 : index)
      mask[index] = result &>> bit & 1 != 0 ? 0xff : 0
    }
    return mask
  }
}
