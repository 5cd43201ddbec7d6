import ArgumentParser
import Disks
import Monitor

/// `roost image map`: where an image keeps what.
struct MapCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "map",
    abstract: "Prints where an image stores which part of the disk.",
    discussion: """
      Each part is data, stored in this image; zero; or absent: what lies beneath shows, or zeroes where nothing does.
      """)

  @OptionGroup var image: ImageOptions
  @OptionGroup var report: ReportOptions

  struct Part: Encodable {
    let start: UInt64
    var length: UInt64
    let kind: String
    let compressed: Bool
    /// Where in the file it lies.
    let offset: UInt64?

    init(_ extent: DiskExtent) {
      start = extent.range.lowerBound
      length = extent.range.length
      kind =
        switch extent.kind {
        case .data: "data"
        case .zero: "zero"
        case .absent: "absent"
        }
      compressed = extent.isCompressed
      offset = extent.hostOffset
    }

    /// Takes up the part behind it, if it goes on there.
    mutating func append(_ next: Part) -> Bool {
      guard kind == next.kind, compressed == next.compressed,
        offset.map({ $0 + length }) == next.offset
      else { return false }
      length += next.length
      return true
    }
  }

  func run() throws {
    try Complaint.orEnd {
      var opener = ImageOpener()
      opener.opensBacking = false
      let opened = try image.open(opener)
      let parts = try parts(of: opened)
      try report.print(parts) {
        table(
          parts.map {
            (
              "\($0.start)..<\($0.start + $0.length)",
              $0.kind + ($0.compressed ? ", compressed" : "")
                + ($0.offset.map { " at \($0)" } ?? "")
            )
          })
      }
    }
  }

  private func parts(of opened: any DiskImage) throws -> [Part] {
    var parts: [Part] = []
    var offset: UInt64 = 0
    while offset < opened.size {
      let extent = try Complaint.about(image.file) { () throws(ImageError) in
        do throws(DiskError) { return try opened.extent(at: offset) } catch { throw .disk(error) }
      }
      let part = Part(extent)
      if parts.isEmpty || !parts[parts.count - 1].append(part) { parts.append(part) }
      offset = extent.range.upperBound
    }
    return parts
  }
}
