/// What no driver of a console may offer (VIRTIO 1.3 §5.3.6).
extension ConsoleUse {
  func breakRules(_ violations: Violations) {
    violations.request("output that is to be written") {
      var chain = Chain(for: 1)
      chain.write(input, 8)
      return chain
    }
    violations.request("output with room for an answer") {
      var chain = Chain(for: 1)
      chain.read(output, 8)
      chain.write(input, 8)
      return chain
    }
    for length: UInt32 in [1, 0x1_0000, 0x10_0000, 0x60_0000] {
      violations.request("output of so many bytes", UInt64(length)) {
        var chain = Chain(for: 1)
        for _ in 0..<6 { chain.read(Layout.pool, length) }
        return chain
      }
    }
    violations.violate("room for input that is to be read") { driver in
      var chain = Chain(for: 0)
      chain.read(input, 64)
      driver.offer(chain)
      violations.settle(request(), driver)
    }
    violations.violate("room for input behind something to read") { driver in
      var chain = Chain(for: 0)
      chain.read(output, 8)
      chain.write(input, 64)
      driver.offer(chain)
      violations.settle(request(), driver)
    }
    violations.violate("room for one byte of input at a time") { driver in
      for turn in UInt64(0)..<8 {
        var chain = Chain(for: 0)
        chain.write(input + turn, 1)
        driver.offer(chain)
      }
      violations.settle(request(), driver)
    }
  }
}
