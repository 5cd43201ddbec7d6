import Arch

/// A source of random numbers (VIRTIO 1.3 §5.4).
final class EntropyUse: DeviceUse {
  let name: StaticString = "entropy"
  let features: UInt64 = 0
  let requestQueue = 0
  private let page = Pool.pages()

  var data: UInt64 { page }

  func request() -> Chain {
    store64(page, 0)
    store64(page + 8, 0)
    var chain = Chain(for: 0)
    chain.write(page, 8)
    chain.write(page + 8, 8)
    return chain
  }

  func fault(with driver: VirtioDriver) -> StaticString? {
    guard let written = driver.complete(request()) else { return "no entropy comes" }
    guard written == 16, load64(page) != 0, load64(page + 8) != 0 else {
      return "entropy is not as long as it should be"
    }
    return nil
  }
}
