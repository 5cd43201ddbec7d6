import HostOS
import Synchronization

/// A qcow2 image.
///
/// **How it stays whole.** Changes to tables gather in `cache` and go to the file in `writeBack`, in this order: data
/// and reference counts, a sync, the refcount table if it changed, a sync, L1 and L2 tables, a sync; only then are
/// clusters that nobody refers to any more counted down. So the file never refers to a cluster whose content or
/// count is not there yet, and a crash leaves at most clusters that are counted and not used.
///
/// **Threads.** `lock` guards everything marked so; no data are read or written under it. A cluster that is being
/// allocated is listed in `allocations`, and whoever would change it waits. `structureLock` is held by one write-back
/// or one change of the tables' places at a time, and is taken before `lock`.
/// - SeeAlso: QEMU, docs/interop/qcow2.txt.
package final class QCOW2Image: DiskImage, @unchecked Sendable {
  let file: any ImageFile
  let geometry: QCOW2Geometry
  package let isReadOnly: Bool
  /// What shows through where nothing is stored here.
  let backing: (any DiskImage)?
  /// How many images lie above this one in its chain.
  let depth: Int

  let lock = ConditionLock()
  let structureLock = ConditionLock()
  let operations: OperationCounter
  let decompressed = DecompressedCluster()
  let byteCount: Atomic<UInt64>
  let scratch: ScratchBuffers

  // Guarded by `lock`.
  var header: QCOW2Header
  let cache: MetadataCache
  /// The L1 table that is read: the header's, or a snapshot's.
  var l1Offset: UInt64
  var l1Size: UInt64
  /// Guest clusters that get new storage at this moment.
  var allocations: [Range<UInt64>] = []
  /// Clusters to be counted down once no table in the file refers to them.
  var releases: [Range<UInt64>] = []
  var isWritingBack = false
  /// Nothing below is free.
  var searchStart: UInt64 = 0
  /// From here on the file has never been written: it reads as zeroes.
  var virginStart: UInt64 = .max
  /// Bytes of the file. It grows before clusters are handed out, under the lock, and never by a write of data: so
  /// nobody can cut off what another has just written.
  var fileLength: UInt64 = 0
  var metadata = MetadataFilter(expected: 0)
  var fixedMetadata: [Range<UInt64>] = []
  /// Where the next compressed cluster may begin, in a cluster that holds others already.
  var compressedEnd: UInt64?
  /// After a sync has failed, or when the image was found to contradict itself: nothing is changed any more.
  var failure: DiskError?

  init(
    _ file: any ImageFile, _ header: QCOW2Header, isReadOnly: Bool, backing: (any DiskImage)?,
    depth: Int
  ) {
    self.file = file
    self.header = header
    self.isReadOnly = isReadOnly
    self.backing = backing
    self.depth = depth
    geometry = header.geometry
    byteCount = Atomic(header.size)
    // What is filled before a write and what is filled behind it may lie in two clusters.
    scratch = ScratchBuffers(count: 2 * header.geometry.clusterSize)
    l1Offset = header.l1Offset
    l1Size = UInt64(header.l1Size)
    operations = OperationCounter(lock)
    cache = MetadataCache(
      file, pieceSize: geometry.pieceSize,
      bytes: isReadOnly ? QCOW2Limits.cache.readOnly : QCOW2Limits.cache.writable)
  }

  deinit {
    // Whoever cared has called `flush`; this only spares leaks.
    if !isReadOnly { try? writeBack() }
  }

  package var size: UInt64 { byteCount.load(ordering: .relaxed) }
  package var alignment: Int { file.alignment }
  package var clusterSize: Int { geometry.clusterSize }

  /// The image has a backing file that was not opened: what is not stored here cannot be read.
  var lacksBacking: Bool { backing == nil && header.backingName != nil }

  func checkRange(_ offset: UInt64, _ count: Int) throws(DiskError) {
    let (end, overflow) = offset.addingReportingOverflow(UInt64(count))
    guard !overflow, end <= size else { throw .outOfRange }
  }
}
