import Arch

/// A network card (VIRTIO 1.3 §5.1) whose network has a router at 10.0.2.2.
final class NetworkUse: DeviceUse {
  let name: StaticString = "network"
  /// MAC address, and the queue of commands.
  let features: UInt64 = 1 << 5 | 1 << 17 | 1 << 18
  let requestQueue = 1
  private let page = Pool.pages()

  static var headerLength: UInt32 { 12 }
  var header: UInt64 { page }
  var frame: UInt64 { page + 0x40 }
  var command: UInt64 { page + 0x400 }
  var answer: UInt64 { page + 0x7f8 }
  var input: UInt64 { page + 0x800 }
  private var inputRoom: UInt32 { 2048 }

  func clearHeader() {
    store64(header, 0)
    store32(header + 8, 0)
  }

  /// Asks who is the router: RFC 826.
  func request() -> Chain {
    clearHeader()
    for index in UInt64(0)..<6 { store8(frame + index, 0xff) }
    putAddress(frame + 6)
    // Ethernet, version 4, addresses of 6 and 4 bytes, a request; numbers are big-endian.
    store64(frame + 12, 0x0406_0008_0100_0608)
    store16(frame + 20, 0x0100)
    putAddress(frame + 22)
    store32(frame + 28, 0x0f02_000a)
    store32(frame + 32, 0)
    store16(frame + 36, 0)
    store32(frame + 38, 0x0202_000a)
    var chain = Chain(for: 1)
    chain.read(header, Self.headerLength)
    chain.read(frame, 42)
    return chain
  }

  private func putAddress(_ place: UInt64) {
    store32(place, 0x1200_5452)
    store16(place + 4, 0x5634)
  }

  private func inputBuffer() -> Chain {
    var chain = Chain(for: 0)
    chain.write(input, inputRoom)
    return chain
  }

  func fault(with driver: VirtioDriver) -> StaticString? {
    driver.offer(inputBuffer())
    guard driver.complete(request()) != nil else { return "a frame is not taken" }
    // The router may say other things before.
    for _ in 0..<64 {
      guard let count = driver.wait(0) else { return "the router does not answer" }
      guard count <= inputRoom else { return "more came in than there was room for" }
      let answer = input + UInt64(Self.headerLength)
      if count >= 54, load16(answer + 12) == 0x0608, load16(answer + 20) == 0x0200,
        load32(answer + 28) == 0x0202_000a
      {
        return nil
      }
      driver.offer(inputBuffer())
    }
    return "the router answers other things"
  }
}
