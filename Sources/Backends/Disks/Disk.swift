import HostOS
package import Memory
package import Work

/// One thing asked of a disk.
package struct DiskRequest: Sendable {
  package enum Operation: Sendable {
    /// Fills the buffers, and notes them as written (`GuestBuffers.noteWritten`); their length is that of the
    /// sectors.
    case read(GuestBuffers)
    /// `durable`: answered only when the data would survive a loss of power.
    case write(GuestBuffers, durable: Bool)
    /// Answered when all that was answered before would survive a loss of power. The sectors are ignored.
    case flush
    /// The sectors' content is of no interest any more.
    case discard
    /// The sectors read as zeroes from then on; with `mayUnmap` they need not keep their storage.
    case writeZeroes(mayUnmap: Bool)
  }

  package let operation: Operation
  /// In units of the disk's `sectorSize`.
  package let sectors: Range<UInt64>
  /// The caller's, handed back untouched.
  package let tag: RequestTag

  package init(_ operation: Operation, sectors: Range<UInt64>, tag: RequestTag) {
    self.operation = operation
    self.sectors = sectors
    self.tag = tag
  }
}

package typealias DiskAnswer = Result<Void, DiskError>

/// Who hears of requests that took time.
package protocol DiskCompletion: AnyObject, Sendable {
  /// Where `completed` is called.
  var loop: any Loop { get }
  func completed(_ tag: RequestTag, _ answer: DiskAnswer)
}

/// A run of sectors that can be read, written and flushed: what a disk controller sees.
///
/// The disk, not its caller, checks ranges; no sector number traps. Requests in flight at once have no order among
/// each other. Callable from any thread.
package protocol Disk: AnyObject, Sendable {
  /// Bytes; a power of two from 512 on.
  var sectorSize: Int { get }
  var sectorCount: UInt64 { get }
  var isReadOnly: Bool { get }
  /// Bytes that the storage beneath reads and writes at once; a multiple of `sectorSize`.
  var physicalBlockSize: Int { get }

  /// Begins a request. An answer at hand is returned, and no thread is woken; `nil`: it comes once, later, on the
  /// completion's loop.
  func submit(_ request: DiskRequest, _ completion: any DiskCompletion) -> DiskAnswer?
  /// Ends a batch: what was submitted since the last `commit` may go to the host in one call.
  ///
  /// - Parameter mayWait: whether the calling thread, the loop of those who hear of the answers, has nothing else to do
  ///   until the batch is done. The disk may then wait for the host in this call, and answers before it returns: for a
  ///   lone request that is quicker than to be woken.
  func commit(mayWait: Bool)

  // Powers a disk may have. `nil` is an answer, not an error.
  var discard: RangeLimits? { get }
  var writeZeroes: RangeLimits? { get }
}

extension Disk {
  package func commit() { commit(mayWait: false) }
}

/// How much of a disk one request may discard or zero.
package struct RangeLimits: Sendable, Equatable {
  /// Sectors in one request.
  package let maximum: UInt64
  /// Sectors that a piece must be aligned to for storage to be freed.
  package let granularity: UInt64

  package init(maximum: UInt64, granularity: UInt64) {
    self.maximum = maximum
    self.granularity = granularity
  }
}

/// Why a disk could not do what was asked.
package enum DiskError: Error, Sendable, Equatable {
  /// Sectors beyond the end, or buffers that are not as long as the sectors.
  case outOfRange
  case readOnly
  case unsupported
  /// The host has no room for what was to be written: the guest may try again when there is.
  case noSpace
  /// The host failed; what was attempted, and its error number.
  case host(operation: String, code: Int32)
  /// The image contradicts itself: what, and where.
  case damaged(String)
}

extension DiskError: CustomStringConvertible {
  package var description: String {
    switch self {
    case .outOfRange: "the request lies beyond the end of the disk, or its length is wrong"
    case .readOnly: "the disk is read-only"
    case .unsupported: "the disk cannot do that"
    case .noSpace: "the host has no room left"
    case .host(let operation, let code): HostError(operation, code: code).description
    case .damaged(let what): "the image is damaged: \(what)"
    }
  }
}
