/// An amount of memory with its unit: `512M`, `4G`, `4GiB`.
package struct MemorySize: Sendable, Hashable {
  package let bytes: UInt64

  package init(bytes: UInt64) { self.bytes = bytes }

  /// Reads an amount in binary units, K to T, with or without `iB`. A number without a unit is refused:
  /// people have meant mebibytes, kibibytes and bytes by it.
  package init(parsing text: String) throws(ConfigurationError) {
    let digits = text.prefix { $0.isASCII && $0.isNumber }
    let unit = text.dropFirst(digits.count)
    guard let number = UInt64(digits) else {
      throw ConfigurationError(text, "Write a whole number and a unit, such as 512M or 4G.")
    }
    guard !unit.isEmpty else {
      throw ConfigurationError(
        text, "The number has no unit: write \(text)M for mebibytes or \(text)G for gibibytes.")
    }
    guard let shift = Self.shift(of: unit.uppercased()) else {
      throw ConfigurationError(
        text, "\"\(unit)\" is not a unit of memory: use K, M, G or T, as in 512M or 4G.")
    }
    guard number <= UInt64.max >> shift else {
      throw ConfigurationError(text, "No machine has that much memory.")
    }
    bytes = number << shift
  }

  private static func shift(of unit: String) -> UInt64? {
    switch unit {
    case "K", "KIB": 10
    case "M", "MIB": 20
    case "G", "GIB": 30
    case "T", "TIB": 40
    default: nil
    }
  }
}

extension MemorySize: CustomStringConvertible {
  package var description: String {
    for (name, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)]
    where bytes != 0 && bytes & (1 << shift - 1) == 0 {
      return "\(bytes >> shift)\(name)"
    }
    return "\(bytes) bytes"
  }
}
