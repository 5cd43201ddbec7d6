import HostOS

/// What an image says of itself.
package struct QCOW2Info: Sendable, Equatable {
  /// Bytes of the disk, and of the file.
  package let size: UInt64
  package let fileLength: UInt64
  package let version: Int
  package let clusterSize: Int
  package let refcountBits: Int
  package let hasLazyRefcounts: Bool
  package let hasExtendedEntries: Bool
  package let compression: QCOW2Compression
  package let isDirty: Bool
  package let isCorrupt: Bool
  package let hasBitmaps: Bool
  package let backingName: String?
  package let backingFormat: String?
  package let snapshots: [QCOW2Snapshot]
}

extension QCOW2Image {
  package var info: QCOW2Info {
    get throws(ImageError) {
      let header = lock.withLock { self.header }
      return QCOW2Info(
        size: header.size,
        fileLength: try passingOn { () throws(DiskError) in try file.length() },
        version: Int(header.version), clusterSize: geometry.clusterSize,
        refcountBits: 1 << geometry.refcountOrder,
        hasLazyRefcounts: header.compatible & QCOW2Header.lazyRefcounts != 0,
        hasExtendedEntries: geometry.hasExtendedEntries, compression: header.compression,
        isDirty: header.incompatible.contains(.dirty),
        isCorrupt: header.incompatible.contains(.corrupt),
        hasBitmaps: header[extension: QCOW2Header.Extension.bitmaps] != nil,
        backingName: header.backingName, backingFormat: header.backingFormat,
        snapshots: try snapshots())
    }
  }
}
