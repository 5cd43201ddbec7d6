/// What a bridge passes on to the bus behind it, decoded from its header.
///
/// - SeeAlso: PCI-to-PCI Bridge Architecture 1.2 §3.2.5, chapter 4 "Address Decoding".
struct BridgeWindows: Sendable, Equatable {
  /// `nil`: base lies above limit, or the space is not enabled.
  var ports: ClosedRange<UInt64>?
  var memory: ClosedRange<UInt64>?
  var prefetchable: ClosedRange<UInt64>?

  /// Doublewords of the header.
  enum Register {
    static let buses = 6
    static let ports = 7
    static let memory = 8
    static let prefetchable = 9
    static let prefetchableBase = 10
    static let prefetchableLimit = 11
    static let control = 15
  }

  /// The header, and whether each space is enabled in it.
  init(_ header: ArraySlice<UInt32>, ports isPorts: Bool, memory isMemory: Bool) {
    let first = header.startIndex
    let register = { (index: Int) in UInt64(header[first + index]) }
    let io = register(Register.ports)
    if isPorts { ports = Self.window((io & 0xf0) << 8, (io & 0xf000) | 0xfff) }
    guard isMemory else { return }
    let low = register(Register.memory)
    memory = Self.window((low & 0xfff0) << 16, low & 0xfff0_0000 | 0xf_ffff)
    let high = register(Register.prefetchable)
    prefetchable = Self.window(
      register(Register.prefetchableBase) << 32 | (high & 0xfff0) << 16,
      register(Register.prefetchableLimit) << 32 | high & 0xfff0_0000 | 0xf_ffff)
  }

  private static func window(_ base: UInt64, _ limit: UInt64) -> ClosedRange<UInt64>? {
    base <= limit ? base...limit : nil
  }

  /// Whether all of a range lies in one of the windows.
  func holds(_ range: Range<UInt64>, isMemory: Bool) -> Bool {
    guard !range.isEmpty else { return false }
    return (isMemory ? [memory, prefetchable] : [ports]).contains { window in
      guard let window else { return false }
      return window.contains(range.lowerBound) && window.contains(range.upperBound - 1)
    }
  }
}
