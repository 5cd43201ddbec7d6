import Arch

/// A socket device (VIRTIO 1.3 §5.10): a port is called at which nobody listens, and the call is refused.
final class SocketUse: DeviceUse {
  let name: StaticString = "socket"
  let features: UInt64 = 1
  let requestQueue = 1
  private let page = Pool.pages()

  var header: UInt64 { page }
  var data: UInt64 { page + 0x40 }
  var input: UInt64 { page + 0x800 }
  static var headerLength: UInt32 { 44 }

  enum Operation {
    static var request: UInt16 { 1 }
    static var reset: UInt16 { 3 }
    static var data: UInt16 { 5 }
  }

  /// A stream's packet to the host (§5.10.6).
  func prepare(_ operation: UInt16, from guest: UInt64 = 3, to host: UInt64 = 2, length: UInt32 = 0)
  {
    store64(header, guest)
    store64(header + 8, host)
    store32(header + 16, 1024)
    store32(header + 20, 9)
    store32(header + 24, length)
    store16(header + 28, 1)
    store16(header + 30, operation)
    store32(header + 32, 0)
    store32(header + 36, 4096)
    store32(header + 40, 0)
  }

  func request() -> Chain {
    prepare(Operation.request)
    var chain = Chain(for: 1)
    chain.read(header, 30)
    chain.read(header + 30, Self.headerLength - 30)
    return chain
  }

  func fault(with driver: VirtioDriver) -> StaticString? {
    var room = Chain(for: 0)
    room.write(input, 2048)
    driver.offer(room)
    guard driver.complete(request()) != nil else { return "a call is not taken" }
    guard driver.wait(0) == Self.headerLength else { return "a call is not answered" }
    return load16(input + 30) == Operation.reset ? nil : "a call is answered wrong"
  }
}
