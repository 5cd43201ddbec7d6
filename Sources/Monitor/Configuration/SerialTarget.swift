package import HostOS
package import Streams

/// What stands at the other end of a serial port.
package enum SerialTarget: Sendable, Equatable, CustomStringConvertible {
  /// The terminal the command was started at, or its standard input and output.
  case stdio
  /// A file that takes what the guest sends.
  case file(path: String)
  /// A Unix socket at which one client at a time may connect.
  case unix(path: String)
  case null

  /// Reads `stdio`, `file:PATH`, `unix:PATH` or `null`.
  package init(parsing text: String) throws(ConfigurationError) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    switch (parts[0], parts.count > 1 ? String(parts[1]) : nil) {
    case ("stdio", nil): self = .stdio
    case ("null", nil): self = .null
    case ("file", .some(let path)) where !path.isEmpty: self = .file(path: path)
    case ("unix", .some(let path)) where !path.isEmpty: self = .unix(path: path)
    default:
      throw ConfigurationError(text, "Write stdio, file:PATH, unix:PATH or null.")
    }
  }

  /// As the user writes it.
  package var description: String {
    switch self {
    case .stdio: "stdio"
    case .file(let path): "file:\(path)"
    case .unix(let path): "unix:\(path)"
    case .null: "null"
    }
  }

  /// Opens what was asked for. `obey` hears what a person at the terminal asks of the machine.
  package func open(
    on loop: EventLoop, _ obey: @escaping @Sendable (ConsoleCommand) -> Void
  ) throws(HostError) -> any HostStream {
    switch self {
    case .null: return NullStream()
    case .file(let path): return try FileStream(path: path)
    case .unix(let path): return try SocketStream(path: path, on: loop)
    case .stdio:
      let (input, output) = (Descriptor.standardInput, Descriptor.standardOutput)
      guard input.isTerminal, output.isTerminal else {
        return try PipeStream(input: input, output: output)
      }
      return try TerminalStream(input: input, output: output, obey)
    }
  }
}
