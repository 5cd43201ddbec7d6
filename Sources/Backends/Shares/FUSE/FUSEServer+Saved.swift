import HostOS
import Synchronization

// The client's nodes and open files, as another process can find them again. Locks are not among them.

extension FUSEServer {
  private static let form = Array("roost fuse 1".utf8)

  package func save() throws(ShareError) -> [UInt8] {
    let table = table.withLock { $0 }
    var saved = WireWriter()
    saved.countedString(FUSEServer.form)
    saved.place(tree.place(of: tree.root))
    saved.number(UInt8(table.isInitialised ? 1 : 0))
    saved.number(table.nextNode)
    saved.number(table.nextHandle)
    saved.number(UInt32(truncatingIfNeeded: table.nodes.count))
    for (number, entry) in table.nodes.sorted(by: { $0.key < $1.key }) {
      saved.number(number)
      saved.number(entry.lookups)
      saved.optionalPlace(entry.node.map(tree.place))
    }
    saved.number(UInt32(truncatingIfNeeded: table.handles.count))
    for (number, handle) in table.handles.sorted(by: { $0.key < $1.key }) {
      saved.number(number)
      switch handle {
      case .stale: saved.number(UInt8(0))
      case .file(let file, let node):
        saved.number(UInt8(1))
        saved.number(node)
        saved.number(file.options.rawValue)
      case .directory(_, let node):
        saved.number(UInt8(2))
        saved.number(node)
      }
    }
    return saved.bytes
  }

  package func restore(_ saved: [UInt8]) throws(ShareError) {
    let new: FUSETable
    do throws(LinuxError) {
      var reader = WireReader(saved)
      new = try decode(&reader)
      guard reader.count == 0 else { throw .invalid }
    } catch {
      throw .damaged("the files that a guest knows of a share are not as they were saved")
    }
    table.withLock { $0 = new }
  }

  private func decode(_ reader: inout WireReader) throws(LinuxError) -> FUSETable {
    guard try reader.countedString().elementsEqual(FUSEServer.form) else { throw .invalid }
    let home = try reader.place().identity
    var table = FUSETable(root: tree.root, limit: tree.plan.limit)
    table.isInitialised = try reader.number(UInt8.self) != 0
    table.nextNode = try reader.number()
    table.nextHandle = try reader.number()
    for _ in 0..<(try reader.number(UInt32.self)) {
      let number = try reader.number(UInt64.self)
      let lookups = try reader.number(UInt64.self)
      let place = try reader.optionalPlace()
      guard number < table.nextNode else { throw .invalid }
      if number == FUSETable.rootNumber { continue }
      // More than may be held is stale: the guest sees that, and it goes by.
      let node = table.isFull ? nil : place.flatMap { tree.find($0, home: home)?.node }
      table.insert(number, FUSETable.Node(node: node, lookups: lookups))
    }
    for _ in 0..<(try reader.number(UInt32.self)) {
      let number = try reader.number(UInt64.self)
      guard number < table.nextHandle else { throw .invalid }
      table.handles[number] = try handle(&reader, in: table)
    }
    return table
  }

  private func handle(_ reader: inout WireReader, in table: FUSETable) throws(LinuxError)
    -> FUSETable.Handle
  {
    switch try reader.number(UInt8.self) {
    case 0: return .stale
    case 1:
      let number = try reader.number(UInt64.self)
      let options = HostOpenOptions(rawValue: try reader.number()).subtracting(.truncate)
      guard let node = table.nodes[number]?.node, let file = try? node.open(options) else {
        return .stale
      }
      return .file(file, node: number)
    case 2:
      let number = try reader.number(UInt64.self)
      guard let node = table.nodes[number]?.node, let listing = try? node.list() else {
        return .stale
      }
      return .directory(listing, node: number)
    default: throw .invalid
    }
  }
}
