/// The MMX registers, which are the significands of R0 to R7: SDM Vol. 1 §9.2.2 "MMX Registers",
/// Vol. 3A §13.2 "The MMX State and MMX Register Aliasing".
extension X87State {
  /// What every MMX instruction but EMMS does to the x87 state.
  @inline(__always)
  mutating func enterMMX() {
    status.top = 0
    tags = 0xff
  }

  /// MM(`number`). To write is to make the register's number a NaN.
  @inline(__always)
  subscript(mmx number: UInt8) -> UInt64 {
    get { registers[Int(truncatingIfNeeded: number & 7)].significand }
    set {
      registers[Int(truncatingIfNeeded: number & 7)] =
        ExtendedFloat(significand: newValue, signExponent: 0xffff)
    }
  }

  /// EMMS: SDM Vol. 2 "EMMS—Empty MMX Technology State". As any MMX instruction it resets the top of the stack, which its
  /// page does not say, but Vol. 3A §13.2.
  @inline(__always)
  mutating func emptyMMX() {
    status.top = 0
    tags = 0
  }
}
