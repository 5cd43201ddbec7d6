import Arch

/// Messages that no client of a 9P server may send (9P2000 `intro(5)`).
extension NinePUse {
  func breakRules(_ violations: Violations) {
    for size: UInt32 in [0, 1, 6, 7, 20, 22, 0x1000, 0x8000_0000, .max] {
      violations.request("a message that says it has bytes", UInt64(size)) {
        let sound = request()
        store32(message, size)
        return sound
      }
    }
    for length: UInt32 in [1, 3, 4, 6, 7, 12, 20] {
      violations.request("a message of bytes", UInt64(length)) {
        _ = request()
        return chain(length, room: 256)
      }
    }
    for type in UInt8(0)..<32 {
      violations.request("a message before the version, of type", UInt64(type) * 8 + 6) {
        for offset in UInt64(0)..<8 { store64(message + 8 * offset, .max) }
        prepare(type * 8 + 6, size: 64)
        return chain(64, room: 256)
      }
    }
    for room: UInt32 in [1, 4, 7, 11, 20] {
      violations.request("room for an answer of bytes", UInt64(room)) {
        _ = request()
        return chain(21, room: room)
      }
    }
    violations.request("no room for an answer") {
      _ = request()
      return chain(21, room: 0)
    }
    violations.request("an answer over the message") {
      _ = request()
      var chain = Chain(for: 0)
      chain.read(message, 21)
      chain.write(message, 256)
      return chain
    }
    violations.request("a message of 4 MiB") {
      _ = request()
      var chain = Chain(for: 0)
      chain.read(message, 21)
      chain.read(Layout.pool, 4 << 20)
      chain.write(answer, 256)
      return chain
    }
    for length: UInt16 in [0, 1, 7, 9, 0x7fff, 0xffff] {
      violations.request("a version's name of bytes", UInt64(length)) {
        let sound = request()
        store16(message + 11, length)
        return sound
      }
    }
    attached(violations)
  }

  /// Messages to a server that has heard the version.
  private func attached(_ violations: Violations) {
    for type in [
      MessageType.attach, MessageType.walk, MessageType.read, MessageType.write, MessageType.clunk,
    ] {
      for value: UInt64 in [0, 0xffff_0000_0001, .max] {
        violations.violate("a message with the wrong numbers, of type", "", UInt64(type)) {
          driver in
          violations.settle(request(), driver)
          for offset in UInt64(0)..<8 { store64(message + 8 * offset, value) }
          prepare(type, size: 64)
          violations.settle(chain(64, room: 256), driver)
        }
      }
    }
  }

  private func chain(_ length: UInt32, room: UInt32) -> Chain {
    var chain = Chain(for: 0)
    chain.read(message, length)
    if room > 0 { chain.write(answer, room) }
    return chain
  }
}
