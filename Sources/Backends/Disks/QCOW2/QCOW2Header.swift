/// The header of a qcow2 image, as it stands in the file.
/// - SeeAlso: qcow2 "Header", "Header extensions".
struct QCOW2Header: Sendable, Equatable {
  var version: UInt32 = 3
  var clusterBits: UInt32 = 16
  var size: UInt64 = 0
  var l1Size: UInt32 = 0
  var l1Offset: UInt64 = 0
  var refcountTableOffset: UInt64 = 0
  var refcountTableClusters: UInt32 = 0
  var snapshotCount: UInt32 = 0
  var snapshotsOffset: UInt64 = 0
  var incompatible: Incompatible = []
  var compatible: UInt64 = 0
  var autoclear: UInt64 = 0
  var refcountOrder: UInt32 = 4
  var compression = QCOW2Compression.zlib
  var backingName: String?
  var extensions: [Extension] = []
  /// Additional fields that are not known here, to be kept as they are (from byte 105 on).
  var unknownFields: [UInt8] = []

  struct Incompatible: OptionSet, Sendable, Hashable {
    let rawValue: UInt64
    static let dirty = Self(rawValue: 1 << 0)
    static let corrupt = Self(rawValue: 1 << 1)
    static let externalData = Self(rawValue: 1 << 2)
    static let compressionType = Self(rawValue: 1 << 3)
    static let extendedEntries = Self(rawValue: 1 << 4)
    static let known: Self = [.dirty, .corrupt, .externalData, .compressionType, .extendedEntries]
  }

  struct Extension: Sendable, Equatable {
    let type: UInt32
    var data: [UInt8]

    static let backingFormat: UInt32 = 0xe279_2aca
    static let featureNames: UInt32 = 0x6803_f857
    static let bitmaps: UInt32 = 0x2385_2875
    static let encryption: UInt32 = 0x0537_be77
    static let externalData: UInt32 = 0x4441_5441
  }

  static let magic: UInt32 = 0x5146_49fb  // "QFI\xfb"
  static let lazyRefcounts: UInt64 = 1 << 0
  static let consistentBitmaps: UInt64 = 1 << 0

  var geometry: QCOW2Geometry {
    QCOW2Geometry(
      version: version, clusterBits: Int(clusterBits), refcountOrder: Int(refcountOrder),
      hasExtendedEntries: incompatible.contains(.extendedEntries))
  }

  subscript(extension type: UInt32) -> [UInt8]? {
    get { extensions.first { $0.type == type }?.data }
    set {
      extensions.removeAll { $0.type == type }
      // In front, where it shares a sector with the header.
      if let newValue { extensions.insert(Extension(type: type, data: newValue), at: 0) }
    }
  }

  var backingFormat: String? {
    get { self[extension: Extension.backingFormat].map { String(decoding: $0, as: UTF8.self) } }
    set { self[extension: Extension.backingFormat] = newValue.map { Array($0.utf8) } }
  }
}

/// How compressed clusters are compressed (qcow2 "compression_type").
package enum QCOW2Compression: UInt8, Sendable {
  case zlib = 0
  case zstd = 1
}
