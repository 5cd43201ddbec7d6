/// The kinds of virtio device, by number.
///
/// - SeeAlso: VIRTIO 1.3 §5 "Device Types".
package struct VirtioDeviceID: RawRepresentable, Sendable, Hashable {
  package let rawValue: UInt16
  package init(rawValue: UInt16) { self.rawValue = rawValue }

  package static let network = VirtioDeviceID(rawValue: 1)
  package static let block = VirtioDeviceID(rawValue: 2)
  package static let console = VirtioDeviceID(rawValue: 3)
  package static let entropy = VirtioDeviceID(rawValue: 4)
  package static let balloon = VirtioDeviceID(rawValue: 5)
  package static let nineP = VirtioDeviceID(rawValue: 9)
  package static let socket = VirtioDeviceID(rawValue: 19)
  package static let fileSystem = VirtioDeviceID(rawValue: 26)
  package static let persistentMemory = VirtioDeviceID(rawValue: 27)
}
