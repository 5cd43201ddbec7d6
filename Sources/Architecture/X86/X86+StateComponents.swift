extension X86 {
  /// The components of processor state that XCR0 enables, and their places in an XSAVE area of standard form:
  /// SDM Vol. 1 §13.1, §13.4.
  package enum StateComponents {
    package static let x87: UInt64 = 1 << 0
    package static let sse: UInt64 = 1 << 1
    /// The upper halves of the YMM registers.
    package static let avx: UInt64 = 1 << 2
    /// PKRU, the rights register of protection keys.
    package static let protectionKeys: UInt64 = 1 << 9

    /// The area of FXSAVE, which is the first part of every XSAVE area; the header follows.
    package static let legacySize: UInt32 = 512
    package static let headerSize: UInt32 = 64
    package static let avxOffset: UInt32 = 576
    package static let avxSize: UInt32 = 256
    /// Where Intel's processors have it, with or without the components of AVX-512 that would lie before it. That is
    /// each processor's own affair, and guests ask CPUID.
    package static let protectionKeysOffset: UInt32 = 2688
    package static let protectionKeysSize: UInt32 = 8

    /// The components behind the header, and where they lie in an area of standard form.
    package static let extended: [(component: UInt64, place: Range<Int>)] = [
      (avx, Int(avxOffset)..<Int(avxOffset + avxSize)),
      (
        protectionKeys,
        Int(protectionKeysOffset)..<Int(protectionKeysOffset + protectionKeysSize)
      ),
    ]

    /// How long an area of standard form must be that holds these components.
    package static func areaSize(_ components: UInt64) -> UInt32 {
      components & protectionKeys != 0
        ? protectionKeysOffset + protectionKeysSize
        : components & avx != 0 ? avxOffset + avxSize : legacySize + headerSize
    }

    /// Where PKRU lies in an area of compacted form that has room for these components: behind those with lower
    /// numbers (SDM Vol. 1 §13.4.3 "Extended Region of an XSAVE Area").
    package static func compactedProtectionKeysOffset(_ components: UInt64) -> UInt32 {
      areaSize(components & ~protectionKeys)
    }

    /// How long an area of compacted form must be that has room for these components.
    package static func compactedAreaSize(_ components: UInt64) -> UInt32 {
      compactedProtectionKeysOffset(components)
        + (components & protectionKeys != 0 ? protectionKeysSize : 0)
    }
  }
}
