import ArgumentParser
import Disks
import HostOS
import Monitor

/// `roost image check`: whether a qcow2 image is whole.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Checks a qcow2 image that nobody uses, and repairs it if asked to.",
    discussion: """
      Exit codes:
        0   the image is whole, or is so now
        2   data are at risk: clusters used and not counted, entries that point nowhere
        4   storage is lost: clusters counted and not used; nothing else is wrong
        64  the image, or the command line, is no good
        74  the check could not come to its end
      """)

  enum Repair: String, ExpressibleByArgument, CaseIterable { case leaks, all }

  @OptionGroup var image: ImageOptions
  @OptionGroup var report: ReportOptions

  @Option(
    help: "What to repair: leaks, storage that is lost; or all, at the risk of losing data.")
  var repair: Repair?

  struct Findings: Encodable {
    let file: String
    let corruptions, leaks, checkErrors: UInt64
    let corruptionsFixed, leaksFixed: UInt64
    let totalClusters, allocatedClusters, compressedClusters, fragmentedClusters: UInt64
    let imageEnd: UInt64
    let findings: [String]
  }

  func run() throws {
    try Complaint.orEnd {
      guard image.imageFormat != .raw else {
        throw ConfigurationError(image.file, "A raw image has nothing that could be checked.")
      }
      let result = try Complaint.about(image.file) { () throws(ImageError) in
        let (file, _) = try ImageOpener(format: .qcow2, writable: repair != nil)
          .openFile(image.file)
        return try QCOW2Image.check(HostImageFile(file), repair: mode)
      }
      try report.print(Findings(image.file, result)) { Self.text(result) }
      if let code = Self.exitCode(result) { throw code }
    }
  }

  private var mode: QCOW2Repair {
    switch repair {
    case nil: .none
    case .leaks: .leaks
    case .all: .all
    }
  }

  private static func exitCode(_ result: QCOW2CheckReport) -> ExitCode? {
    if result.checkErrors > 0 { return ExitCode(Ending.Failure.host.rawValue) }
    if result.corruptions > 0 { return ExitCode(2) }
    return result.leaks > 0 ? ExitCode(4) : nil
  }

  private static func text(_ result: QCOW2CheckReport) -> String {
    var lines = result.findings
    if result.corruptionsFixed + result.leaksFixed > 0 {
      lines.append(
        "Repaired: \(result.corruptionsFixed) places at risk, \(result.leaksFixed) lost clusters.")
    }
    lines.append(
      result.isClean
        ? "The image is whole."
        : "Found \(result.corruptions) places at risk, \(result.leaks) lost clusters and \(result.checkErrors) that "
          + "could not be looked at.")
    lines.append(
      "\(result.allocatedClusters) of \(result.totalClusters) clusters are stored, \(result.compressedClusters) "
        + "compressed, \(result.fragmentedClusters) out of order.")
    return lines.joined(separator: "\n")
  }
}

extension CheckCommand.Findings {
  fileprivate init(_ file: String, _ report: QCOW2CheckReport) {
    self.init(
      file: file, corruptions: report.corruptions, leaks: report.leaks,
      checkErrors: report.checkErrors, corruptionsFixed: report.corruptionsFixed,
      leaksFixed: report.leaksFixed, totalClusters: report.totalClusters,
      allocatedClusters: report.allocatedClusters, compressedClusters: report.compressedClusters,
      fragmentedClusters: report.fragmentedClusters, imageEnd: report.imageEnd,
      findings: report.findings)
  }
}
