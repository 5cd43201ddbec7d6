import CHostOS
import Glibc

extension TAPDevice {
  static func open(_ name: String) throws(HostError) -> Descriptor {
    let operation = "use the tap interface \"\(name)\""
    guard let request = InterfaceRequest(name) else {
      throw HostError(operation, code: ENAMETOOLONG)
    }
    let handle = Glibc.open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)
    guard handle >= 0 else { throw .last("open /dev/net/tun, which tap interfaces need") }
    let descriptor = Descriptor(owning: handle)
    var attach = request
    attach.flags = Flag.tap | Flag.noPacketInformation | Flag.header
    guard attach.ask(handle, Request.setInterface) else { throw .last(operation) }
    return descriptor
  }

  /// Brings an attached handle into the state that `TAPDevice` needs; answers the interface's name.
  static func prepare(_ descriptor: Descriptor) throws(HostError) -> String {
    let operation = "use a handle as a tap interface"
    let handle = descriptor.handle
    var answer = InterfaceRequest()
    guard answer.ask(handle, Request.getInterface) else { throw .last(operation) }
    let name = answer.name
    guard answer.flags & Flag.tap != 0, answer.flags & Flag.noPacketInformation != 0,
      answer.flags & Flag.header != 0
    else {
      // Attached without IFF_TAP, IFF_NO_PI and IFF_VNET_HDR: frames would be misread.
      throw HostError("use \"\(name)\", which is no tap interface with headers", code: EINVAL)
    }
    var size = Int32(MemoryLayout<Header>.size)
    let status = fcntl(handle, F_GETFL)
    guard ioctl(handle, Request.setHeaderSize, &size) == 0,
      ioctl(handle, Request.setOffloads, Int32(0)) == 0,
      status >= 0, fcntl(handle, F_SETFL, status | O_NONBLOCK) >= 0,
      fcntl(handle, F_SETFD, FD_CLOEXEC) >= 0
    else { throw .last("use the tap interface \"\(name)\"") }
    return name
  }

  /// Has the host leave `offloads` unfinished from now on. Answers whether it will.
  package func accept(_ offloads: Offloads) -> Bool {
    ioctl(handle, Request.setOffloads, Int32(offloads.rawValue)) == 0
  }

  /// The interface's maximum transmission unit; `nil` if the host does not tell.
  package var maximumTransmissionUnit: Int? {
    ask(Request.getMTU).map { Int($0.number) }
  }

  /// Whether the interface is up. What is sent to one that is down is lost.
  package var isUp: Bool { ask(Request.getFlags).map { $0.flags & Flag.up != 0 } ?? false }

  private func ask(_ question: UInt) -> InterfaceRequest? {
    // Questions about interfaces go to any socket.
    let handle = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
    guard handle >= 0, var request = InterfaceRequest(name) else { return nil }
    let socket = Descriptor(owning: handle)
    return request.ask(socket.handle, question) ? request : nil
  }

  /// Sends one frame. Answers `false` if there is no room for it now.
  package func send(_ header: Header, _ frame: [UInt8]) throws(HostError) -> Bool {
    var header = header
    let result = withUnsafeMutableBytes(of: &header) { header in
      frame.withUnsafeBytes { frame in
        let bytes = UnsafeMutableRawPointer(mutating: frame.baseAddress)
        var parts = (
          iovec(iov_base: header.baseAddress, iov_len: header.count),
          iovec(iov_base: bytes, iov_len: frame.count)
        )
        return withUnsafeBytes(of: &parts) {
          writev(handle, $0.assumingMemoryBound(to: iovec.self).baseAddress, 2)
        }
      }
    }
    if result >= 0 { return true }
    if errno == EAGAIN || errno == EINTR { return false }
    throw .last("send to the tap interface \"\(name)\"")
  }

  /// Reads one frame into `buffer`; answers its header and how many bytes it has, or `nil` if none has come in.
  package func receive(
    into buffer: inout [UInt8]
  ) throws(HostError) -> (header: Header, count: Int)? {
    var header = Header()
    var result: Int
    repeat {
      result = withUnsafeMutableBytes(of: &header) { header in
        buffer.withUnsafeMutableBytes { buffer in
          var parts = (
            iovec(iov_base: header.baseAddress, iov_len: header.count),
            iovec(iov_base: buffer.baseAddress, iov_len: buffer.count)
          )
          return withUnsafeBytes(of: &parts) {
            readv(handle, $0.assumingMemoryBound(to: iovec.self).baseAddress, 2)
          }
        }
      }
    } while result < 0 && errno == EINTR
    if result < 0 {
      if errno == EAGAIN { return nil }
      throw .last("receive from the tap interface \"\(name)\"")
    }
    return (header, max(0, result - MemoryLayout<Header>.size))
  }
}

/// `linux/if_tun.h` and `linux/sockios.h`, whose macros Swift cannot read.
private enum Request {
  static let setInterface: UInt = 0x4004_54ca  // TUNSETIFF
  static let setOffloads: UInt = 0x4004_54d0  // TUNSETOFFLOAD
  static let getInterface: UInt = 0x8004_54d2  // TUNGETIFF
  static let setHeaderSize: UInt = 0x4004_54d8  // TUNSETVNETHDRSZ
  static let getFlags: UInt = 0x8913  // SIOCGIFFLAGS
  static let getMTU: UInt = 0x8921  // SIOCGIFMTU
}

private enum Flag {
  static let up: UInt16 = 0x0001  // IFF_UP
  static let tap: UInt16 = 0x0002  // IFF_TAP
  static let noPacketInformation: UInt16 = 0x1000  // IFF_NO_PI
  static let header: UInt16 = 0x4000  // IFF_VNET_HDR
}

/// `struct ifreq`: sixteen bytes of name, then a union of 24.
private struct InterfaceRequest {
  private var bytes = [UInt8](repeating: 0, count: 40)
  private static let nameSize = 16

  init() {}

  /// `nil` if the name is longer than an interface's can be.
  init?(_ name: String) {
    let name = Array(name.utf8)
    guard !name.isEmpty, name.count < Self.nameSize, !name.contains(0) else { return nil }
    bytes.replaceSubrange(0..<name.count, with: name)
  }

  var name: String { String(decoding: bytes[..<Self.nameSize].prefix { $0 != 0 }, as: UTF8.self) }

  var flags: UInt16 {
    get { bytes.withUnsafeBytes { $0.load(fromByteOffset: Self.nameSize, as: UInt16.self) } }
    set {
      bytes.withUnsafeMutableBytes {
        $0.storeBytes(of: newValue, toByteOffset: Self.nameSize, as: UInt16.self)
      }
    }
  }

  var number: Int32 {
    bytes.withUnsafeBytes { $0.load(fromByteOffset: Self.nameSize, as: Int32.self) }
  }

  mutating func ask(_ handle: Int32, _ request: UInt) -> Bool {
    bytes.withUnsafeMutableBytes { ioctl(handle, request, $0.baseAddress!) } == 0
  }
}
