import HostOS

/// The shared directory with its owner's rules: what both servers do with files, whatever the protocol.
struct SharedTree: Sendable {
  let plan: SharePlan
  let directory: HostDirectory
  let root: HostNode
  let numbers: FileNumbers
  /// Whether what a guest makes can be given to the guest's user.
  private let givesFilesAway: Bool

  init(_ plan: SharePlan) throws(HostError) {
    self.plan = plan
    directory = try HostDirectory(path: plan.path, isReadOnly: plan.isReadOnly)
    root = try directory.root()
    numbers = FileNumbers(home: root.identity.device)
    givesFilesAway = plan.ownership == .host && HostUser.isPrivileged
  }

  /// For whom a file is made; `nil`: not told.
  struct Caller {
    var user, group: UInt32?
  }

  /// A file's attributes as the guest may see them.
  func attributes(of node: HostNode) throws(LinuxError) -> HostAttributes {
    shown(try onHost(try node.attributes()))
  }

  func lookUp(_ name: HostName, in parent: HostNode) throws(LinuxError) -> HostFinding {
    shown(try onHost(try parent.lookUp(name)))
  }

  private func shown(_ attributes: HostAttributes) -> HostAttributes {
    guard case .fixed(let user, let group) = plan.ownership else { return attributes }
    var attributes = attributes
    attributes.user = user
    attributes.group = group
    return attributes
  }

  private func shown(_ finding: HostFinding) -> HostFinding {
    var finding = finding
    finding.attributes = shown(finding.attributes)
    return finding
  }
}

// MARK: - What is new

extension SharedTree {
  /// Opens the file `name`, which is made if there is none; answers also what it is.
  func create(
    _ name: HostName, in parent: HostNode, mode: UInt32, _ flags: LinuxOpenFlags, for caller: Caller
  ) throws(LinuxError) -> (finding: HostFinding, file: HostOpenFile) {
    let options = try flags.options()
    let made: (finding: HostFinding, file: HostOpenFile)?
    do throws(HostError) {
      made = try parent.create(name, mode: mode & LinuxMode.permissions, options)
    } catch {
      let error = LinuxError(error)
      guard error == .exists, !flags.contains(.exclusive) else { throw error }
      made = nil
    }
    if let made { return (try settle(made.finding, mode: mode, for: caller), made.file) }
    let finding = try lookUp(name, in: parent)
    let file = try onHost(try finding.node.open(options))
    return (shown(try refreshed(finding)), file)
  }

  func makeDirectory(
    _ name: HostName, in parent: HostNode, mode: UInt32, for caller: Caller
  ) throws(LinuxError) -> HostFinding {
    try settle(
      try onHost(try parent.makeDirectory(name, mode: mode)), mode: mode,
      for: caller)
  }

  func makeNode(
    _ name: HostName, in parent: HostNode, mode: UInt32, for caller: Caller
  ) throws(LinuxError) -> HostFinding {
    guard LinuxMode.mayBeMade(mode) else { throw .notPermitted }
    let type = mode & LinuxMode.type == 0 ? 0o100000 : mode & LinuxMode.type
    return try settle(
      try onHost(try parent.makeNode(name, mode: type | mode & LinuxMode.permissions)), mode: mode,
      for: caller)
  }

  func makeLink(
    _ name: HostName, in parent: HostNode, to target: ArraySlice<UInt8>, for caller: Caller
  ) throws(LinuxError) -> HostFinding {
    guard target.count <= HostText.longestTarget else { throw .nameTooLong }
    guard let text = HostText(target, longest: HostText.longestTarget) else {
      throw target.isEmpty ? .noSuchFile : .invalid
    }
    return try settle(
      try onHost(try parent.makeLink(name, to: text)), mode: nil,
      for: caller)
  }

  /// Gives what was made to its user, and the permissions that were asked for: the host has masked them.
  private func settle(_ finding: HostFinding, mode: UInt32?, for caller: Caller)
    throws(LinuxError) -> HostFinding
  {
    var finding = finding
    var changed = false
    let now = finding.attributes
    if givesFilesAway {
      // A group other than root's came from the directory, which has the set-group bit.
      let group = caller.group.flatMap { now.group == 0 && $0 != 0 ? $0 : nil }
      let user = caller.user.flatMap { $0 != now.user ? $0 : nil }
      if user != nil || group != nil {
        try onHost(try finding.node.setOwner(user: user, group: group))
        changed = true
      }
    }
    if let mode, now.kind != .link {
      var wanted = mode & (LinuxMode.permissions | LinuxMode.sticky)
      wanted |= now.mode & LinuxMode.setGroup
      if plan.allowsSetID { wanted |= mode & (LinuxMode.setUser | LinuxMode.setGroup) }
      if wanted != now.mode & 0o7777 {
        try onHost(try finding.node.setMode(wanted))
        changed = true
      }
    }
    if changed { finding = try refreshed(finding) }
    return shown(finding)
  }

  private func refreshed(_ finding: HostFinding) throws(LinuxError) -> HostFinding {
    var finding = finding
    finding.attributes = try onHost(try finding.node.attributes())
    return finding
  }
}
