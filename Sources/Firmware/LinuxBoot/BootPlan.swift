/// How to start a guest: what to put into its memory, and in which state its first processor begins.
///
/// A plan is a value, made once from files that are not trusted and applied as often as the guest
/// is reset. Its segments are disjoint and lie in the RAM that the request described.
package struct BootPlan: Sendable {
  /// What was recognised, for the log: `Linux 6.1.0 bzImage, boot protocol 2.15, 64-bit entry`.
  package let description: String
  /// What to write into RAM.
  package let segments: [Segment]
  /// How the first processor starts.
  package let start: Start

  /// A run of guest RAM: bytes, then zeroes.
  package struct Segment: Sendable {
    /// What it is: `kernel`, `initrd`, `boot parameters`.
    package let name: String
    /// The guest-physical address of the first byte.
    package let address: UInt64
    /// The bytes to write there.
    package let bytes: ArraySlice<UInt8>
    /// The number of zeroes to write after them.
    package let zeroFill: UInt64

    /// The addresses it occupies. Plans hold only segments for which this does not overflow.
    package var range: Range<UInt64> { address..<address + UInt64(bytes.count) + zeroFill }
  }

  /// How the first processor starts.
  package enum Start: Sendable {
    /// In this state.
    case entry(EntryState)
    /// From its reset vector, in this ROM.
    case reset(ROMImage)
  }
}

extension BootPlan {
  /// The largest file that a compressed kernel may unpack to.
  package static let unpackedLimit = 1 << 30

  /// Plans the boot of whatever kernel the request holds.
  package init(_ request: BootRequest) throws(BootError) {
    if let initrd = request.initrd, initrd.isEmpty {
      throw .badRequest("The initrd is empty; leave it out if none is wanted.")
    }
    try self.init(request, image: KernelImage(file: request.kernel))
  }

  private init(_ request: BootRequest, image: KernelImage) throws(BootError) {
    switch (image, request.bootProtocol ?? image.preferredProtocol) {
    case (.bzImage(let kernel), .linux64): self = try kernel.plan(request, in: .long64)
    case (.bzImage(let kernel), .linux32): self = try kernel.plan(request, in: .protected32)
    case (.elf(let kernel), .linux64): self = try kernel.planLinux64(request)
    case (.elf(let kernel), .pvh): self = try kernel.planPVH(request)
    case (.elf(let kernel), .multiboot): self = try kernel.planMultiboot(request)
    case (.multiboot(let header), .multiboot): self = try header.plan(request, elf: nil)
    case (_, let other):
      throw .badRequest(
        "The kernel is \(image.name), which cannot be started by the \(other.rawValue) protocol; "
          + "leave the choice to Roost.")
    }
  }
}
