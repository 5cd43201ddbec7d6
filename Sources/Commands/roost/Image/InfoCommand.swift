import ArgumentParser
import Disks
import HostOS
import Monitor

/// `roost image info`: what an image says of itself.
struct InfoCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "info",
    abstract: "Prints what an image is, also of one in use. Its backing file is not opened.")

  @OptionGroup var image: ImageOptions
  @OptionGroup var report: ReportOptions

  struct Information: Encodable {
    let file: String
    let format: String
    /// Bytes of the disk, and of the storage that the file takes.
    let size: UInt64
    let storage: UInt64
    var qcow2: QCOW2Information?
  }

  struct QCOW2Information: Encodable {
    let version: Int
    let clusterSize: Int
    let refcountBits: Int
    let lazyRefcounts: Bool
    let extendedL2: Bool
    let compression: String
    let dirty: Bool
    let corrupt: Bool
    let backing: String?
    let backingFormat: String?
    let snapshots: [SnapshotInformation]
  }

  func run() throws {
    try Complaint.orEnd {
      let information = try Complaint.about(image.file) { () throws(ImageError) in
        try look()
      }
      try report.print(information) { Self.text(information) }
    }
  }

  private func look() throws(ImageError) -> Information {
    var opener = ImageOpener(format: image.said, sharing: .unguarded)
    opener.opensBacking = false
    let (file, format) = try opener.openFile(image.file)
    let storage: UInt64
    do throws(HostError) { storage = try file.storage() } catch { throw ImageError(error) }
    let opened = try opener.open(file, as: format)
    let qcow2 = opened as? QCOW2Image
    return Information(
      file: image.file, format: format.rawValue, size: opened.size, storage: storage,
      qcow2: try qcow2.map { (image) throws(ImageError) in QCOW2Information(try image.info) })
  }

  private static func text(_ information: Information) -> String {
    var rows = [
      ("file", information.file), ("format", information.format),
      ("size", "\(MemorySize(bytes: information.size)) (\(information.size) bytes)"),
      ("storage", "\(MemorySize(bytes: information.storage))"),
    ]
    guard let qcow2 = information.qcow2 else { return table(rows) }
    rows += [
      ("version", "\(qcow2.version)"),
      ("cluster size", "\(MemorySize(bytes: UInt64(qcow2.clusterSize)))"),
      ("reference counts", "\(qcow2.refcountBits) bits\(qcow2.lazyRefcounts ? ", lazy" : "")"),
      ("subclusters", qcow2.extendedL2 ? "yes" : "no"), ("compression", qcow2.compression),
    ]
    if let backing = qcow2.backing {
      rows.append(("backing file", "\(backing) (\(qcow2.backingFormat ?? "format not said"))"))
    }
    if qcow2.dirty { rows.append(("state", "not closed; it is repaired when it is written")) }
    if qcow2.corrupt { rows.append(("state", "corrupt; a check with --repair all may help")) }
    let snapshots = qcow2.snapshots.map { "\($0.id) \"\($0.name)\"" }.joined(separator: ", ")
    if !snapshots.isEmpty { rows.append(("snapshots", snapshots)) }
    return table(rows)
  }
}

extension InfoCommand.QCOW2Information {
  fileprivate init(_ info: QCOW2Info) {
    self.init(
      version: info.version, clusterSize: info.clusterSize, refcountBits: info.refcountBits,
      lazyRefcounts: info.hasLazyRefcounts, extendedL2: info.hasExtendedEntries,
      compression: info.compression == .zstd ? "zstd" : "zlib", dirty: info.isDirty,
      corrupt: info.isCorrupt, backing: info.backingName, backingFormat: info.backingFormat,
      snapshots: info.snapshots.map(SnapshotInformation.init))
  }
}
