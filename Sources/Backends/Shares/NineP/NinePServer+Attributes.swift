import HostOS
import Synchronization

// What files are: attributes, extended attributes, the file system.

extension NinePServer {
  /// `P9_GETATTR_BASIC` and the time of birth: what is always answered.
  private static let validAttributes: UInt64 = 0xfff

  func attributes(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let attributes = try tree.attributes(of: try node(&call))
    _ = try call.body.number(UInt64.self)
    var answer = writer(153)
    answer.number(NinePServer.validAttributes)
    answer.qid(attributes, tree.numbers)
    answer.number(attributes.mode)
    answer.number(attributes.user)
    answer.number(attributes.group)
    answer.number(UInt64(attributes.links))
    answer.number(UInt64(attributes.specialNumber))
    answer.number(attributes.size)
    answer.number(UInt64(attributes.blockSize))
    answer.number(attributes.blocks)
    let times = [attributes.accessed, attributes.modified, attributes.changed, attributes.born]
    for time in times {
      answer.number(time.seconds)
      answer.number(UInt64(time.nanoseconds))
    }
    answer.zeroes(16)  // Generation and data version, which no valid bit announces.
    return answer.bytes
  }

  func setAttributes(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let fid = try fid(try call.fid())
    let change = try call.body.attributeChange()
    try tree.change(try fid.found(), fid.file, change)
    return done
  }

  func fileSystem(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let node = try node(&call)
    let system = try onHost(try node.fileSystem())
    var answer = writer(60)
    answer.number(UInt32(truncatingIfNeeded: system.type))
    answer.number(UInt32(truncatingIfNeeded: system.blockSize))
    answer.number(system.blocks)
    answer.number(system.freeBlocks)
    answer.number(system.availableBlocks)
    answer.number(system.files)
    answer.number(system.freeFiles)
    answer.number(system.identity)
    answer.number(UInt32(truncatingIfNeeded: system.nameLength))
    return answer.bytes
  }

  func readLink(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let node = try node(&call)
    var answer = writer(0)
    answer.countedString(try onHost(try node.readLink()))
    return answer.bytes
  }
}

// MARK: - Extended attributes

extension NinePServer {
  /// A new fid from which an attribute's value is read, or, without a name, the list of names.
  func walkToAttribute(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let fid = try fid(try call.fid())
    let newNumber = try call.fid()
    let bytes = try call.body.countedString()
    let node = try fid.found()
    let value: [UInt8]
    if bytes.isEmpty {
      value = try tree.attributeNames(of: node)
    } else {
      let name = try tree.attributeName(bytes)
      value = try onHost(try node.attribute(name))
    }
    let new = Fid(node: node, place: fid.place, user: fid.user, state: .attribute(value))
    try table.withLock { table throws(LinuxError) in try table.insert(new, as: newNumber) }
    var answer = writer(8)
    answer.number(UInt64(value.count))
    return answer.bytes
  }

  /// The fid becomes an attribute that is written next, and set when it is clunked.
  func createAttribute(_ call: inout NinePCall) throws(LinuxError) -> [UInt8] {
    let number = try call.fid()
    let name = try tree.attributeName(try call.body.countedString())
    let size = try call.body.number(UInt64.self)
    let flags = try call.body.number(UInt32.self)
    guard size <= UInt64(HostNode.longestAttribute) else { throw .outOfRange }
    guard let rule = HostNode.AttributeRule(rawValue: Int32(truncatingIfNeeded: flags)) else {
      throw .invalid
    }
    try table.withLock { table throws(LinuxError) in
      var fid = try table.fid(number)
      guard case .closed = fid.state else { throw .badHandle }
      fid.state = .newAttribute(Fid.NewAttribute(name: name, rule: rule, size: Int(size)))
      try table.replace(number, fid)
    }
    return done
  }

  /// - Note: Linux removes an attribute by replacing it with nothing.
  func set(_ new: Fid.NewAttribute, on node: HostNode) throws(LinuxError) {
    guard new.value.count == new.size else { throw .invalid }
    if new.size == 0, new.rule == .exists {
      try onHost(try node.removeAttribute(new.name))
    } else {
      try onHost(try node.setAttribute(new.name, to: new.value[...], new.rule))
    }
  }
}

extension WireReader {
  /// The body of `Tsetattr` behind its fid.
  fileprivate mutating func attributeChange() throws(LinuxError) -> AttributeChange {
    let valid = try number(UInt32.self)
    let mode = try number(UInt32.self)
    let user = try number(UInt32.self)
    let group = try number(UInt32.self)
    let size = try number(UInt64.self)
    let accessed = try time()
    let modified = try time()
    func has(_ bit: Int) -> Bool { valid >> UInt32(bit) & 1 != 0 }
    var change = AttributeChange()
    if has(0) { change.mode = mode }
    if has(1) { change.user = user }
    if has(2) { change.group = group }
    if has(3) { change.size = size }
    if has(4) { change.accessed = has(7) ? .set(accessed) : .now }
    if has(5) { change.modified = has(8) ? .set(modified) : .now }
    return change
  }

  private mutating func time() throws(LinuxError) -> HostTime {
    let seconds = Int64(bitPattern: try number(UInt64.self))
    guard let nanoseconds = UInt32(exactly: try number(UInt64.self)) else { throw .invalid }
    return HostTime(seconds: seconds, nanoseconds: nanoseconds)
  }
}
