/// A tap interface: an Ethernet card of the host whose cable ends in this process.
///
/// Non-blocking. Every frame has a `Header` before it, which says what of the frame is unfinished.
///
/// - SeeAlso: Linux `Documentation/networking/tuntap.rst`.
package final class TAPDevice: Sendable {
  /// The interface's name, as the host shows it.
  package let name: String
  let descriptor: Descriptor
  package var handle: Int32 { descriptor.handle }

  /// Attaches to the interface `name`, which is made if it does not exist and the caller may do so.
  package convenience init(name: String) throws(HostError) {
    try self.init(Self.open(name))
  }

  /// Takes over a handle that somebody with more rights has attached to an interface.
  package convenience init(owning handle: Int32) throws(HostError) {
    try self.init(Descriptor(owning: handle))
  }

  private init(_ descriptor: Descriptor) throws(HostError) {
    self.descriptor = descriptor
    name = try Self.prepare(descriptor)
  }

  /// What the host may leave unfinished in the frames it sends us.
  package struct Offloads: OptionSet, Sendable {
    package let rawValue: Int32
    package init(rawValue: Int32) { self.rawValue = rawValue }
    package static let checksum = Offloads(rawValue: 1)
    package static let segmentTCPv4 = Offloads(rawValue: 2)
    package static let segmentTCPv6 = Offloads(rawValue: 4)
  }

  /// What stands before every frame: `struct virtio_net_hdr_v1`, in the host's byte order.
  ///
  /// - SeeAlso: VIRTIO 1.3 §5.1.6 "Device Operation".
  package struct Header: Sendable, BitwiseCopyable {
    package var flags: UInt8 = 0
    package var segmentation: UInt8 = 0
    package var headerLength: UInt16 = 0
    package var segmentSize: UInt16 = 0
    package var checksumStart: UInt16 = 0
    package var checksumOffset: UInt16 = 0
    package var bufferCount: UInt16 = 0

    package init() {}

    package static let needsChecksum: UInt8 = 1
    package static let isChecked: UInt8 = 2
    package static let tcpV4: UInt8 = 1
    package static let tcpV6: UInt8 = 4
    /// Beside the kind of segmentation: the frame carries explicit congestion notification.
    package static let congestion: UInt8 = 0x80
  }
}
