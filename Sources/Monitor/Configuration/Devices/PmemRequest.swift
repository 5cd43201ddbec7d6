/// A file of the host's that the guest has as persistent memory.
package struct PmemRequest: Sendable, Codable, Equatable {
  package enum Overlay: String, Sendable, Codable, CaseIterable { case memory }

  package var path: String
  package var isReadOnly: Bool
  /// Where the guest's writes go instead of the file.
  package var overlay: Overlay?
  /// Bytes: the file's, when the machine was made; `nil`: it has not been opened.
  package var size: UInt64?

  /// What its size is a multiple of: Linux takes memory in sections of that much.
  package static let granularity: UInt64 = 2 << 20

  /// Reads `path=FILE[,readonly=on][,overlay=memory]`.
  package init(parsing text: String) throws(ConfigurationError) {
    var values = try KeyValues(parsing: text)
    path = try values.require("path", "data.raw")
    isReadOnly = try values.takeSwitch("readonly") ?? false
    overlay = try values.takeCase("overlay", Overlay.self)
    try values.end(known: "path=, readonly= and overlay=")
    guard overlay == nil || !isReadOnly else {
      throw ConfigurationError(
        text, "Memory with an overlay can be written to: leave out readonly=on.")
    }
  }
}
