/// An Ethernet frame, without preamble and check sequence, and what of it is left to be finished.
///
/// Frames that were made together may lie in one array: then `bytes` is a copy, and `slice` is not.
package struct Frame: Sendable {
  @usableFromInline var storage: [UInt8]
  /// Where in `storage` the frame is.
  @usableFromInline var range: Range<Int>
  package var unfinished: Unfinished

  package init(_ bytes: [UInt8], unfinished: Unfinished = Unfinished()) {
    storage = bytes
    range = 0..<bytes.count
    self.unfinished = unfinished
  }

  /// A frame that is a part of `storage`.
  @inlinable @inline(__always)
  package init(in storage: [UInt8], _ range: Range<Int>, unfinished: Unfinished = Unfinished()) {
    precondition(range.lowerBound >= 0 && range.upperBound <= storage.count, "a part of the array")
    self.storage = storage
    self.range = range
    self.unfinished = unfinished
  }

  package var bytes: [UInt8] {
    get { range.count == storage.count ? storage : Array(storage[range]) }
    _modify {
      var whole = bytes
      // Held once only, or each change would copy it.
      storage = []
      defer {
        storage = whole
        range = 0..<whole.count
      }
      yield &whole
    }
  }

  @inlinable package var count: Int { range.count }
  @inlinable package var slice: ArraySlice<UInt8> { storage[range] }

  /// The byte at a place of the frame's, inside of it.
  @inlinable package subscript(_ place: Int) -> UInt8 {
    @inline(__always) get { storage[range.lowerBound &+ place] }
  }

  /// What the sender left undone.
  package struct Unfinished: Sendable, Equatable {
    /// The ones' complement sum is to be taken from `start` to the frame's end and put at `start + offset`, where
    /// the sum of the pseudo header stands.
    package var checksum: (start: Int, offset: Int)?
    /// The payload bytes of each segment to be cut; `nil`: the frame goes as it is.
    package var segmentSize: Int?
    /// The receiver need not check sums: the frame never was on a wire.
    package var isChecked = false

    @inlinable package init() {}

    package static func == (a: Self, b: Self) -> Bool {
      a.checksum?.start == b.checksum?.start && a.checksum?.offset == b.checksum?.offset
        && a.segmentSize == b.segmentSize && a.isChecked == b.isChecked
    }
  }

  /// A frame longer than this is dropped: an Ethernet header and the longest IP packet.
  package static let maximumLength = 14 + 65535 + 40
}
