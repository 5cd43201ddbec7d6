import HostOS
import Synchronization

// The client's session, as another process can take it up. Locks are not part of it.

extension NinePServer {
  private static let form = Array("roost 9p 1".utf8)

  package func save() throws(ShareError) -> [UInt8] {
    let table = table.withLock { $0 }
    var saved = WireWriter()
    saved.countedString(NinePServer.form)
    saved.place(tree.place(of: tree.root))
    saved.number(UInt32(table.longestMessage))
    saved.number(UInt32(truncatingIfNeeded: table.fids.count))
    for (number, fid) in table.fids.sorted(by: { $0.key < $1.key }) {
      saved.number(number)
      saved.number(fid.user ?? NinePLayout.none)
      saved.optionalPlace(fid.node.map(tree.place))
      save(fid.state, to: &saved)
    }
    return saved.bytes
  }

  private func save(_ state: Fid.State, to saved: inout WireWriter) {
    switch state {
    case .closed: saved.number(UInt8(0))
    case .stale: saved.number(UInt8(1))
    case .file(let file):
      saved.number(UInt8(2))
      saved.number(file.options.rawValue)
    case .directory: saved.number(UInt8(3))
    case .attribute(let value):
      saved.number(UInt8(4))
      saved.number(UInt32(value.count))
      saved.raw(value)
    case .newAttribute(let new):
      saved.number(UInt8(5))
      saved.countedString(new.name.bytes)
      saved.number(UInt8(truncatingIfNeeded: new.rule.rawValue))
      saved.number(UInt32(new.size))
      saved.number(UInt32(new.value.count))
      saved.raw(new.value)
    }
  }

  package func restore(_ saved: [UInt8]) throws(ShareError) {
    let new: NinePTable
    do throws(LinuxError) {
      var reader = WireReader(saved)
      new = try decode(&reader)
      guard reader.count == 0 else { throw .invalid }
    } catch {
      throw .damaged("the files that a guest knows of a share are not as they were saved")
    }
    table.withLock { $0 = new }
  }

  private func decode(_ reader: inout WireReader) throws(LinuxError) -> NinePTable {
    guard try reader.countedString().elementsEqual(NinePServer.form) else { throw .invalid }
    let home = try reader.place().identity
    var table = NinePTable(limit: tree.plan.limit)
    let longest = Int(try reader.number(UInt32.self))
    guard longest <= 1 << 20 else { throw .invalid }
    table.longestMessage = longest
    for _ in 0..<(try reader.number(UInt32.self)) {
      let number = try reader.number(UInt32.self)
      let user = try reader.number(UInt32.self)
      let found = try reader.optionalPlace().flatMap { tree.find($0, home: home) }
      var fid = Fid(node: found?.node, user: user == NinePLayout.none ? nil : user)
      fid.place = found?.parent.map { ($0.node, $0.name) }
      fid.state = try state(&reader, of: found?.node)
      do throws(LinuxError) {
        try table.insert(fid, as: number)
      } catch {
        // More than may be held is stale: the guest sees that, and it goes by.
        guard error == .tableFull else { throw error }
        try table.insert(Fid(node: nil, user: fid.user, state: .stale), as: number)
      }
    }
    return table
  }

  private func state(_ reader: inout WireReader, of node: HostNode?) throws(LinuxError)
    -> Fid.State
  {
    switch try reader.number(UInt8.self) {
    case 0: return .closed
    case 1: return .stale
    case 2:
      let options = HostOpenOptions(rawValue: try reader.number()).subtracting(.truncate)
      guard let node, let file = try? node.open(options) else { return .stale }
      return .file(file)
    case 3:
      guard let node, let listing = try? node.list() else { return .stale }
      return .directory(listing)
    case 4:
      return .attribute(Array(try reader.take(Int(try reader.number(UInt32.self)))))
    case 5:
      guard
        let name = HostText(
          try reader.countedString(), longest: HostText.longestAttributeName),
        let rule = HostNode.AttributeRule(rawValue: Int32(try reader.number(UInt8.self)))
      else { throw .invalid }
      let size = Int(try reader.number(UInt32.self))
      let value = Array(try reader.take(Int(try reader.number(UInt32.self))))
      guard size <= HostNode.longestAttribute, value.count <= size else { throw .invalid }
      return .newAttribute(Fid.NewAttribute(name: name, rule: rule, size: size, value: value))
    default: throw .invalid
    }
  }
}
