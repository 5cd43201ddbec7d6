import Arch

/// A console (VIRTIO 1.3 §5.3) whose other end sends everything back.
final class ConsoleUse: DeviceUse {
  let name: StaticString = "console"
  let features: UInt64 = 0
  let requestQueue = 1
  private let page = Pool.pages()
  private var words: UInt64 = 0x6f6f_7374_0000_0000

  var input: UInt64 { page }
  var output: UInt64 { page + 0xf00 }
  private var inputRoom: UInt32 { 2048 }

  func request() -> Chain {
    words += 1
    store64(output, words)
    var chain = Chain(for: 1)
    chain.read(output, 3)
    chain.read(output + 3, 5)
    return chain
  }

  private func inputBuffer() -> Chain {
    var chain = Chain(for: 0)
    chain.write(input, inputRoom)
    return chain
  }

  func fault(with driver: VirtioDriver) -> StaticString? {
    driver.offer(inputBuffer())
    guard driver.complete(request()) != nil else { return "a word is not taken" }
    // What was sent by violations may come before.
    for _ in 0..<64 {
      guard let count = driver.wait(0) else { return "a word does not come back" }
      guard count <= inputRoom else { return "more came in than there was room for" }
      if count >= 8, load64(input + UInt64(count) - 8) == words { return nil }
      driver.offer(inputBuffer())
    }
    return "a word comes back wrong"
  }
}
