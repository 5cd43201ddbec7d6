import Bits

/// The header of every packet, either way.
///
/// - SeeAlso: VIRTIO 1.3 §5.10.6 "Device Operation", struct virtio_vsock_hdr.
struct SocketHeader: Equatable {
  var source: SocketAddress
  var destination: SocketAddress
  /// Bytes that follow.
  var count: UInt32 = 0
  var type = SocketType.stream
  var operation: SocketOperation
  var flags: UInt32 = 0
  /// Room that the sender has for one connection, and how many bytes have left that room: a running count.
  var allocation: UInt32 = 0
  var forwarded: UInt32 = 0

  static let size = 44

  init(from source: SocketAddress, to destination: SocketAddress, _ operation: SocketOperation) {
    self.source = source
    self.destination = destination
    self.operation = operation
  }

  /// `nil` if it is not as long as a header.
  init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.size,
      let sourceCID = bytes.integer(UInt64.self, littleEndianAt: 0),
      let destinationCID = bytes.integer(UInt64.self, littleEndianAt: 8),
      let sourcePort = bytes.integer(UInt32.self, littleEndianAt: 16),
      let destinationPort = bytes.integer(UInt32.self, littleEndianAt: 20),
      let count = bytes.integer(UInt32.self, littleEndianAt: 24),
      let type = bytes.integer(UInt16.self, littleEndianAt: 28),
      let operation = bytes.integer(UInt16.self, littleEndianAt: 30),
      let flags = bytes.integer(UInt32.self, littleEndianAt: 32),
      let allocation = bytes.integer(UInt32.self, littleEndianAt: 36),
      let forwarded = bytes.integer(UInt32.self, littleEndianAt: 40)
    else { return nil }
    source = SocketAddress(cid: sourceCID, port: sourcePort)
    destination = SocketAddress(cid: destinationCID, port: destinationPort)
    self.count = count
    self.type = SocketType(rawValue: type)
    self.operation = SocketOperation(rawValue: operation)
    self.flags = flags
    self.allocation = allocation
    self.forwarded = forwarded
  }

  var bytes: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.size)
    bytes.append(littleEndian: source.cid)
    bytes.append(littleEndian: destination.cid)
    bytes.append(littleEndian: source.port)
    bytes.append(littleEndian: destination.port)
    bytes.append(littleEndian: count)
    bytes.append(littleEndian: type.rawValue)
    bytes.append(littleEndian: operation.rawValue)
    bytes.append(littleEndian: flags)
    bytes.append(littleEndian: allocation)
    bytes.append(littleEndian: forwarded)
    return bytes
  }
}

/// §5.10.6.1 "Addressing".
struct SocketAddress: Hashable {
  var cid: UInt64
  var port: UInt32

  /// The well-known context ID of the host.
  static let hostCID: UInt64 = 2
}

/// VIRTIO_VSOCK_TYPE_*.
struct SocketType: RawRepresentable, Equatable {
  let rawValue: UInt16
  static let stream = SocketType(rawValue: 1)
}

/// VIRTIO_VSOCK_OP_*.
struct SocketOperation: RawRepresentable, Equatable {
  let rawValue: UInt16
  static let request = SocketOperation(rawValue: 1)
  static let response = SocketOperation(rawValue: 2)
  static let reset = SocketOperation(rawValue: 3)
  static let shutdown = SocketOperation(rawValue: 4)
  static let data = SocketOperation(rawValue: 5)
  static let creditUpdate = SocketOperation(rawValue: 6)
  static let creditRequest = SocketOperation(rawValue: 7)
}

/// Flags of a shutdown: VIRTIO_VSOCK_SHUTDOWN_F_*.
struct SocketShutdown: OptionSet {
  let rawValue: UInt32
  /// The sender takes no more.
  static let receive = SocketShutdown(rawValue: 1 << 0)
  /// The sender sends no more.
  static let send = SocketShutdown(rawValue: 1 << 1)
}
