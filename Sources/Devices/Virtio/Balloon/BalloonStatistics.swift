import Bits

/// What a guest says of its memory: sizes in bytes, and how often something has happened.
///
/// - SeeAlso: VIRTIO 1.3 §5.5.6.4 "Memory Statistics Tags".
package struct BalloonStatistics: Sendable, Equatable {
  package struct Tag: RawRepresentable, Sendable, Hashable {
    package let rawValue: UInt16
    package init(rawValue: UInt16) { self.rawValue = rawValue }

    package static let swappedIn = Tag(rawValue: 0)
    package static let swappedOut = Tag(rawValue: 1)
    package static let majorFaults = Tag(rawValue: 2)
    package static let minorFaults = Tag(rawValue: 3)
    package static let free = Tag(rawValue: 4)
    package static let total = Tag(rawValue: 5)
    package static let available = Tag(rawValue: 6)
    package static let caches = Tag(rawValue: 7)
    package static let hugePageAllocations = Tag(rawValue: 8)
    package static let hugePageFailures = Tag(rawValue: 9)
    package static let processesKilled = Tag(rawValue: 10)
  }

  private var values: [Tag: UInt64] = [:]

  /// Bytes of one tag and its value, side by side.
  private static let entrySize = 10
  /// More than there are tags.
  static let longest = 64 * entrySize

  init() {}

  /// Takes what a buffer holds. Of a tag that comes twice the later counts.
  init(_ bytes: [UInt8]) {
    for start in stride(from: 0, to: bytes.count, by: Self.entrySize) {
      guard let tag = bytes.integer(UInt16.self, littleEndianAt: start),
        let value = bytes.integer(UInt64.self, littleEndianAt: start + 2)
      else { return }
      values[Tag(rawValue: tag)] = value
    }
  }

  /// `nil`: the guest does not say.
  package subscript(tag: Tag) -> UInt64? { values[tag] }
}
