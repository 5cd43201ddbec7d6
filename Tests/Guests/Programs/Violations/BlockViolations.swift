import Arch

/// Requests that no driver of a disk may make (VIRTIO 1.3 §5.2.6).
extension BlockUse {
  func breakRules(_ violations: Violations) {
    shapes(violations)
    sectors(violations)
    types(violations)
    segments(violations)
  }

  /// A request of that type for a sector that may be written, of parts that `add` says.
  private func chain(
    _ type: UInt32, _ sector: UInt64 = 96, _ add: (inout Chain) -> Void
  ) -> Chain {
    prepare(type, sector)
    var chain = Chain(for: 0)
    add(&chain)
    return chain
  }

  private func shapes(_ violations: Violations) {
    for type in [RequestType.read, RequestType.write, RequestType.flush, RequestType.identify] {
      violations.request("a request without status", UInt64(type)) {
        chain(type) { $0.read(header, 16) }
      }
      violations.request("a request without header", UInt64(type)) {
        chain(type) { $0.write(status, 1) }
      }
      violations.request("a header too short by one", UInt64(type)) {
        chain(type) {
          $0.read(header, 15)
          $0.write(status, 1)
        }
      }
      violations.request("a header that is to be written", UInt64(type)) {
        chain(type) {
          $0.write(header, 16)
          $0.write(status, 1)
        }
      }
      violations.request("a header in four parts", UInt64(type)) {
        chain(type) {
          for part in UInt64(0)..<4 { $0.read(header + 4 * part, 4) }
          $0.write(status, 1)
        }
      }
      violations.request("no data", UInt64(type)) {
        chain(type) {
          $0.read(header, 16)
          $0.write(status, 1)
        }
      }
      violations.request("data the other way", UInt64(type)) {
        chain(type) {
          $0.read(header, 16)
          if type == RequestType.write { $0.write(data, 512) } else { $0.read(data, 512) }
          $0.write(status, 1)
        }
      }
      violations.request("data over header and status", UInt64(type)) {
        chain(type) {
          $0.read(header, 16)
          if type == RequestType.write { $0.read(header, 512) } else { $0.write(header, 512) }
          $0.write(header, 1)
        }
      }
    }
    for length: UInt32 in [1, 2, 511, 513, 1023] {
      violations.request("to read bytes that are no sectors", UInt64(length)) {
        chain(RequestType.read) {
          $0.read(header, 16)
          $0.write(data, length)
          $0.write(status, 1)
        }
      }
      violations.request("to write bytes that are no sectors", UInt64(length)) {
        chain(RequestType.write) {
          $0.read(header, 16)
          $0.read(data, length)
          $0.write(status, 1)
        }
      }
      violations.request("room for the serial number", UInt64(length)) {
        chain(RequestType.identify) {
          $0.read(header, 16)
          $0.write(data, length)
          $0.write(status, 1)
        }
      }
    }
  }

  private func sectors(_ violations: Violations) {
    let capacity = load64(violations.driver.transport.configuration)
    for sector in [
      capacity, capacity + 1, 1 << 32, 1 << 54, 1 << 55, 1 << 63, .max >> 9, .max - 1, .max,
    ] {
      violations.request("to read a sector that there is not", sector) {
        chain(RequestType.read, sector) {
          $0.read(header, 16)
          $0.write(data, 512)
          $0.write(status, 1)
        }
      }
      violations.request("to write a sector that there is not", sector) {
        chain(RequestType.write, sector) {
          $0.read(header, 16)
          $0.read(data, 512)
          $0.write(status, 1)
        }
      }
    }
    violations.request("to read over the end of the disk") {
      chain(RequestType.read, capacity - 1) {
        $0.read(header, 16)
        $0.write(data, 1024)
        $0.write(status, 1)
      }
    }
  }

  private func types(_ violations: Violations) {
    for type: UInt32 in [
      2, 3, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 24, 26, 0x1234, 0x8000_0000,
      0x8000_0001,
      .max,
    ] {
      violations.request("a type that there is not", UInt64(type)) {
        chain(type) {
          $0.read(header, 16)
          $0.write(data, 512)
          $0.write(status, 1)
        }
      }
    }
  }

  /// Discard and write zeroes name their sectors in a segment of 16 bytes.
  private func segments(_ violations: Violations) {
    for type in [RequestType.discard, RequestType.writeZeroes] {
      for length: UInt32 in [0, 1, 15, 17, 32, 128] {
        violations.request("a segment of a wrong length", UInt64(length)) {
          segment(type, sector: 96, count: 1, flags: 0, length: length)
        }
      }
      for sector: UInt64 in [.max, 1 << 55, 1 << 63] {
        violations.request("a segment of sectors that there are not", sector) {
          segment(type, sector: sector, count: 8, flags: 0)
        }
      }
      for count: UInt32 in [0, 1 << 23, 1 << 31, .max] {
        violations.request("a segment of so many sectors", UInt64(count)) {
          segment(type, sector: 96, count: count, flags: 0)
        }
      }
      for flags: UInt32 in [1, 2, 0x8000_0000, .max] {
        violations.request("a segment with flags", UInt64(flags)) {
          segment(type, sector: 96, count: 1, flags: flags)
        }
      }
    }
  }

  private func segment(
    _ type: UInt32, sector: UInt64, count: UInt32, flags: UInt32, length: UInt32 = 16
  ) -> Chain {
    store64(segment, sector)
    store32(segment + 8, count)
    store32(segment + 12, flags)
    return chain(type) {
      $0.read(header, 16)
      if length > 0 { $0.read(segment, length) }
      $0.write(status, 1)
    }
  }
}
