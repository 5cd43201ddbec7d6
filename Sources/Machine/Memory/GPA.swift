// Public, although only this package uses it, are here and in this module's other files what is called for
// each of a guest's accesses: functions of another module are not inlined unless they are public.

/// A guest physical address.
public struct GPA: RawRepresentable, Sendable, Hashable, Comparable, Codable {
  /// The address as a number.
  public var rawValue: UInt64

  /// The address of that number.
  @inlinable @inline(__always)
  public init(rawValue: UInt64) { self.rawValue = rawValue }

  /// The address of that number.
  @inlinable @inline(__always)
  public init(_ value: UInt64) { rawValue = value }

  /// Whether `a` lies below `b`.
  @inlinable
  public static func < (a: GPA, b: GPA) -> Bool { a.rawValue < b.rawValue }
}

extension GPA: CustomStringConvertible {
  /// In hexadecimal digits.
  public var description: String { "0x" + String(rawValue, radix: 16) }
}

/// A range of guest physical addresses that does not wrap.
package struct GPARange: Sendable, Hashable, Codable {
  package let start: GPA
  package let count: UInt64

  /// `nil` if the range would reach beyond the last address.
  package init?(start: GPA, count: UInt64) {
    guard count == 0 || !start.rawValue.addingReportingOverflow(count - 1).overflow else {
      return nil
    }
    self.start = start
    self.count = count
  }
}

/// Why an access to guest memory was refused.
public enum MemoryFault: Error, Sendable, Hashable {
  /// No memory there, or not all of it.
  case outOfRange(GPA)
  /// The memory there is read-only.
  case readOnly(GPA)
  /// The device may not reach memory now: bus mastering is off, or the IOMMU refuses.
  case notPermitted(GPA)
  /// The host could not supply the page.
  case hostFailed(GPA)
}
