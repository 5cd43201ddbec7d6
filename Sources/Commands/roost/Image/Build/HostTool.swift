import FoundationEssentials
import HostOS
import Monitor

/// A program of the host's that does part of the work.
struct HostTool {
  let path: String

  /// Finds a program in `PATH`, or where system programs lie.
  init(_ name: String, package: String) throws(ConfigurationError) {
    let folders =
      (Self.environment["PATH"] ?? "").split(separator: ":").map(String.init)
      + ["/usr/sbin", "/sbin"]
    guard
      let path = folders.lazy.map({ "\($0)/\(name)" }).first(where: {
        FileManager.default.isExecutableFile(atPath: $0)
      })
    else {
      throw ConfigurationError(
        "roost image build", "The program \(name) is missing: run 'apt-get install \(package)'.")
    }
    self.path = path
  }

  private static var environment: [String: String] { ProcessInfo.processInfo.environment }

  /// Runs the program to its end; hands each line of its standard error to `hear`.
  ///
  /// - Returns: its exit status.
  func run(_ arguments: [String], hear: (String) -> Void) throws -> Int32 {
    var environment = Self.environment
    environment["PATH"] = (environment["PATH"] ?? "") + ":/usr/sbin:/sbin"
    environment["LC_ALL"] = "C"
    environment["DEBIAN_FRONTEND"] = "noninteractive"
    let process = try ChildProcess(path, arguments, environment: environment, reading: .errors)
    try process.lines(hear)
    return process.wait()
  }

  /// Runs the program with a short text as its input.
  ///
  /// - Returns: its standard output.
  func output(_ arguments: [String], input: String) throws -> String {
    let process = try ChildProcess(
      path, arguments, environment: Self.environment, input: Array(input.utf8), reading: .output)
    var lines: [String] = []
    try process.lines { lines.append($0) }
    _ = process.wait()
    return lines.joined(separator: "\n")
  }
}
