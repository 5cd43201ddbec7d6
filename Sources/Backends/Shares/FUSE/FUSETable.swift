import HostOS

/// What a FUSE client knows: nodes, by numbers that are never used twice, and open files.
///
/// A node stays until the guest has forgotten it as often as it was told of it. Nothing is dropped before that, since
/// a file without a descriptor could not be told from another one that took its name; so there is a limit, and beyond
/// it the guest is told that the system's table is full.
struct FUSETable {
  static let rootNumber: UInt64 = 1

  struct Node {
    /// `nil`: it was not found again after a restore.
    var node: HostNode?
    /// How often the guest was told of it.
    var lookups: UInt64
  }

  enum Handle {
    case file(HostOpenFile, node: UInt64)
    case directory(HostListing, node: UInt64)
    /// Not found again after a restore.
    case stale
  }

  let limit: Int
  var isInitialised = false
  var nodes: [UInt64: Node]
  var handles: [UInt64: Handle] = [:]
  var nextNode = FUSETable.rootNumber + 1
  var nextHandle: UInt64 = 1
  private var byIdentity: [HostIdentity: UInt64]

  init(root: HostNode, limit: Int) {
    self.limit = limit
    nodes = [FUSETable.rootNumber: Node(node: root, lookups: 1)]
    byIdentity = [root.identity: FUSETable.rootNumber]
  }

  var isFull: Bool { nodes.count + handles.count >= limit }

  func node(_ number: UInt64) throws(LinuxError) -> HostNode {
    guard let entry = nodes[number], let node = entry.node else { throw .stale }
    return node
  }

  /// The number of what was found; the guest will be told of it once more.
  mutating func adopt(_ node: HostNode) throws(LinuxError) -> UInt64 {
    if let number = byIdentity[node.identity], let known = nodes[number] {
      let sum = known.lookups.addingReportingOverflow(1)
      nodes[number]?.lookups = sum.overflow ? .max : sum.partialValue
      return number
    }
    guard !isFull else { throw .tableFull }
    let number = nextNode
    nextNode &+= 1
    insert(number, Node(node: node, lookups: 1))
    return number
  }

  mutating func insert(_ number: UInt64, _ node: Node) {
    nodes[number] = node
    if let identity = node.node?.identity { byIdentity[identity] = number }
  }

  /// The guest has forgotten what it was told `count` times. Answers what is to be let go, outside the lock.
  mutating func forget(_ number: UInt64, _ count: UInt64) -> HostNode? {
    guard number != FUSETable.rootNumber, let entry = nodes[number] else { return nil }
    guard entry.lookups <= count else {
      nodes[number]?.lookups -= count
      return nil
    }
    nodes[number] = nil
    if let identity = entry.node?.identity { byIdentity[identity] = nil }
    return entry.node
  }

  mutating func add(_ handle: Handle) throws(LinuxError) -> UInt64 {
    guard !isFull else { throw .tableFull }
    defer { nextHandle &+= 1 }
    handles[nextHandle] = handle
    return nextHandle
  }

  func file(_ number: UInt64) throws(LinuxError) -> HostOpenFile {
    switch handles[number] {
    case .file(let file, _): return file
    case .stale: throw .stale
    default: throw .badHandle
    }
  }

  func listing(_ number: UInt64) throws(LinuxError) -> (listing: HostListing, node: UInt64) {
    switch handles[number] {
    case .directory(let listing, let node): return (listing, node)
    case .stale: throw .stale
    default: throw .badHandle
    }
  }
}
