/// Feature bits: what a device offers and a driver accepts. Those below 24, and from 50 on, are each device's own.
///
/// - SeeAlso: VIRTIO 1.3 §2.2 "Feature Bits", §6 "Reserved Feature Bits".
package struct VirtioFeatures: OptionSet, Sendable, Hashable, Codable {
  package let rawValue: UInt64
  package init(rawValue: UInt64) { self.rawValue = rawValue }

  /// A feature by its number.
  package init(bit: Int) { rawValue = 1 << UInt64(bit) }

  /// Legacy only: buffers may be cut anywhere. §6.3 "Legacy Interface: Reserved Feature Bits".
  package static let anyLayout = Self(bit: 27)
  package static let indirectDescriptors = Self(bit: 28)
  package static let eventIndex = Self(bit: 29)
  package static let version1 = Self(bit: 32)
  /// Addresses are the platform's, through an IOMMU if there is one.
  package static let accessPlatform = Self(bit: 33)
  package static let ringPacked = Self(bit: 34)
  package static let inOrder = Self(bit: 35)
  package static let ringReset = Self(bit: 40)

  /// What every device offers for its queues. Not order of return: it holds back what is done early.
  package static let rings: Self = [
    indirectDescriptors, eventIndex, version1, ringPacked, ringReset,
  ]
}

/// The device status field: how far a driver has got.
///
/// - SeeAlso: VIRTIO 1.3 §2.1 "Device Status Field".
package struct VirtioStatus: OptionSet, Sendable, Hashable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }

  package static let acknowledge = Self(rawValue: 1)
  package static let driver = Self(rawValue: 2)
  package static let driverOK = Self(rawValue: 4)
  package static let featuresOK = Self(rawValue: 8)
  package static let deviceNeedsReset = Self(rawValue: 64)
  package static let failed = Self(rawValue: 128)
  /// What a driver sets.
  static let ofDriver: Self = [acknowledge, driver, driverOK, featuresOK, failed]
  static let all: Self = ofDriver.union(deviceNeedsReset)
}
