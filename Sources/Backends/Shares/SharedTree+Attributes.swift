import HostOS

/// What a guest wants changed of a file's attributes; `nil` stays.
struct AttributeChange {
  var mode: UInt32?
  var user, group: UInt32?
  var size: UInt64?
  var accessed = HostTime.Change.keep
  var modified = HostTime.Change.keep
}

extension SharedTree {
  /// - Parameter file: the file, if the guest has it open: it may be resized through that though its permissions
  ///   would no longer let anybody open it.
  func change(_ node: HostNode, _ file: HostOpenFile?, _ change: AttributeChange)
    throws(LinuxError)
  {
    if let size = change.size {
      if let file, file.options.contains(.write) {
        try onHost(try file.resize(to: size))
      } else {
        try onHost(try node.open(.write).resize(to: size))
      }
    }
    if change.user != nil || change.group != nil { try giveAway(node, change) }
    if let mode = change.mode {
      try checkSetID(mode, of: node)
      try onHost(try node.setMode(mode & 0o7777))
    }
    if change.accessed != .keep || change.modified != .keep {
      try onHost(try node.setTimes(accessed: change.accessed, modified: change.modified))
    }
  }

  private func giveAway(_ node: HostNode, _ change: AttributeChange) throws(LinuxError) {
    switch plan.ownership {
    case .host:
      try onHost(try node.setOwner(user: change.user, group: change.group))
    case .fixed(let user, let group):
      // A read-only share says so first.
      try onHost(try node.setOwner(user: nil, group: nil))
      guard change.user ?? user == user, change.group ?? group == group else {
        throw .notPermitted
      }
    }
  }

  /// Refuses the bits that make a file run with its owner's rights, unless it has them already.
  private func checkSetID(_ mode: UInt32, of node: HostNode) throws(LinuxError) {
    let bits = mode & (LinuxMode.setUser | LinuxMode.setGroup)
    guard bits != 0, !plan.allowsSetID, node.kind != .directory else { return }
    let now = try onHost(try node.attributes())
    guard bits & ~now.mode == 0 else { throw .notPermitted }
  }
}

// MARK: - Extended attributes

extension SharedTree {
  /// The one family of attributes that is shared. Others carry rights (`security.`, `trusted.`, access lists), and
  /// what a guest writes there must mean nothing on the host.
  private static let family = Array("user.".utf8)

  func attributeName(_ bytes: ArraySlice<UInt8>) throws(LinuxError) -> HostText {
    guard bytes.starts(with: SharedTree.family) else { throw .notSupported }
    guard bytes.count > SharedTree.family.count,
      let name = HostText(bytes, longest: HostText.longestAttributeName)
    else {
      throw bytes.count > HostText.longestAttributeName ? .outOfRange : .invalid
    }
    return name
  }

  /// The names that the guest may see, each with a zero behind it.
  func attributeNames(of node: HostNode) throws(LinuxError) -> [UInt8] {
    let names = try onHost(try node.attributeNames())
    return names.reduce(into: []) { list, name in
      guard name.starts(with: SharedTree.family) else { return }
      list += name
      list.append(0)
    }
  }
}
