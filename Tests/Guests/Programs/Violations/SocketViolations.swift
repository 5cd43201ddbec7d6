import Arch

/// Packets that no driver of a socket device may send (VIRTIO 1.3 §5.10.6).
extension SocketUse {
  func breakRules(_ violations: Violations) {
    for operation: UInt16 in [0, 2, 3, 4, 5, 6, 7, 8, 0x8000, 0xffff] {
      violations.request("an operation without a connection", UInt64(operation)) {
        prepare(operation)
        return packet(Self.headerLength)
      }
    }
    for type: UInt16 in [0, 2, 3, 0xffff] {
      violations.request("a packet of a type", UInt64(type)) {
        prepare(Operation.request)
        store16(header + 28, type)
        return packet(Self.headerLength)
      }
    }
    for cid: UInt64 in [0, 1, 2, 4, 0xffff_ffff, 1 << 32 | 3, .max] {
      violations.request("a packet from", cid) {
        prepare(Operation.request, from: cid)
        return packet(Self.headerLength)
      }
      violations.request("a packet to", cid == 2 ? 3 : cid) {
        prepare(Operation.request, to: cid == 2 ? 3 : cid)
        return packet(Self.headerLength)
      }
    }
    for length: UInt32 in [1, 20, 43] {
      violations.request("a header of bytes", UInt64(length)) {
        prepare(Operation.request)
        return packet(length)
      }
    }
    for length: UInt32 in [1, 4096, 0x1_0000, 0x4_0001, 0x8000_0000, .max] {
      violations.request("a packet that says it has bytes", UInt64(length)) {
        prepare(Operation.data, length: length)
        return packet(Self.headerLength)
      }
      violations.request("a call that says it has bytes", UInt64(length)) {
        prepare(Operation.request, length: length)
        return packet(Self.headerLength)
      }
    }
    violations.request("a packet that is to be written") {
      var chain = Chain(for: 1)
      chain.write(input, Self.headerLength)
      return chain
    }
    for room: UInt32 in [1, 43, 44, 45] {
      violations.violate("room for a packet in bytes", "", UInt64(room)) { driver in
        var chain = Chain(for: 0)
        chain.write(input, room)
        driver.offer(chain)
        violations.settle(request(), driver)
      }
    }
    violations.violate("room for a packet that is to be read") { driver in
      var chain = Chain(for: 0)
      chain.read(input, 2048)
      driver.offer(chain)
      violations.settle(request(), driver)
    }
    violations.violate("calls whose answers nobody takes") { driver in
      for _ in 0..<100 { driver.offer(request()) }
    }
    violations.violate("room for events that is to be read") { driver in
      var chain = Chain(for: 2)
      chain.read(data, 4)
      driver.offer(chain)
    }
  }

  private func packet(_ length: UInt32) -> Chain {
    var chain = Chain(for: 1)
    chain.read(header, length)
    return chain
  }
}
