import HostOS
import Synchronization

// What nodes are: look-up, attributes, extended attributes, the file system.

extension FUSEServer {
  func lookUp(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let name = try call.name()
    let finding = try tree.lookUp(name, in: try node(call.node))
    var answer = writer(FUSELayout.entry)
    try entry(finding, in: &answer)
    return answer.bytes
  }

  func attributes(_ call: FUSECall) throws(LinuxError) -> [UInt8] {
    attributesAnswer(try tree.attributes(of: try node(call.node)))
  }

  func setAttributes(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let (change, handle) = try call.body.attributeChange()
    let node = try node(call.node)
    var file: HostOpenFile?
    if let handle { file = try self.file(handle) }
    try tree.change(node, file, change)
    return attributesAnswer(try tree.attributes(of: node))
  }

  /// `struct fuse_access_in`
  func access(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let mask = try call.body.number(UInt32.self)
    let node = try node(call.node)
    try onHost(try node.checkAccess(Int32(mask & 7)))
    return done
  }

  func readLink(_ call: FUSECall) throws(LinuxError) -> [UInt8] {
    let node = try node(call.node)
    var answer = writer(0)
    answer.raw(try onHost(try node.readLink()))
    return answer.bytes
  }

  /// `struct fuse_kstatfs`
  func fileSystem(_ call: FUSECall) throws(LinuxError) -> [UInt8] {
    let node = try node(call.node)
    let system = try onHost(try node.fileSystem())
    var answer = writer(80)
    answer.number(system.blocks)
    answer.number(system.freeBlocks)
    answer.number(system.availableBlocks)
    answer.number(system.files)
    answer.number(system.freeFiles)
    answer.number(UInt32(truncatingIfNeeded: system.blockSize))
    answer.number(UInt32(truncatingIfNeeded: system.nameLength))
    answer.number(UInt32(truncatingIfNeeded: system.fragmentSize))
    answer.zeroes(28)
    return answer.bytes
  }
}

// MARK: - Extended attributes

extension FUSEServer {
  /// `struct fuse_getxattr_in`: with a size of 0 the guest asks for the size.
  func attribute(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let room = Int(try call.body.number(UInt32.self))
    try call.body.skip(4)
    let node = try node(call.node)
    let value: [UInt8]
    if call.opcode == .getAttribute {
      let name = try tree.attributeName(try call.body.terminatedString())
      value = try onHost(try node.attribute(name))
    } else {
      value = try tree.attributeNames(of: node)
    }
    var answer = writer(room == 0 ? 8 : value.count)
    if room == 0 {
      answer.number(UInt32(truncatingIfNeeded: value.count))
      answer.zeroes(4)
    } else {
      guard value.count <= min(room, call.room) else { throw .outOfRange }
      answer.raw(value)
    }
    return answer.bytes
  }

  /// `struct fuse_setxattr_in`, in its short form.
  func changeAttribute(_ call: inout FUSECall) throws(LinuxError) -> [UInt8] {
    let node = try node(call.node)
    if call.opcode == .removeAttribute {
      let name = try tree.attributeName(try call.body.terminatedString())
      try onHost(try node.removeAttribute(name))
    } else {
      let size = Int(try call.body.number(UInt32.self))
      let flags = try call.body.number(UInt32.self)
      let name = try tree.attributeName(try call.body.terminatedString())
      guard let rule = HostNode.AttributeRule(rawValue: Int32(truncatingIfNeeded: flags)) else {
        throw .invalid
      }
      let value = try call.body.take(size)
      try onHost(try node.setAttribute(name, to: value, rule))
    }
    return done
  }
}

// MARK: - The forms of nodes on the wire

extension FUSEServer {
  /// `struct fuse_entry_out`: the guest is told of a node, which it must forget again.
  func entry(_ finding: HostFinding, in answer: inout WireWriter) throws(LinuxError) {
    let node = finding.node
    let number = try table.withLock { table throws(LinuxError) in try table.adopt(node) }
    writeEntry(number, finding.attributes, to: &answer)
  }

  func writeEntry(_ number: UInt64, _ attributes: HostAttributes, to answer: inout WireWriter) {
    answer.number(number)
    answer.number(UInt64(0))  // The generation: numbers are never used twice.
    answer.number(trustSeconds)
    answer.number(trustSeconds)
    answer.number(trustNanoseconds)
    answer.number(trustNanoseconds)
    write(attributes, to: &answer)
  }

  /// `struct fuse_attr_out`
  private func attributesAnswer(_ attributes: HostAttributes) -> [UInt8] {
    var answer = writer(FUSELayout.attributesAnswer)
    answer.number(trustSeconds)
    answer.number(trustNanoseconds)
    answer.zeroes(4)
    write(attributes, to: &answer)
    return answer.bytes
  }

  private var trustSeconds: UInt64 { UInt64(tree.plan.trustMilliseconds / 1000) }
  private var trustNanoseconds: UInt32 { tree.plan.trustMilliseconds % 1000 * 1_000_000 }

  /// `struct fuse_attr`
  private func write(_ attributes: HostAttributes, to answer: inout WireWriter) {
    answer.number(tree.numbers.number(of: attributes.identity))
    answer.number(attributes.size)
    answer.number(attributes.blocks)
    answer.number(attributes.accessed.seconds)
    answer.number(attributes.modified.seconds)
    answer.number(attributes.changed.seconds)
    answer.number(attributes.accessed.nanoseconds)
    answer.number(attributes.modified.nanoseconds)
    answer.number(attributes.changed.nanoseconds)
    answer.number(attributes.mode)
    answer.number(attributes.links)
    answer.number(attributes.user)
    answer.number(attributes.group)
    answer.number(attributes.specialNumber)
    answer.number(attributes.blockSize)
    answer.zeroes(4)
  }
}

extension WireReader {
  /// `struct fuse_setattr_in`, and the handle through which the guest changes it, if it says one.
  fileprivate mutating func attributeChange() throws(LinuxError) -> (AttributeChange, UInt64?) {
    let valid = try number(UInt32.self)
    try skip(4)
    let handle = try number(UInt64.self)
    let size = try number(UInt64.self)
    try skip(8)
    let accessed = Int64(bitPattern: try number(UInt64.self))
    let modified = Int64(bitPattern: try number(UInt64.self))
    try skip(8)
    let accessedPart = try number(UInt32.self)
    let modifiedPart = try number(UInt32.self)
    try skip(4)
    let mode = try number(UInt32.self)
    try skip(4)
    let user = try number(UInt32.self)
    let group = try number(UInt32.self)
    try skip(4)
    func has(_ bit: Int) -> Bool { valid >> UInt32(bit) & 1 != 0 }
    var change = AttributeChange()
    if has(0) { change.mode = mode }
    if has(1) { change.user = user }
    if has(2) { change.group = group }
    if has(3) { change.size = size }
    if has(4) { change.accessed = .set(HostTime(seconds: accessed, nanoseconds: accessedPart)) }
    if has(5) { change.modified = .set(HostTime(seconds: modified, nanoseconds: modifiedPart)) }
    if has(7) { change.accessed = .now }
    if has(8) { change.modified = .now }
    return (change, has(6) ? handle : nil)
  }
}
