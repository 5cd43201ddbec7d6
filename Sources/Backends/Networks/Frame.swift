/// An Ethernet frame, without preamble and check sequence, and what of it is left to be finished.
///
/// Frames that were made together may lie in one array: then `bytes` is a copy, and `slice` is not.
///
/// Public, as is what is called for each frame: only that is inlined into other modules.
public struct Frame: Sendable {
  @usableFromInline var storage: [UInt8]
  /// Where in `storage` the frame is.
  @usableFromInline var range: Range<Int>
  /// What the sender left undone.
  public var unfinished: Unfinished

  /// A frame that is all of an array.
  public init(_ bytes: [UInt8], unfinished: Unfinished = Unfinished()) {
    storage = bytes
    range = 0..<bytes.count
    self.unfinished = unfinished
  }

  /// A frame that is a part of `storage`.
  @inlinable @inline(__always)
  public init(in storage: [UInt8], _ range: Range<Int>, unfinished: Unfinished = Unfinished()) {
    precondition(range.lowerBound >= 0 && range.upperBound <= storage.count, "a part of the array")
    self.storage = storage
    self.range = range
    self.unfinished = unfinished
  }

  /// The frame in an array of its own.
  public var bytes: [UInt8] {
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

  /// How many bytes the frame has.
  @inlinable public var count: Int { range.count }
  /// The frame where it lies.
  @inlinable public var slice: ArraySlice<UInt8> { storage[range] }

  /// The byte at a place of the frame's.
  @inlinable public subscript(_ place: Int) -> UInt8 {
    @inline(__always) get {
      precondition(place >= 0 && place < range.count, "inside the frame")
      return storage[range.lowerBound &+ place]
    }
  }

  /// What the sender left undone.
  public struct Unfinished: Sendable, Equatable {
    /// The ones' complement sum is to be taken from `start` to the frame's end and put at `start + offset`, where
    /// the sum of the pseudo header stands.
    public var checksum: (start: Int, offset: Int)?
    /// The payload bytes of each segment to be cut; `nil`: the frame goes as it is.
    public var segmentSize: Int?
    /// The receiver need not check sums: the frame never was on a wire.
    public var isChecked = false

    /// Nothing.
    @inlinable public init() {}

    /// Whether the same is left undone.
    public static func == (a: Self, b: Self) -> Bool {
      a.checksum?.start == b.checksum?.start && a.checksum?.offset == b.checksum?.offset
        && a.segmentSize == b.segmentSize && a.isChecked == b.isChecked
    }
  }

  /// A frame longer than this is dropped: an Ethernet header and the longest IP packet.
  package static let maximumLength = 14 + 65535 + 40
}
