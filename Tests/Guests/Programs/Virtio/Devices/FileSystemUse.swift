import Arch

/// A share that speaks FUSE (VIRTIO 1.3 §5.11; Linux `include/uapi/linux/fuse.h`): a session is begun.
final class FileSystemUse: DeviceUse {
  let name: StaticString = "file-system"
  let features: UInt64 = 0
  let requestQueue = 1
  private let page = Pool.pages()
  private var unique: UInt64 = 0

  var message: UInt64 { page }
  var answer: UInt64 { page + 0x800 }

  enum Operation {
    static var lookup: UInt32 { 1 }
    static var forget: UInt32 { 2 }
    static var getAttributes: UInt32 { 3 }
    static var read: UInt32 { 15 }
    static var write: UInt32 { 16 }
    static var initialize: UInt32 { 26 }
    static var batchForget: UInt32 { 42 }
  }

  /// `fuse_in_header`: 40 bytes, of the root node.
  func prepare(_ operation: UInt32, size: UInt32) {
    unique += 1
    for offset in UInt64(0)..<16 { store64(message + 8 * offset, 0) }
    store32(message, size)
    store32(message + 4, operation)
    store64(message + 8, unique)
    store64(message + 16, 1)
    store64(answer + 8, 0)
  }

  func request() -> Chain {
    prepare(Operation.initialize, size: 56)
    store32(message + 40, 7)
    store32(message + 44, 31)
    store32(message + 48, 0)
    var chain = Chain(for: 1)
    chain.read(message, 40)
    chain.read(message + 40, 16)
    chain.write(answer, 80)
    return chain
  }

  func fault(with driver: VirtioDriver) -> StaticString? {
    guard driver.complete(request()) != nil else { return "no answer comes" }
    guard load64(answer + 8) == unique, load32(answer + 4) == 0, load32(answer + 16) == 7 else {
      return "no session begins"
    }
    return nil
  }
}
