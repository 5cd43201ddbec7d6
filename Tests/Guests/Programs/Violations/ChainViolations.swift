import Arch

/// Chains that no driver may offer (VIRTIO 1.3 §2.7.4, §2.7.5, §2.8.7, §2.8.19).
enum ChainViolations {
  static func commit(_ violations: Violations) {
    addresses(violations)
    lengths(violations)
    roles(violations)
    tables(violations)
    if violations.dialect.contains(.packed) { identities(violations) } else { links(violations) }
  }

  private static func addresses(_ violations: Violations) {
    Place.forEach(near: violations.driver.transport) { place in
      violations.spoil("the first buffer lies", place.name) { chain, _ in
        chain.first.address = place.address
      }
      violations.spoil("the last buffer lies", place.name) { chain, _ in
        chain.last.address = place.address
      }
      violations.spoil("a large buffer lies", place.name) { chain, _ in
        chain.last.address = place.address
        chain.last.length = 1 << 20
      }
    }
    for offset: UInt64 in [0, 0x200, 0x400] {
      violations.spoil("a buffer to be written lies over the ring", "", offset) { chain, ring in
        chain.last.address = ring.descriptors + offset
        chain.last.flags |= Descriptor.isWritable
      }
    }
    violations.spoil("all buffers are the same") { chain, _ in
      for index in 1..<chain.count { chain.parts[index].address = chain.first.address }
    }
  }

  private static func lengths(_ violations: Violations) {
    for length: UInt32 in [
      0, .max, 1 << 31, 0x7fff_ffff, UInt32(truncatingIfNeeded: Place.endOfRAM),
    ] {
      violations.spoil("the first buffer has a length of", "", UInt64(length)) { chain, _ in
        chain.first.length = length
      }
      violations.spoil("the last buffer has a length of", "", UInt64(length)) { chain, _ in
        chain.last.length = length
      }
      violations.spoil("all buffers have a length of", "", UInt64(length)) { chain, _ in
        for index in 0..<chain.count { chain.parts[index].length = length }
      }
    }
    violations.spoil("buffers hold more than 4 GiB together") { chain, _ in
      for index in 0..<chain.count {
        chain.parts[index].address = 0
        chain.parts[index].length = .max
      }
    }
  }

  private static func roles(_ violations: Violations) {
    violations.spoil("something to read follows something to write") { chain, _ in
      chain.first.flags |= Descriptor.isWritable
      chain.last.flags &= ~Descriptor.isWritable
    }
    violations.spoil("all is to be written") { chain, _ in
      for index in 0..<chain.count { chain.parts[index].flags |= Descriptor.isWritable }
    }
    violations.spoil("all is to be read") { chain, _ in
      for index in 0..<chain.count { chain.parts[index].flags &= ~Descriptor.isWritable }
    }
    violations.spoil("what is read is to be written, and the other way round") { chain, _ in
      for index in 0..<chain.count { chain.parts[index].flags ^= Descriptor.isWritable }
    }
    // Those of the packed format tell whether a descriptor is available: they are in RingViolations.
    for flags: UInt16 in [0x0078, 0x7f00, 0x7f78] {
      violations.spoil("flags that there are not", "", UInt64(flags)) { chain, _ in
        chain.first.flags |= flags
        chain.last.flags |= flags
      }
    }
    violations.spoil("the last buffer has a next one") { chain, _ in
      chain.last.flags |= Descriptor.hasNext
    }
  }

  private static func tables(_ violations: Violations) {
    Place.forEach(near: violations.driver.transport) { place in
      table(violations, "a table lies", place.name) { chain, _ in
        chain.table.address = place.address
      }
    }
    for length: UInt32 in [0, 1, 8, 15, 17, 47, 0x1010, 0x10_0000, 0x8000_0000, 0xffff_fff0, .max] {
      table(violations, "a table has a length of", "", UInt64(length)) { chain, _ in
        chain.table.length = length
      }
    }
    table(violations, "a table lies askew") { chain, _ in chain.table.address += 1 }
    table(violations, "a table is the ring itself") { chain, ring in
      chain.table.address = ring.descriptors
    }
    table(violations, "a table is to be written") { chain, _ in
      chain.table.flags |= Descriptor.isWritable
    }
    table(violations, "a table has a next buffer") { chain, _ in
      chain.table.flags |= Descriptor.hasNext
    }
    table(violations, "a table in a table") { chain, ring in
      chain.first = Descriptor(address: ring.tables + 64, length: 16, flags: Descriptor.isTable)
    }
    table(violations, "a table in itself") { chain, ring in
      chain.last = Descriptor(address: ring.tables, length: 16, flags: Descriptor.isTable)
    }
    table(violations, "a table behind a buffer") { chain, ring in
      chain.isInTable = false
      chain.last.address = ring.tables
      chain.last.length = 16
      chain.last.flags = Descriptor.isTable
    }
    violations.violate("a table although tables were not agreed on") { driver in
      _ = driver.reset()
      let features = driver.dialect.features & ~Feature.indirect
      guard driver.negotiate(driver.offered & features) else { return }
      for index in 0..<driver.ringCount { driver.enable(driver.ring(index)) }
      driver.transport.status |= DeviceStatus.driverOK
      violations.fill(driver)
    }
  }

  private static func table(
    _ violations: Violations, _ what: StaticString, _ detail: StaticString = "",
    _ number: UInt64? = nil, _ change: (inout Chain, Ring) -> Void
  ) {
    violations.violate(what, detail, number) { driver in
      var chain = driver.use.request()
      chain.isInTable = true
      driver.requests.join(&chain)
      change(&chain, driver.requests)
      driver.requests.add(chain)
      driver.kick(chain.queue)
    }
  }

  /// The links of a split ring or table.
  private static func links(_ violations: Violations) {
    for next: UInt16 in [0, 1, 7, 8, 9, 0x7fff, 0x8000, 0xffff] {
      violations.spoil("the first buffer's next is", "", UInt64(next)) { chain, _ in
        chain.first.flags |= Descriptor.hasNext
        chain.first.next = next
      }
      violations.spoil("the last buffer's next is", "", UInt64(next)) { chain, _ in
        chain.last.flags |= Descriptor.hasNext
        chain.last.next = next
      }
    }
    violations.spoil("all buffers lead to the first") { chain, _ in
      for index in 0..<chain.count {
        chain.parts[index].flags |= Descriptor.hasNext
        chain.parts[index].next = chain.isInTable ? 0 : chain.head
      }
    }
    for head: UInt16 in [8, 9, 0x7fff, 0x8000, 0xffff] {
      violations.spoil("the available ring names", "", UInt64(head)) { chain, _ in
        chain.head = head
      }
    }
    violations.spoil("the available ring names a descriptor that was never written") { chain, _ in
      chain.head = 7
    }
  }

  /// The buffer IDs of a packed ring.
  private static func identities(_ violations: Violations) {
    for id: UInt16 in [7, 8, 0x7fff, 0x8000, 0xffff] {
      violations.spoil("a buffer's ID is", "", UInt64(id)) { chain, _ in
        for index in 0..<chain.count { chain.parts[index].next = id }
        chain.table.next = id
      }
    }
    violations.spoil("each part has another ID") { chain, _ in
      for index in 0..<chain.count { chain.parts[index].next = UInt16(index * 3) }
    }
  }
}
