import Arch

/// Frames, buffers and commands that no driver of a card may offer (VIRTIO 1.3 §5.1.6).
extension NetworkUse {
  func breakRules(_ violations: Violations) {
    frames(violations)
    headers(violations)
    inputs(violations)
    commands(violations)
  }

  private func chain(_ queue: Int, _ add: (inout Chain) -> Void) -> Chain {
    clearHeader()
    var chain = Chain(for: queue)
    add(&chain)
    return chain
  }

  private func frames(_ violations: Violations) {
    for length: UInt32 in [1, 9, 10, 11, 12, 13, 25, 26] {
      violations.request("a frame and its header in bytes", UInt64(length)) {
        chain(1) { $0.read(header, length) }
      }
    }
    for length: UInt32 in [0x3fff, 0xffff, 0x1_0000, 0x1_000f, 0x10_0000] {
      violations.request("a long frame of bytes", UInt64(length)) {
        chain(1) {
          $0.read(header, Self.headerLength)
          $0.read(Layout.pool, length)
        }
      }
    }
    violations.request("a frame that is to be written") {
      chain(1) {
        $0.read(header, Self.headerLength)
        $0.write(input, 64)
      }
    }
  }

  /// What the header says is to be done to a frame.
  private func headers(_ violations: Violations) {
    for first: UInt16 in [
      // Flags, and kinds of segmentation: none of them was agreed on.
      0x0001, 0x00ff, 0x0100, 0x0101, 0x0301, 0x0401, 0x0501, 0x8101, 0xff01, 0xffff,
    ] {
      violations.request("a header begins with", UInt64(first)) {
        let sound = request()
        store16(header, first)
        return sound
      }
    }
    for (start, offset) in [(0, 0), (41, 1), (42, 0), (0xffff, 0xffff), (0x8000, 0x8000)]
      as [(UInt16, UInt16)]
    {
      violations.request("a checksum outside of the frame", UInt64(start)) {
        let sound = request()
        store16(header, 0x0101)
        store16(header + 4, 0)
        store16(header + 6, start)
        store16(header + 8, offset)
        return sound
      }
    }
  }

  /// Room for frames; one frame comes, as the router is asked for something.
  private func inputs(_ violations: Violations) {
    for length: UInt32 in [1, 9, 10, 11, 12, 13, 40] {
      violations.violate("room for a frame in bytes", "", UInt64(length)) { driver in
        driver.offer(chain(0) { $0.write(input, length) })
        violations.settle(request(), driver)
      }
    }
    violations.violate("room for a frame that is to be read") { driver in
      driver.offer(chain(0) { $0.read(input, 2048) })
      violations.settle(request(), driver)
    }
    violations.violate("room for a frame behind something to read") { driver in
      driver.offer(
        chain(0) {
          $0.read(header, Self.headerLength)
          $0.write(input, 2048)
        })
      violations.settle(request(), driver)
    }
    violations.violate("room for frames that nobody takes out") { driver in
      for _ in 0..<4 { driver.offer(chain(0) { $0.write(input, 512) }) }
      for _ in 0..<40 { violations.settle(request(), driver) }
    }
  }

  private func commands(_ violations: Violations) {
    let queue = 2
    guard violations.driver.ringCount > queue else { return }
    for kind: UInt16 in [
      0x0000, 0x0600, 0x0001, 0x0101, 0x0201, 0x0002, 0x0202, 0x0003, 0x0004, 0x0104, 0x0005,
      0x0006,
      0x00ff, 0xffff,
    ] {
      for length: UInt32 in [2, 3, 7, 12, 1024] {
        violations.request("a command, class and number,", UInt64(kind) << 16 | UInt64(length)) {
          for offset in UInt64(0)..<16 { store64(command + 8 * offset, .max) }
          store16(command, kind)
          return chain(queue) {
            $0.read(command, length)
            $0.write(answer, 1)
          }
        }
      }
    }
    violations.request("a command of one byte") {
      chain(queue) {
        $0.read(command, 1)
        $0.write(answer, 1)
      }
    }
    violations.request("a command without room for its answer") {
      chain(queue) { $0.read(command, 8) }
    }
    violations.request("a command without a command") { chain(queue) { $0.write(answer, 1) } }
    violations.request("a table of a hundred thousand addresses") {
      store16(command, 0x0001)
      store32(command + 2, 0x1_86a0)
      return chain(queue) {
        $0.read(command, 6)
        $0.read(Layout.pool, 0xa_0000)
        $0.write(answer, 1)
      }
    }
  }
}
