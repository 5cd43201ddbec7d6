extension X86 {
  /// The components of processor state that XCR0 enables, and their places in an XSAVE area of standard form:
  /// SDM Vol. 1 §13.1, §13.4.
  package enum StateComponents {
    package static let x87: UInt64 = 1 << 0
    package static let sse: UInt64 = 1 << 1
    /// The upper halves of the YMM registers.
    package static let avx: UInt64 = 1 << 2

    /// The area of FXSAVE, which is the first part of every XSAVE area; the header follows.
    package static let legacySize: UInt32 = 512
    package static let headerSize: UInt32 = 64
    package static let avxOffset: UInt32 = 576
    package static let avxSize: UInt32 = 256

    /// How long an area must be that holds these components.
    package static func areaSize(_ components: UInt64) -> UInt32 {
      components & avx != 0 ? avxOffset + avxSize : legacySize + headerSize
    }
  }
}
