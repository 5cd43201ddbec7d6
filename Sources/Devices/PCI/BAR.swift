package import Board

/// A base address register: how much address space to claim, and who answers there.
///
/// - SeeAlso: PCI 3.0 §6.2.5.1 "Address Maps".
package struct BAR: Sendable {
  package enum Space: Sendable, Equatable {
    case ports
    case memory(prefetchable: Bool)
    /// Two registers, an address of 64 bits.
    case memory64(prefetchable: Bool)
  }

  /// A part of the space that one device answers in. Between blocks nothing answers.
  package struct Block: Sendable {
    /// From the start of the BAR.
    package let range: Range<UInt64>
    package let device: any IODevice
    /// The number that the device knows this block of registers by.
    package let region: UInt8

    package init(at range: Range<UInt64>, device: any IODevice, region: UInt8 = 0) {
      self.range = range
      self.device = device
      self.region = region
    }
  }

  package let space: Space
  package let size: UInt64
  package let blocks: [Block]

  /// - Parameters:
  ///   - size: a power of two; at least 4 ports, or 16 bytes of memory.
  ///   - blocks: inside the BAR, and apart from each other.
  package init(_ space: Space, size: UInt64, blocks: [Block]) {
    let isLargeEnough = size >= (space == .ports ? 4 : 16)
    let isSmallEnough = space == .ports ? size <= 256 : space.is64Bit || size < 1 << 32
    precondition(size & (size &- 1) == 0 && isLargeEnough && isSmallEnough, "no BAR has that size")
    precondition(blocks.allSatisfy { $0.range.upperBound <= size }, "a block is outside its BAR")
    self.space = space
    self.size = size
    self.blocks = blocks
  }

  /// All of it is one device's.
  package init(_ space: Space, size: UInt64, device: any IODevice, region: UInt8 = 0) {
    self.init(space, size: size, blocks: [Block(at: 0..<size, device: device, region: region)])
  }
}

extension BAR.Space {
  /// Which of the two address spaces.
  var isMemory: Bool { self != .ports }

  var is64Bit: Bool {
    if case .memory64 = self { true } else { false }
  }

  var isPrefetchable: Bool {
    switch self {
    case .ports: false
    case .memory(let prefetchable), .memory64(let prefetchable): prefetchable
    }
  }

  /// The low, read-only bits of the register.
  var type: UInt32 {
    switch self {
    case .ports: 0b0001
    case .memory(let prefetchable): prefetchable ? 0b1000 : 0b0000
    case .memory64(let prefetchable): prefetchable ? 0b1100 : 0b0100
    }
  }
}

/// A BAR, and where in its address space it is.
package struct PCIDecode: Sendable {
  package let bar: BAR
  package let range: Range<UInt64>
}
