import ArgumentParser
import Disks
import FoundationEssentials
import Monitor

/// `roost image snapshots`: the states of a disk that its image keeps.
struct SnapshotsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "snapshots",
    abstract: "Lists the snapshots in a qcow2 image.",
    discussion: "One is read with: roost image convert --snapshot NAME.")

  @OptionGroup var image: ImageOptions
  @OptionGroup var report: ReportOptions

  func run() throws {
    try Complaint.orEnd {
      let opened = try image.openQCOW2(backing: false)
      let snapshots = try Complaint.about(image.file) { () throws(ImageError) in
        try opened.snapshots().map(SnapshotInformation.init)
      }
      try report.print(snapshots) {
        snapshots.isEmpty
          ? "The image has no snapshots."
          : snapshots.map {
            let size = $0.size.map { "\(MemorySize(bytes: $0))" } ?? "size not said"
            return "\($0.id)  \($0.time)  \(size)  \($0.name)"
          }.joined(separator: "\n")
      }
    }
  }
}

struct SnapshotInformation: Encodable {
  let id: String
  let name: String
  /// ISO 8601, in UTC.
  let time: String
  let size: UInt64?
  /// Bytes of the machine's state that QEMU stored with it.
  let stateSize: UInt64

  init(_ snapshot: QCOW2Snapshot) {
    id = snapshot.id
    name = snapshot.name
    time = Date(timeIntervalSince1970: TimeInterval(snapshot.time)).formatted(.iso8601)
    size = snapshot.size
    stateSize = snapshot.stateSize
  }
}
