import Arch

/// What no driver of a balloon may offer (VIRTIO 1.3 §5.5.6).
extension BalloonUse {
  func breakRules(_ violations: Violations) {
    for page: UInt32 in [
      UInt32(truncatingIfNeeded: Place.endOfRAM >> 12), 0xa0, 0xe0, 0xfec00, 0xfee00, 1 << 26,
      1 << 31, .max,
    ] {
      violations.request("a page that is no RAM", UInt64(page)) { list(0, page, 4) }
      violations.request("a page that is no RAM is given back", UInt64(page)) { list(1, page, 4) }
    }
    for length: UInt32 in [1, 2, 3, 5, 7] {
      violations.request("a list of pages in bytes", UInt64(length)) {
        list(0, UInt32(truncatingIfNeeded: spare >> 12), length)
      }
    }
    violations.request("a list of pages that are all the same") {
      for place in UInt64(0)..<512 {
        store32(numbers + 4 * place, UInt32(truncatingIfNeeded: spare >> 12))
      }
      var chain = Chain(for: 0)
      for _ in 0..<8 { chain.read(numbers, 2048) }
      return chain
    }
    violations.request("a list of a million pages") {
      // Zeros, but for a few: page 0 is not used.
      var chain = Chain(for: 0)
      chain.read(spare, 4096)
      chain.read(Layout.poolEnd - 0x10_0000, 0x10_0000)
      return chain
    }
    violations.request("a list of pages that is to be written") {
      var chain = Chain(for: 0)
      chain.write(numbers, 8)
      return chain
    }
    for queue in 2..<violations.driver.ringCount {
      violations.violate("something in a queue that was not agreed on", "", UInt64(queue)) {
        driver in
        driver.offer(list(queue, 0, 13))
      }
    }
  }

  private func list(_ queue: Int, _ page: UInt32, _ length: UInt32) -> Chain {
    store32(numbers, page)
    store32(numbers + 4, page)
    var chain = Chain(for: queue)
    chain.read(numbers, length)
    return chain
  }
}
