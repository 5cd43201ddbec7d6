import HostOS

/// Where a file was, and which it was: what another process needs to find it again and to know that it is the same.
struct SavedPlace: Equatable {
  var identity: HostIdentity
  /// The names from the shared directory to the file; `nil`: none led there.
  var path: [HostName]?
}

/// A file that was found again. Its directory and name are unknown for the shared directory itself.
struct FoundPlace {
  var node: HostNode
  var parent: (node: HostNode, name: HostName)?
}

extension SharedTree {
  /// Where `node` is now. A file without a name is saved without one.
  func place(of node: HostNode) -> SavedPlace {
    let path = try? onHost(try node.path())
    return SavedPlace(identity: node.identity, path: path ?? nil)
  }

  /// The file at `place`, if it is there and the same: a file system's number may change from one start of the host
  /// to the next, so what is compared of it is whether it is the shared directory's.
  func find(_ place: SavedPlace, home: HostIdentity) -> FoundPlace? {
    guard let path = place.path else { return nil }
    guard let last = path.last else { return FoundPlace(node: root, parent: nil) }
    var parent = root
    for name in path.dropLast() {
      guard let next = try? lookUp(name, in: parent).node else { return nil }
      parent = next
    }
    guard let node = try? lookUp(last, in: parent).node,
      node.identity.inode == place.identity.inode,
      (node.identity.device == root.identity.device) == (place.identity.device == home.device)
    else { return nil }
    return FoundPlace(node: node, parent: (parent, last))
  }
}

extension WireWriter {
  mutating func place(_ place: SavedPlace) {
    number(place.identity.device)
    number(place.identity.inode)
    number(UInt8(place.path == nil ? 0 : 1))
    let path = place.path ?? []
    number(UInt32(truncatingIfNeeded: path.count))
    for name in path { countedString(name.bytes) }
  }

  mutating func optionalPlace(_ place: SavedPlace?) {
    number(UInt8(place == nil ? 0 : 1))
    if let place { self.place(place) }
  }
}

extension WireReader {
  mutating func identity() throws(LinuxError) -> HostIdentity {
    HostIdentity(device: try number(), inode: try number())
  }

  mutating func place() throws(LinuxError) -> SavedPlace {
    let identity = try identity()
    let hasPath = try number(UInt8.self) != 0
    var path: [HostName] = []
    for _ in 0..<(try number(UInt32.self)) {
      path.append(try HostName(checking: try countedString()))
    }
    return SavedPlace(identity: identity, path: hasPath ? path : nil)
  }

  mutating func optionalPlace() throws(LinuxError) -> SavedPlace? {
    try number(UInt8.self) == 0 ? nil : try place()
  }
}
