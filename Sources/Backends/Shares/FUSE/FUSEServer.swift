package import HostOS
import Synchronization

/// Serves a directory of the host in the FUSE protocol, as a virtio file system device carries it.
///
/// It speaks 7.31 to 7.38. Absent, and refused with ENOSYS: mapping of files (DAX), ioctl, poll, bmap.
///
/// - SeeAlso: Linux `include/uapi/linux/fuse.h`; VIRTIO 1.3 §5.11 "File System Device".
package final class FUSEServer: Share {
  let tree: SharedTree
  let table: Mutex<FUSETable>

  package init(_ plan: SharePlan) throws(HostError) {
    let tree = try SharedTree(plan)
    self.tree = tree
    table = Mutex(FUSETable(root: tree.root, limit: plan.limit))
  }

  package func answer(_ request: [UInt8], room: Int) -> [UInt8] {
    guard var call = FUSECall(request, room: room) else { return [] }
    if call.opcode.isSilent {
      forget(&call)
      return []
    }
    guard room >= FUSELayout.answerHeader else { return [] }
    var answer: [UInt8]
    var error: UInt32 = 0
    do throws(LinuxError) {
      answer = try perform(&call)
      if answer.count > room { throw .inputOutput }
    } catch let failure {
      answer = [UInt8](repeating: 0, count: FUSELayout.answerHeader)
      error = failure.rawValue
    }
    // `struct fuse_out_header`
    answer.set(UInt32(truncatingIfNeeded: answer.count), at: 0)
    answer.set(0 &- error, at: 4)
    answer.set(call.unique, at: 8)
    return answer
  }

  package func reset() {
    let new = FUSETable(root: tree.root, limit: tree.plan.limit)
    let old = table.withLock { table in
      defer { table = new }
      return table
    }
    _ = consume old  // Its descriptors are closed here, and not under the lock.
  }

  /// The answer with its header's place in front.
  private func perform(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    guard call.isWhole, call.room >= call.opcode.answerSize else { throw .invalid }
    if call.opcode != .initialise {
      guard table.withLock({ $0.isInitialised }) else { throw .inputOutput }
    }
    switch call.opcode {
    case .initialise: return try initialise(&call)
    case .destroy: return destroy()
    case .lookUp: return try lookUp(&call)
    case .getAttributes: return try attributes(call)
    case .setAttributes: return try setAttributes(&call)
    case .access: return try access(&call)
    case .fileSystem: return try fileSystem(call)
    case .readLink: return try readLink(call)
    case .symbolicLink, .makeNode, .makeDirectory: return try make(&call)
    case .link: return try link(&call)
    case .unlink, .removeDirectory: return try remove(&call)
    case .rename, .renameWithRule: return try rename(&call)
    case .create: return try create(&call)
    case .open: return try open(&call)
    case .read: return try read(&call)
    case .write: return try write(&call)
    case .flush: return try flush(&call)
    case .sync, .syncDirectory: return try sync(&call)
    case .release, .releaseDirectory: return try release(&call)
    case .seek: return try seek(&call)
    case .allocate: return try allocate(&call)
    case .copyRange: return try copyRange(&call)
    case .getLock, .setLock, .setLockAndWait: return try lock(&call)
    case .openDirectory: return try openDirectory(call)
    case .readDirectory, .readDirectoryPlus: return try readDirectory(&call)
    case .getAttribute, .listAttributes: return try attribute(&call)
    case .setAttribute, .removeAttribute: return try changeAttribute(&call)
    default: throw .noSuchCall
    }
  }

  func node(_ number: UInt64) throws(LinuxError) -> HostNode {
    try table.withLock { table throws(LinuxError) in try table.node(number) }
  }

  func file(_ number: UInt64) throws(LinuxError) -> HostOpenFile {
    try table.withLock { table throws(LinuxError) in try table.file(number) }
  }

  /// An answer without a body.
  var done: [UInt8] { [UInt8](repeating: 0, count: FUSELayout.answerHeader) }

  func writer(_ count: Int) -> WireWriter {
    WireWriter(after: FUSELayout.answerHeader, expecting: count)
  }
}
