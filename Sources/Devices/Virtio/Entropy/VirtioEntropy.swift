import Bits
package import Inspection
import Memory
package import SavedState

/// The virtio entropy device: fills whatever the guest offers with random bytes.
///
/// - SeeAlso: VIRTIO 1.3 §5.4 "Entropy Device".
package final class VirtioEntropy {
  // Wiring: fixed for the life of the device.
  package let profile = VirtioProfile(deviceID: .entropy, queueSizes: [64])
  private let source: any RandomSource

  /// Bytes in one answer; a driver that wants more asks again. §5.4.6.1: it may be less than was offered.
  private static let mostBytes = 4096

  package init(source: any RandomSource) { self.source = source }
}

/// Where random bytes come from. From any thread.
package protocol RandomSource: AnyObject, Sendable {
  func bytes(count: Int) -> [UInt8]
}

/// The host's random numbers.
package final class HostRandomSource: RandomSource {
  package init() {}

  package func bytes(count: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(count)
    while bytes.count < count { bytes.append(littleEndian: UInt64.random(in: 0 ... .max)) }
    return Array(bytes.prefix(count))
  }
}

extension VirtioEntropy: VirtioDevice {
  package static let schema = "virtio-entropy/1"

  package func service(_ queue: VirtQueue) {
    while let chain = queue.pop() {
      guard chain.readable.isEmpty else {
        queue.refuse(chain, "an entropy device reads nothing")
        return
      }
      let wanted = Int(min(chain.writable.byteCount, UInt64(Self.mostBytes)))
      let written = try? queue.dma.write(source.bytes(count: wanted), to: chain.writable)
      queue.complete(chain, written: written ?? 0)
    }
  }

  package func save() -> Stateless { Stateless() }
  package func restore(_ saved: Stateless) throws(RestoreError) {}
  package func inspect(_ node: inout Node) { node.field("mostBytes", Self.mostBytes) }
}
