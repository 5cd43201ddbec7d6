/// Firmware that a processor runs from its reset vector: read-only memory that ends at 4 GiB, its
/// last 128 KiB visible once more below 1 MiB, where real mode can reach it.
package struct ROMImage: Sendable, Equatable {
  /// The whole image.
  package let bytes: [UInt8]

  /// Where the image is mapped: up to 4 GiB, 16 bytes below which the processor starts
  /// (Intel SDM Vol. 3A §10.1.4 "First Instruction Executed").
  package var address: UInt64 { 0x1_0000_0000 - UInt64(bytes.count) }

  /// The end of the image that is repeated below 1 MiB.
  package var shadow: ArraySlice<UInt8> { bytes.suffix(Self.shadowLimit) }
  /// Where the shadow is mapped: up to 1 MiB.
  package var shadowAddress: UInt64 { 0x10_0000 - UInt64(shadow.count) }

  private static let shadowLimit = 128 << 10
  private static let pageSize = 4096
  private static let sizeLimit = 16 << 20

  /// The image in a file of whole pages, up to 16 MiB.
  package init(_ bytes: [UInt8]) throws(BootError) {
    guard !bytes.isEmpty else { throw .notAKernel("The ROM image is empty.") }
    guard bytes.count % Self.pageSize == 0 else {
      throw .notAKernel(
        "The ROM image has \(bytes.count) bytes, which is not a multiple of 4096: it is cut short, "
          + "or no ROM image.")
    }
    guard bytes.count <= Self.sizeLimit else {
      throw .notAKernel(
        "The ROM image has \(size(UInt64(bytes.count))); the space below 4 GiB takes 16 MiB.")
    }
    self.bytes = bytes
  }
}

extension BootPlan {
  /// Plans to start the machine from a ROM image, as after power-on.
  package static func rom(_ bytes: [UInt8]) throws(BootError) -> BootPlan {
    let image = try ROMImage(bytes)
    return BootPlan(
      description: "ROM image of \(size(UInt64(bytes.count))), started from its reset vector",
      segments: [], start: .reset(image))
  }
}
