import HostOS
import Synchronization

// The session, and fids: what they stand for, and that they go.

extension NinePServer {
  private static let dialect = Array("9P2000.L".utf8)
  private static let unknown = Array("unknown".utf8)
  private static let shortestMessage = 4096
  private static let longestMessage = 1 << 20

  /// A session begins: what the client had before is gone.
  func version(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let size = Int(try call.body.number(UInt32.self))
    let isOurs = try call.body.countedString().elementsEqual(NinePServer.dialect)
    guard size >= NinePServer.shortestMessage else { throw .invalid }
    let agreed = min(size, NinePServer.longestMessage)
    begin(longestMessage: isOurs ? agreed : 0)
    var answer = writer(14)
    answer.number(UInt32(agreed))
    answer.countedString(isOurs ? NinePServer.dialect : NinePServer.unknown)
    return answer.bytes
  }

  /// There is one tree: it goes by no name, or by `/`.
  func attach(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let number = try call.fid()
    guard try call.fid() == NinePLayout.none else { throw .notSupported }
    _ = try call.body.countedString()
    let name = try call.body.countedString()
    guard name.isEmpty || name.elementsEqual([UInt8(ascii: "/")]) else { throw .noSuchFile }
    let user = try call.body.number(UInt32.self)
    let fid = Fid(node: tree.root, user: user == NinePLayout.none ? nil : user)
    let attributes = try tree.attributes(of: tree.root)
    try table.withLock { table throws(LinuxError) in try table.insert(fid, as: number) }
    var answer = writer(NinePLayout.qid)
    answer.qid(attributes, tree.numbers)
    return answer.bytes
  }

  func flush(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let tag = try call.body.number(UInt16.self)
    requests.withLock { $0.wait(for: tag) }?.wait()
    return done
  }

  func walk(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let number = try call.fid()
    let newNumber = try call.fid()
    let count = Int(try call.body.number(UInt16.self))
    guard count <= NinePLayout.mostNames, call.room >= 2 + count * NinePLayout.qid else {
      throw .invalid
    }
    var fid = try fid(number)
    if number == newNumber, case .closed = fid.state {
    } else if number == newNumber {
      throw .invalid
    }
    var node = try fid.found()
    var walked: [HostAttributes] = []
    for index in 0..<count {
      do throws(LinuxError) {
        let name = try call.name()
        let finding = try tree.lookUp(name, in: node)
        fid.place = (node, name)
        node = finding.node
        walked.append(finding.attributes)
      } catch {
        // The client is told how far it came; only not even the first step is an error.
        if index == 0 { throw error }
        break
      }
    }
    if walked.count == count {
      fid.node = node
      fid.state = .closed
      try table.withLock { [fid] table throws(LinuxError) in
        if number == newNumber {
          try table.replace(number, fid)
        } else {
          try table.insert(fid, as: newNumber)
        }
      }
    }
    var answer = writer(2 + walked.count * NinePLayout.qid)
    answer.number(UInt16(walked.count))
    for attributes in walked { answer.qid(attributes, tree.numbers) }
    return answer.bytes
  }

  /// The fid is gone, even where the answer is an error.
  func clunk(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let number = try call.fid()
    guard let fid = table.withLock({ $0.remove(number) }) else { throw .badHandle }
    if case .newAttribute(let new) = fid.state { try set(new, on: try fid.found()) }
    return done
  }
}

// MARK: - Qids

extension WireWriter {
  /// `type[1] version[4] path[8]`. The version changes with a file's content, as far as its times and size tell.
  mutating func qid(_ attributes: HostAttributes, _ numbers: FileNumbers) {
    let modified = attributes.modified
    let version =
      UInt64(bitPattern: modified.seconds) &* 1_000_000_007 ^ UInt64(modified.nanoseconds)
      ^ attributes.size << 8
    number(qidType(of: attributes.kind))
    number(UInt32(truncatingIfNeeded: version))
    number(numbers.number(of: attributes.identity))
  }
}

/// - SeeAlso: Linux `include/net/9p/9p.h`, `enum p9_qid_t`.
func qidType(of kind: HostKind) -> UInt8 {
  switch kind {
  case .directory: 0x80
  case .link: 0x02
  case .file, .special: 0
  }
}
