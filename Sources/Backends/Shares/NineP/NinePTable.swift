import HostOS

/// What a fid stands for.
struct Fid {
  /// What it is opened for.
  enum State {
    case closed
    case file(HostOpenFile)
    case directory(HostListing)
    /// An extended attribute's value, or the list of their names, as it was when the fid was walked to it.
    case attribute([UInt8])
    /// An extended attribute that is being written, and set when the fid is clunked.
    case newAttribute(NewAttribute)
    /// Was open, and was not found again after a restore.
    case stale
  }

  struct NewAttribute {
    var name: HostText
    var rule: HostNode.AttributeRule
    var size: Int
    var value: [UInt8] = []
  }

  /// `nil`: it was not found again after a restore.
  var node: HostNode?
  /// By which name in which directory it was reached: for the requests that name a file by its fid alone.
  var place: (parent: HostNode, name: HostName)?
  /// For whom files are made; `nil`: not told.
  var user: UInt32?
  var state = State.closed

  func found() throws(LinuxError) -> HostNode {
    guard let node else { throw .stale }
    return node
  }

  func openFile() throws(LinuxError) -> HostOpenFile {
    switch state {
    case .file(let file): return file
    case .stale: throw .stale
    default: throw .badHandle
    }
  }

  /// The file, if it is open.
  var file: HostOpenFile? { if case .file(let file) = state { file } else { nil } }

  /// How many bytes of attributes it keeps, or may come to keep.
  var attributeBytes: Int {
    switch state {
    case .attribute(let value): value.count
    case .newAttribute(let new): new.size
    default: 0
    }
  }

  /// How many descriptors it holds: the file's, its directory's and that of the open file.
  var descriptors: Int {
    var count = (node == nil ? 0 : 1) + (place == nil ? 0 : 1)
    switch state {
    case .file, .directory: count += 1
    default: break
    }
    return count
  }
}

/// A 9P client's session: what was agreed on, its fids, and which of its requests are being answered.
struct NinePTable {
  /// The most bytes of extended attributes that fids keep, all together.
  static let mostAttributeBytes = 4 << 20

  let limit: Int
  /// The longest message either way; 0 before there is a session.
  var longestMessage = 0
  private(set) var fids: [UInt32: Fid] = [:]
  private var descriptors = 0
  private var attributeBytes = 0

  init(limit: Int) { self.limit = limit }

  func fid(_ number: UInt32) throws(LinuxError) -> Fid {
    guard let fid = fids[number] else { throw .badHandle }
    return fid
  }

  mutating func insert(_ fid: Fid, as number: UInt32) throws(LinuxError) {
    guard number != NinePLayout.none, fids[number] == nil else { throw .badHandle }
    try put(fid, at: number)
  }

  /// Gives a fid another meaning; only one that it has not lost meanwhile.
  mutating func replace(_ number: UInt32, _ fid: Fid) throws(LinuxError) {
    guard let old = fids.removeValue(forKey: number) else { throw .badHandle }
    uncount(old)
    do throws(LinuxError) {
      try put(fid, at: number)
    } catch {
      // The old one had room.
      try put(old, at: number)
      throw error
    }
  }

  private mutating func put(_ fid: Fid, at number: UInt32) throws(LinuxError) {
    guard descriptors + fid.descriptors <= limit else { throw .tableFull }
    guard attributeBytes + fid.attributeBytes <= NinePTable.mostAttributeBytes else {
      throw .noMemory
    }
    descriptors += fid.descriptors
    attributeBytes += fid.attributeBytes
    fids[number] = fid
  }

  mutating func remove(_ number: UInt32) -> Fid? {
    guard let fid = fids.removeValue(forKey: number) else { return nil }
    uncount(fid)
    return fid
  }

  private mutating func uncount(_ fid: Fid) {
    descriptors -= fid.descriptors
    attributeBytes -= fid.attributeBytes
  }

  /// Adds to an attribute that is being written.
  mutating func write(_ bytes: ArraySlice<UInt8>, at offset: UInt64, to number: UInt32)
    throws(LinuxError)
  {
    guard case .newAttribute(var new) = fids[number]?.state else { throw .badHandle }
    guard offset == UInt64(new.value.count), bytes.count <= new.size - new.value.count else {
      throw .outOfRange
    }
    new.value += bytes
    fids[number]?.state = .newAttribute(new)
  }
}
