/// A hardware register as a value: named fields over one raw integer.
///
/// Fields are computed properties over the two subscripts, in the manual's words. Public, although only this
/// package uses it: a generic of another module is neither inlined nor specialised unless it is public and
/// inlinable.
public protocol RegisterBits: Sendable {
  associatedtype Raw: FixedWidthInteger & Sendable
  var raw: Raw { get set }
}

extension RegisterBits {
  /// One bit of the register.
  @inlinable @inline(__always)
  public subscript(bit index: Int) -> Bool {
    get { raw & (1 &<< Raw(truncatingIfNeeded: index)) != 0 }
    set {
      let mask: Raw = 1 &<< Raw(truncatingIfNeeded: index)
      raw = newValue ? raw | mask : raw & ~mask
    }
  }

  /// `count` bits from bit `low` up; `count` is smaller than the register's width.
  @inlinable @inline(__always)
  public subscript(bits low: Int, count: Int) -> Raw {
    get {
      (raw &>> Raw(truncatingIfNeeded: low)) & ((1 &<< Raw(truncatingIfNeeded: count)) &- 1)
    }
    set {
      let mask: Raw =
        ((1 &<< Raw(truncatingIfNeeded: count)) &- 1) &<< Raw(truncatingIfNeeded: low)
      raw = raw & ~mask | (newValue &<< Raw(truncatingIfNeeded: low)) & mask
    }
  }
}
