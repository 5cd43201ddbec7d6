package import Board
package import Inspection
package import Shares
package import Work

/// The virtio file system device: a directory of the host's, in the messages of FUSE.
///
/// Queue 0 is for messages that must not wait behind others, the rest are for requests; the device serves all alike. It
/// has no notifications and no shared memory region: files are not mapped.
///
/// - SeeAlso: VIRTIO 1.3 §5.11 "File System Device".
package final class VirtioFileSystem {
  // Wiring: fixed for the life of the device.
  package let profile: VirtioProfile
  package let share: any ShareService
  package let flight: LoopBound<ShareFlight>
  private let tag: [UInt8]
  private let requestQueues: Int

  /// Bytes of the field that holds the tag.
  package static let longestTag = 36

  /// - Parameters:
  ///   - tag: the name by which the guest mounts it: 1 to 36 bytes of UTF-8.
  ///   - share: one that speaks FUSE, and answers on `loop`.
  package init(
    tag: String, share: any ShareService, requestQueues: Int = 1, queueSize: UInt16 = 128,
    loop: any Loop
  ) {
    self.tag = Array(tag.utf8)
    precondition(
      (1...Self.longestTag).contains(self.tag.count), "a file system's tag has 1 to 36 bytes")
    precondition(requestQueues > 0, "a file system device has a queue for requests")
    self.share = share
    self.requestQueues = requestQueues
    flight = LoopBound(ShareFlight(), on: loop)
    profile = VirtioProfile(
      deviceID: .fileSystem, queueSizes: .init(repeating: queueSize, count: 1 + requestQueues),
      configurationSize: Self.longestTag + 4)
  }
}

extension VirtioFileSystem: ShareDevice {
  package static let schema = "virtio-file-system/1"

  /// §5.11.4 "Device configuration layout".
  package func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64 {
    var fields = ConfigurationFields()
    fields.append(bytes: tag + [UInt8](repeating: 0, count: Self.longestTag - tag.count))
    fields.append(UInt32(clamping: requestQueues))
    return fields.read(offset, width)
  }

  package func inspect(_ node: inout Node) {
    node.field("tag", String(decoding: tag, as: UTF8.self))
    node.field("requestQueues", requestQueues)
  }
}
