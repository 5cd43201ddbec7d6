import Arch

/// A balloon (VIRTIO 1.3 §5.5), into which one and the same page goes.
final class BalloonUse: DeviceUse {
  let name: StaticString = "balloon"
  let features: UInt64 = 0
  let requestQueue = 0
  private let page = Pool.pages()
  /// The page that the guest does without.
  let spare = Pool.pages()

  var numbers: UInt64 { page }

  func request() -> Chain { request(on: 0) }

  private func request(on queue: Int) -> Chain {
    store32(numbers, UInt32(truncatingIfNeeded: spare >> 12))
    store32(numbers + 4, UInt32(truncatingIfNeeded: spare >> 12))
    var chain = Chain(for: queue)
    chain.read(numbers, 4)
    chain.read(numbers + 4, 4)
    return chain
  }

  func fault(with driver: VirtioDriver) -> StaticString? {
    guard driver.complete(request(on: 0)) != nil else { return "a page is not taken" }
    guard driver.complete(request(on: 1)) != nil else { return "a page is not given back" }
    store64(spare, 1)
    return load64(spare) == 1 ? nil : "a page that was given back holds nothing"
  }
}
