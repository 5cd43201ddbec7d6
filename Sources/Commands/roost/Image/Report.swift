import ArgumentParser
import FoundationEssentials

/// In which form a command prints what it has found out.
enum ReportFormat: String, ExpressibleByArgument, CaseIterable { case text, json }

struct ReportOptions: ParsableArguments {
  @Option(help: ArgumentHelp("How to print: text or json.", valueName: "format"))
  var format = ReportFormat.text

  func print(_ report: some Encodable, text: () -> String) throws {
    switch format {
    case .text: Swift.print(text())
    case .json:
      let encoder = JSONEncoder()
      encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
      Swift.print(String(decoding: try encoder.encode(report), as: UTF8.self))
    }
  }
}

/// Lines of two columns.
func table(_ rows: [(String, String)]) -> String {
  let width = rows.map(\.0.count).max() ?? 0
  return rows.map { $0.0.padded(to: width + 2) + $0.1 }
    .joined(separator: "\n")
}
