extension QCOW2Header {
  private var length: Int {
    version == 2 ? 72 : (105 + unknownFields.count + 7) / 8 * 8
  }

  /// The header, its extensions and the backing file's name; nil if they do not fit into the first cluster.
  func encoded() -> [UInt8]? {
    var tail: [UInt8] = []
    for item in extensions {
      tail.appendBig(item.type)
      tail.appendBig(UInt32(item.data.count))
      tail += item.data
      tail.pad(to: 8)
    }
    tail.appendBig(UInt64(0))  // the end of the extensions
    let nameOffset = length + tail.count
    let name = Array((backingName ?? "").utf8)
    tail += name
    guard length + tail.count <= 1 << clusterBits, name.count <= QCOW2Limits.backingName else {
      return nil
    }

    var bytes: [UInt8] = []
    bytes.appendBig(Self.magic)
    bytes.appendBig(version)
    bytes.appendBig(name.isEmpty ? UInt64(0) : UInt64(nameOffset))
    bytes.appendBig(UInt32(name.count))
    bytes.appendBig(clusterBits)
    bytes.appendBig(size)
    bytes.appendBig(UInt32(0))  // no encryption
    bytes.appendBig(l1Size)
    bytes.appendBig(l1Offset)
    bytes.appendBig(refcountTableOffset)
    bytes.appendBig(refcountTableClusters)
    bytes.appendBig(snapshotCount)
    bytes.appendBig(snapshotsOffset)
    if version >= 3 {
      bytes.appendBig(incompatible.rawValue)
      bytes.appendBig(compatible)
      bytes.appendBig(autoclear)
      bytes.appendBig(refcountOrder)
      bytes.appendBig(UInt32(length))
      bytes.append(compression.rawValue)
      bytes += unknownFields
      bytes.pad(to: 8)
    }
    return bytes + tail
  }

  /// The names of the features that a new image may have, for programs that do not know them.
  static let featureNames: [UInt8] = {
    var table: [UInt8] = []
    func add(_ kind: UInt8, _ bit: UInt8, _ name: String) {
      table += [kind, bit] + Array(name.utf8) + [UInt8](repeating: 0, count: 46 - name.utf8.count)
    }
    add(0, 0, "dirty bit")
    add(0, 1, "corrupt bit")
    add(0, 3, "compression type")
    add(0, 4, "extended L2 entries")
    add(1, 0, "lazy refcounts")
    return table
  }()
}
