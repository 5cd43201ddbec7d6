import Arch

/// Messages that no client of a FUSE server may send (Linux `include/uapi/linux/fuse.h`).
extension FileSystemUse {
  func breakRules(_ violations: Violations) {
    for size: UInt32 in [0, 1, 39, 40, 55, 57, 0x1000, 0x8000_0000, .max] {
      violations.request("a message that says it has bytes", UInt64(size)) {
        let sound = request()
        store32(message, size)
        return sound
      }
    }
    for length: UInt32 in [1, 4, 39, 40, 48, 55] {
      violations.request("a message of bytes", UInt64(length)) {
        _ = request()
        return chain(length, room: 128)
      }
    }
    for room: UInt32 in [1, 8, 15, 16, 17, 79] {
      violations.request("room for an answer of bytes", UInt64(room)) {
        _ = request()
        return chain(56, room: room)
      }
    }
    for operation in UInt32(0)..<56 {
      violations.request("an operation before the session begins", UInt64(operation)) {
        prepare(operation, size: 128)
        return chain(128, room: 256)
      }
    }
    for operation: UInt32 in [100, 4096, 0x8000_0000, .max] {
      violations.request("an operation that there is not", UInt64(operation)) {
        prepare(operation, size: 128)
        return chain(128, room: 256)
      }
    }
    for version: UInt64 in [0, 6, 8, .max] {
      violations.request("a session in a version", version) {
        let sound = request()
        store64(message + 40, version)
        return sound
      }
    }
    begun(violations)
  }

  /// Messages of a session.
  private func begun(_ violations: Violations) {
    for operation in [
      Operation.lookup, Operation.forget, Operation.getAttributes, Operation.read, Operation.write,
      Operation.initialize, Operation.batchForget,
    ] {
      for value: UInt64 in [0, 0x2f2f_2f2f_2f2f_2f2f, 0x2e2e_2e2e_2e2e_2e2e, .max] {
        violations.violate("a message with the wrong numbers, of operation", "", UInt64(operation))
        {
          driver in
          violations.settle(request(), driver)
          prepare(operation, size: 128)
          store64(message + 16, value)
          for offset in UInt64(5)..<16 { store64(message + 8 * offset, value) }
          driver.offer(chain(128, room: 256))
        }
      }
    }
    violations.violate("a request in the queue of what must not wait") { driver in
      let sound = request()
      var chain = Chain(for: 0)
      chain.read(sound.first.address, 56)
      chain.write(answer, 128)
      driver.offer(chain)
    }
  }

  private func chain(_ length: UInt32, room: UInt32) -> Chain {
    var chain = Chain(for: 1)
    chain.read(message, length)
    if room > 0 { chain.write(answer, room) }
    return chain
  }
}
