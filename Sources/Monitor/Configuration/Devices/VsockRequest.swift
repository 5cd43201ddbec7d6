/// A socket device: connections between the guest and processes of the host that need no network.
package struct VsockRequest: Sendable, Codable, Equatable {
  /// The guest's address.
  package var cid: UInt32
  /// The Unix socket at which the host's processes call the guest; calls of the guest go to this path, an underscore
  /// and the port's number.
  package var socket: String
  /// `nil` in machines saved before it could be chosen: bus 0.
  package var bus: DeviceBus?

  /// Reads `cid=NUMBER,socket=PATH[,bus=…]`.
  package init(parsing text: String) throws(ConfigurationError) {
    var values = try KeyValues(parsing: text)
    // VIRTIO 1.3 §5.10.4: 0, 1, 2 and the last are reserved.
    cid = try values.takeNumber("cid", 3...UInt32.max - 1) ?? 3
    socket = try values.require("socket", "vsock.sock")
    bus = try values.takeBus()
    try values.end(known: "cid=, socket= and bus=")
  }
}
