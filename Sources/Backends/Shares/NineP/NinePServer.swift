package import HostOS
import Synchronization

/// Serves a directory of the host in 9P2000.L, as a virtio 9P device carries it.
///
/// Other versions of 9P are answered with `unknown`. There is no authentication: whoever has the device is the client.
///
/// - SeeAlso: diod `protocol.md`; VIRTIO 1.3 §5 "Device Types", 9P transport.
package final class NinePServer: Share {
  let tree: SharedTree
  let table: Mutex<NinePTable>
  let requests = Mutex(NinePRequests())

  package init(_ plan: SharePlan) throws(HostError) {
    tree = try SharedTree(plan)
    table = Mutex(NinePTable(limit: plan.limit))
  }

  package func answer(_ request: [UInt8], room: Int) -> [UInt8] {
    guard var call = NinePCall(request, room: room), room >= NinePLayout.errorAnswer else {
      return []
    }
    let tag = call.tag
    let isFlush = call.type == .flush
    if !isFlush { requests.withLock { $0.begin(tag) } }
    defer {
      if !isFlush {
        for event in requests.withLock({ $0.end(tag) }) { event.signal() }
      }
    }
    var answer: [UInt8]
    var type = call.type.rawValue &+ 1
    do throws(LinuxError) {
      answer = try perform(&call)
      if answer.count > room { throw .inputOutput }
    } catch {
      var failure = writer(4)
      failure.number(error.rawValue)
      answer = failure.bytes
      type = NinePType.errorAnswer.rawValue
    }
    answer.set(UInt32(truncatingIfNeeded: answer.count), at: 0)
    answer.set(type, at: 4)
    answer.set(call.tag, at: 5)
    return answer
  }

  package func reset() { begin(longestMessage: 0) }

  /// Begins a session; 0: there is none.
  func begin(longestMessage: Int) {
    var new = NinePTable(limit: tree.plan.limit)
    new.longestMessage = longestMessage
    let old = table.withLock { table in
      defer { table = new }
      return table
    }
    _ = consume old  // Its descriptors are closed here, and not under the lock.
  }

  /// The answer with its header's place in front.
  private func perform(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    guard call.isWhole else { throw .invalid }
    if call.type == .version { return try version(&call) }
    let longest = table.withLock { $0.longestMessage }
    guard longest > 0 else { throw .protocolError }
    guard call.size <= longest else { throw .invalid }
    call.room = min(call.room, longest - NinePLayout.header)
    guard call.room >= call.type.answerSize else { throw .invalid }
    switch call.type {
    case .attach: return try attach(&call)
    case .flush: return try flush(&call)
    case .walk: return try walk(&call)
    case .clunk: return try clunk(&call)
    case .getAttributes: return try attributes(&call)
    case .setAttributes: return try setAttributes(&call)
    case .fileSystem: return try fileSystem(&call)
    case .open: return try open(&call)
    case .create: return try create(&call)
    case .read: return try read(&call)
    case .write: return try write(&call)
    case .sync: return try sync(&call)
    case .lock: return try lock(&call)
    case .getLock: return try getLock(&call)
    case .readDirectory: return try readDirectory(&call)
    case .readLink: return try readLink(&call)
    case .makeDirectory, .makeNode, .symbolicLink: return try make(&call)
    case .link: return try link(&call)
    case .renameAt: return try renameAt(&call)
    case .rename: return try rename(&call)
    case .unlinkAt: return try unlinkAt(&call)
    case .remove: return try remove(&call)
    case .walkToAttribute: return try walkToAttribute(&call)
    case .createAttribute: return try createAttribute(&call)
    default: throw .notSupported
    }
  }

  func fid(_ number: UInt32) throws(LinuxError) -> Fid {
    try table.withLock { table throws(LinuxError) in try table.fid(number) }
  }

  /// The file or directory that the next fid in the body stands for.
  func node(_ call: inout NinePCall) throws(LinuxError) -> HostNode {
    try fid(try call.fid()).found()
  }

  /// An answer without a body.
  var done: [UInt8] { [UInt8](repeating: 0, count: NinePLayout.header) }

  func writer(_ count: Int) -> WireWriter {
    WireWriter(after: NinePLayout.header, expecting: count)
  }
}
