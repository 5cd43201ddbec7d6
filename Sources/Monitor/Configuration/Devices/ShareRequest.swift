/// A folder of the host's that the guest may mount.
package struct ShareRequest: Sendable, Codable, Equatable {
  package enum Transport: String, Sendable, Codable, CaseIterable {
    case virtiofs
    case nineP = "9p"
  }

  package var path: String
  /// The name by which the guest mounts it.
  package var tag: String
  package var transport: Transport
  package var isReadOnly: Bool
  /// `nil` in machines saved before it could be chosen: bus 0.
  package var bus: DeviceBus?

  /// Reads `path=FOLDER,tag=NAME[,type=virtiofs|9p][,readonly=on][,bus=…]`.
  package init(parsing text: String) throws(ConfigurationError) {
    var values = try KeyValues(parsing: text)
    path = try values.require("path", "/srv/data")
    tag = try values.require("tag", "data")
    transport = try values.takeCase("type", Transport.self) ?? .virtiofs
    isReadOnly = try values.takeSwitch("readonly") ?? false
    bus = try values.takeBus()
    try values.end(known: "path=, tag=, type=, readonly= and bus=")
    // VIRTIO 1.3 §5.11.4: a file system's tag has 36 bytes.
    guard tag.utf8.count <= 36 else {
      throw ConfigurationError(text, "The tag is too long: take at most 36 bytes.")
    }
  }
}
