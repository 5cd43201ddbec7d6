import Foundation
import Monitor

/// A program of the host's that does part of the work.
struct HostTool {
  let path: String

  /// Finds a program in `PATH`, or where system programs lie.
  init(_ name: String, package: String) throws(ConfigurationError) {
    let folders =
      (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":").map(String.init)
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

  /// Runs the program to its end; hands each line of its standard error to `hear`.
  ///
  /// - Returns: its exit status.
  func run(_ arguments: [String], hear: @escaping @Sendable (String) -> Void) throws -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    var environment = ProcessInfo.processInfo.environment
    environment["PATH"] = (environment["PATH"] ?? "") + ":/usr/sbin:/sbin"
    environment["LC_ALL"] = "C"
    environment["DEBIAN_FRONTEND"] = "noninteractive"
    process.environment = environment
    let pipe = Pipe()
    process.standardError = pipe
    process.standardOutput = FileHandle.nullDevice
    process.standardInput = FileHandle.nullDevice
    try process.run()
    var rest = Data()
    while true {
      let part = pipe.fileHandleForReading.availableData
      if part.isEmpty { break }
      rest += part
      while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
        hear(String(decoding: rest[..<end], as: UTF8.self))
        rest = rest[(end + 1)...]
      }
    }
    if !rest.isEmpty { hear(String(decoding: rest, as: UTF8.self)) }
    process.waitUntilExit()
    return process.terminationStatus
  }

  /// Runs the program with a short text as its input.
  ///
  /// - Returns: its standard output.
  func output(_ arguments: [String], input: String) throws -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: path)
    process.arguments = arguments
    let (given, made) = (Pipe(), Pipe())
    process.standardInput = given
    process.standardOutput = made
    process.standardError = FileHandle.nullDevice
    try process.run()
    try given.fileHandleForWriting.write(contentsOf: Data(input.utf8))
    try given.fileHandleForWriting.close()
    let output = made.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: output, as: UTF8.self)
  }
}
