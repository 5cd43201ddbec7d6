import HostOS
import Logging

/// What Roost itself says, next to what the guest prints.
enum StandardError {
  /// Writes a text; its lines end in a line feed. Failures are not reported: there is nowhere to.
  static func write(_ text: String) {
    let bytes =
      Terminal.isRaw && Descriptor.standardError.isTerminal
      ? text.utf8.flatMap { $0 == 0x0a ? [0x0d, 0x0a] : [$0] } : Array(text.utf8)
    try? Descriptor.standardError.writeAll(bytes)
  }
}

/// Writes log lines to standard error.
struct StandardErrorLog: LogHandler {
  var logLevel: Logger.Level
  var metadata: Logger.Metadata = [:]

  init(level: Logger.Level) { logLevel = level }

  subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { metadata[key] }
    set { metadata[key] = newValue }
  }

  func log(event: LogEvent) {
    StandardError.write("roost: \(event.level): \(event.message)\n")
  }
}
