/// What no driver of an entropy device may offer (VIRTIO 1.3 §5.4.6).
extension EntropyUse {
  func breakRules(_ violations: Violations) {
    violations.request("something to read") {
      var chain = Chain(for: 0)
      chain.read(data, 8)
      return chain
    }
    violations.request("something to read, and room") {
      var chain = Chain(for: 0)
      chain.read(data, 8)
      chain.write(data, 8)
      return chain
    }
    violations.request("one byte of room") {
      var chain = Chain(for: 0)
      chain.write(data, 1)
      return chain
    }
    violations.request("the same room eight times") {
      var chain = Chain(for: 0)
      for _ in 0..<8 { chain.write(data, 64) }
      return chain
    }
  }
}
