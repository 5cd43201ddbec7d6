import ArgumentParser
import Disks

/// `roost image compare`: whether two images show the same disk.
struct CompareCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "compare",
    abstract: "Compares the disks in two images of any format.",
    discussion: """
      What one disk has more than the other may be zeroes, unless --strict is said. Exit codes: 0, they are the same; \
      2, they differ; 64 and 74 if they could not be compared.
      """)

  @Argument(help: "One image.") var first: String
  @Argument(help: "The other.") var second: String

  @Option(help: ArgumentHelp("What the first is: raw or qcow2.", valueName: "format"))
  var firstFormat: ImageFormat?

  @Option(help: ArgumentHelp("What the second is: raw or qcow2.", valueName: "format"))
  var secondFormat: ImageFormat?

  @Flag(help: "Disks of different sizes are different.") var strict = false

  @OptionGroup var report: ReportOptions

  struct Answer: Encodable {
    let identical: Bool
    /// The first byte that differs.
    let differsAt: UInt64?
  }

  func run() throws {
    try Complaint.orEnd {
      let images = try [
        (first, firstFormat, "--first-format "), (second, secondFormat, "--second-format "),
      ].map { path, format, option in
        try Complaint.about(path) { () throws(ImageError) in
          var opener = ImageOpener(format: ImageFormat.said(format, path))
          opener.formatOption = option
          return try opener.open(path)
        }
      }
      try Interruption.watched {
        var comparison = ImageComparison()
        comparison.isStrict = strict
        let progress = ProgressBar("Compared")
        defer { progress.clear() }
        let outcome = try comparison.run(images[0], images[1]) {
          progress.report($0.done, of: $0.total)
        }
        progress.clear()
        switch outcome {
        case .ended: return false
        case .identical:
          try report.print(Answer(identical: true, differsAt: nil)) { "The disks are the same." }
        case .differs(let place):
          try report.print(Answer(identical: false, differsAt: place)) {
            "The disks differ, from byte \(place) on."
          }
          throw ExitCode(2)
        case .sizesDiffer:
          try report.print(Answer(identical: false, differsAt: nil)) {
            "The disks are of different sizes: \(images[0].size) and \(images[1].size) bytes."
          }
          throw ExitCode(2)
        }
        return true
      }
    }
  }
}
