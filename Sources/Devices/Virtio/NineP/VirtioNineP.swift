package import Board
package import Inspection
package import Shares
package import Work

/// The virtio 9P device: a directory of the host's, in the messages of 9P.
///
/// - SeeAlso: VIRTIO 1.3 §5 "Device Types" has its number; its one feature and its configuration are in Linux
///   `include/uapi/linux/virtio_9p.h`.
package final class VirtioNineP {
  // Wiring: fixed for the life of the device.
  package let profile: VirtioProfile
  package let share: any ShareService
  package let flight: LoopBound<ShareFlight>
  private let tag: [UInt8]

  package static let longestTag = 255

  /// - Parameters:
  ///   - tag: the name by which the guest mounts it: 1 to 255 bytes of UTF-8.
  ///   - share: one that speaks 9P, and answers on `loop`.
  package init(tag: String, share: any ShareService, queueSize: UInt16 = 128, loop: any Loop) {
    self.tag = Array(tag.utf8)
    precondition(
      (1...Self.longestTag).contains(self.tag.count), "a 9P device's tag has 1 to 255 bytes")
    self.share = share
    flight = LoopBound(ShareFlight(), on: loop)
    profile = VirtioProfile(
      deviceID: .nineP, features: .mountTag, queueSizes: [queueSize],
      configurationSize: 2 + self.tag.count)
  }
}

extension VirtioNineP: ShareDevice {
  package static let schema = "virtio-9p/1"

  /// `struct virtio_9p_config`.
  package func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64 {
    var fields = ConfigurationFields()
    fields.append(UInt16(tag.count))
    fields.append(bytes: tag)
    return fields.read(offset, width)
  }

  package func inspect(_ node: inout Node) {
    node.field("tag", String(decoding: tag, as: UTF8.self))
  }
}

extension VirtioFeatures {
  /// VIRTIO_9P_MOUNT_TAG: the configuration has a tag.
  static let mountTag = Self(bit: 0)
}
