import Arch

/// A share that speaks 9P2000.L (Linux `Documentation/filesystems/9p.rst`): it is asked which version it speaks.
final class NinePUse: DeviceUse {
  let name: StaticString = "9p"
  let features: UInt64 = 1
  let requestQueue = 0
  private let page = Pool.pages()

  var message: UInt64 { page }
  var answer: UInt64 { page + 0x800 }

  enum MessageType {
    static var version: UInt8 { 100 }
    static var attach: UInt8 { 104 }
    static var walk: UInt8 { 110 }
    static var read: UInt8 { 116 }
    static var write: UInt8 { 118 }
    static var clunk: UInt8 { 120 }
  }

  /// Size, type, tag.
  func prepare(_ type: UInt8, size: UInt32) {
    store32(message, size)
    store8(message + 4, type)
    store16(message + 5, 0xffff)
    store32(answer, 0)
  }

  func request() -> Chain {
    prepare(MessageType.version, size: 21)
    store32(message + 7, 8192)
    // "9P2000.L", and its length before.
    store16(message + 11, 8)
    store64(message + 13, 0x4c2e_3030_3032_5039)
    var chain = Chain(for: 0)
    chain.read(message, 21)
    chain.write(answer, 256)
    return chain
  }

  func fault(with driver: VirtioDriver) -> StaticString? {
    guard driver.complete(request()) != nil else { return "no answer comes" }
    guard load8(answer + 4) == MessageType.version + 1, load64(answer + 13) == load64(message + 13)
    else { return "it does not tell its version" }
    return nil
  }
}
