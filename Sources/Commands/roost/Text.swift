// Text of fixed form: FoundationEssentials has none, and the rest of Foundation would have to be loaded at each start.

extension String {
  /// The text, filled up to a number of characters.
  func padded(to count: Int, with filler: Character = " ") -> String {
    self + String(repeating: filler, count: max(0, count - self.count))
  }
}

extension Double {
  /// The number with so many digits behind the point; "inf" or "nan" if it is none.
  func text(decimals: Int) -> String {
    let scale = (0..<decimals).reduce(1.0) { scale, _ in scale * 10 }
    let scaled = (magnitude * scale).rounded()
    guard scaled < 0x1p53 else { return description }
    let digits = String(UInt64(scaled))
    let filled = String(repeating: "0", count: max(0, decimals + 1 - digits.count)) + digits
    let sign = self < 0 && scaled > 0 ? "-" : ""
    guard decimals > 0 else { return sign + filled }
    return sign + filled.dropLast(decimals) + "." + filled.suffix(decimals)
  }
}
