import Glibc
import HostOS
import Networks
import Work

/// The host's side of a tap interface: what the host's kernel sends and receives there, frames of one type.
///
/// - SeeAlso: packet(7).
final class PacketSocket: NetworkPort, @unchecked Sendable {
  // The test attaches before frames flow.
  private let socket: Descriptor
  private let loop: EventLoop
  private var source: HandleSource?
  private var user: (any NetworkPortUser)?

  /// `nil`: this process may not have one.
  init?(interface: String, type: UInt16, on loop: EventLoop) throws {
    let kind = Int32(SOCK_RAW.rawValue | SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue)
    let handle = Glibc.socket(AF_PACKET, kind, Int32(type.bigEndian))
    guard handle >= 0 else { return nil }
    socket = Descriptor(owning: handle)
    self.loop = loop
    var address = [UInt8](repeating: 0, count: 20)  // struct sockaddr_ll
    let index = Int32(if_nametoindex(interface))
    address.withUnsafeMutableBytes {
      $0.storeBytes(of: UInt16(AF_PACKET), toByteOffset: 0, as: UInt16.self)
      $0.storeBytes(of: type.bigEndian, toByteOffset: 2, as: UInt16.self)
      $0.storeBytes(of: index, toByteOffset: 4, as: Int32.self)
    }
    let bound = address.withUnsafeBytes {
      bind(handle, $0.assumingMemoryBound(to: sockaddr.self).baseAddress!, 20)
    }
    guard bound == 0 else { return nil }
  }

  var maximumTransmissionUnit: Int { 1500 }
  var offloads: Offloads { [] }
  func accept(_ offloads: Offloads) {}

  func attach(_ user: any NetworkPortUser) {
    self.user = user
    source = try? loop.watch(socket.handle, for: .readable) { [weak self] _ in
      self?.user?.portReady(.mayReceive)
    }
  }

  func send(_ frames: [Frame]) -> Int {
    for (index, frame) in frames.enumerated() {
      let result = frame.bytes.withUnsafeBytes {
        Glibc.send(socket.handle, $0.baseAddress, $0.count, 0)
      }
      // A full queue of the tap interface refuses frames: they go a moment later.
      if result < 0, errno == ENOBUFS || errno == EAGAIN {
        loop.post { self.user?.portReady(.maySend) }
        return index
      }
    }
    return frames.count
  }

  func receive(upTo count: Int) -> [Frame] {
    var frames: [Frame] = []
    while frames.count < count, let bytes = try? socket.read(upTo: 70_000) {
      frames.append(Frame(Array(bytes)))
    }
    return frames
  }
}

/// Brings an interface up. Answers whether that worked.
func bringUp(_ interface: String) -> Bool {
  let handle = Glibc.socket(AF_INET, Int32(SOCK_DGRAM.rawValue), 0)
  guard handle >= 0 else { return false }
  defer { close(handle) }
  var request = Array(interface.utf8)  // struct ifreq
  request += [UInt8](repeating: 0, count: 40 - request.count)
  guard request.withUnsafeMutableBytes({ ioctl(handle, 0x8913, $0.baseAddress!) }) == 0 else {
    return false
  }
  request[16] |= 1
  return request.withUnsafeMutableBytes { ioctl(handle, 0x8914, $0.baseAddress!) } == 0
}
