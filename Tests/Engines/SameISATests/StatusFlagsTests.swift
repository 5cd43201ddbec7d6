import Testing

@testable import SameISA

struct StatusFlagsTests {
  /// Whether a condition holds: SDM Vol. 1 Appendix B, Table B-1.
  private static func holds(_ code: UInt8, _ flags: StatusFlags) -> Bool {
    let isLess = flags.contains(.sign) != flags.contains(.overflow)
    let isTrue =
      switch code / 2 {
      case 0: flags.contains(.overflow)
      case 1: flags.contains(.carry)
      case 2: flags.contains(.zero)
      case 3: flags.contains(.carry) || flags.contains(.zero)
      case 4: flags.contains(.sign)
      case 5: flags.contains(.parity)
      case 6: isLess
      default: flags.contains(.zero) || isLess
      }
    return isTrue != (code % 2 == 1)
  }

  @Test(arguments: 0..<16 as Range<UInt8>)
  func `a condition reads the flags that may change it`(_ code: UInt8) {
    var found: StatusFlags = []
    for bits in 0...StatusFlags.all.rawValue {
      for bit in 0..<6 {
        let flag = StatusFlags(rawValue: 1 << UInt8(bit))
        let flags = StatusFlags(rawValue: bits)
        if Self.holds(code, flags) != Self.holds(code, flags.symmetricDifference(flag)) {
          found.insert(flag)
        }
      }
    }
    #expect(found == StatusFlags.condition(code))
  }
}
