import Arch

/// PCI configuration space: both ways to it show the same functions, and BARs size as they should
/// (PCI 3.0 §3.2.2.3.2; PCI Express 5.0 §7.2.2).
enum PCIScan {
  static func run() -> Never {
    expect("CF8h keeps what an address may be", addressRegister())
    var functions: UInt64 = 0
    nonisolated(unsafe) var differences: UInt64 = 0
    var hasHostBridge = false
    let window = ACPI.mcfg.map { load64($0 + 44) }
    for device in UInt32(0)..<32 {
      for function in UInt32(0)..<8 {
        let identity = read(device, function, 0)
        if identity == 0xffff_ffff {
          if function == 0 { break }
          continue
        }
        functions += 1
        let classCode = read(device, function, 8) >> 8
        line(
          "note 00:", .hex(device), ".", .decimal(function), " is ", .hex(identity), ", class ",
          .hex(classCode))
        if classCode >> 8 == 0x0600 { hasHostBridge = true }
        if let window {
          let space = window + UInt64(device << 15 | function << 12)
          var register: UInt32 = 0
          while register < 256 {
            let value = read(device, function, register)
            if load32(space + UInt64(register)) != value { differences += 1 }
            let byte = register + 3
            if load8(space + UInt64(byte)) != in8(select(device, function, byte) + 3) {
              differences += 1
            }
            if load16(space + UInt64(register + 2)) != in16(select(device, function, register) + 2)
            {
              differences += 1
            }
            register += 4
          }
        }
        sizeBARs(device, function)
        if function == 0, read(device, 0, 12) >> 16 & 0x80 == 0 { break }
      }
    }
    expect("there are functions", functions > 0)
    expect("a host bridge is among them", hasHostBridge)
    if let window {
      expect("ECAM and CF8h agree on every register", differences, is: 0)
      expect(
        "an absent function reads as all ones", load32(window + (31 << 15 | 7 << 12)),
        is: 0xffff_ffff)
      expect("so does a whole absent bus", read(31, 7, 0, bus: 200), is: 0xffff_ffff)
    } else {
      skip("no MCFG")
    }
    finish()
  }

  @discardableResult
  static func select(
    _ device: UInt32, _ function: UInt32, _ register: UInt32, bus: UInt32 = 0
  ) -> UInt16 {
    out32(0xcf8, 0x8000_0000 | bus << 16 | device << 11 | function << 8 | register & 0xfc)
    return 0xcfc
  }

  static func read(
    _ device: UInt32, _ function: UInt32, _ register: UInt32, bus: UInt32 = 0
  ) -> UInt32 {
    in32(select(device, function, register, bus: bus))
  }

  private static func addressRegister() -> Bool {
    out32(0xcf8, 0x8000_12f4)
    let kept = in32(0xcf8)
    // Only a doubleword write sets it.
    out8(0xcf8 + 3, 0)
    return kept == 0x8000_12f4 && in32(0xcf8) == 0x8000_12f4
  }

  /// Writes ones to each BAR, with decoding off, and puts it back.
  private static func sizeBARs(_ device: UInt32, _ function: UInt32) {
    if read(device, function, 12) >> 16 & 0x7f != 0 { return }
    let command = read(device, function, 4) & 0xffff
    out16(select(device, function, 4), UInt16(command & ~3))
    var bar: UInt32 = 0x10
    while bar < 0x28 {
      let before = read(device, function, bar)
      out32(select(device, function, bar), 0xffff_ffff)
      let ones = read(device, function, bar)
      out32(select(device, function, bar), before)
      if ones != 0 {
        let mask = before & 1 == 1 ? ones & ~3 | 0xffff_0000 : ones & ~15
        let size = ~mask &+ 1
        expect("a BAR's size is a power of two", size != 0 && size & (size - 1) == 0)
        expect("a BAR keeps its value", read(device, function, bar), is: UInt64(before))
        if before & 7 == 4 { bar += 4 }
      }
      bar += 4
    }
    out16(select(device, function, 4), UInt16(command))
  }
}
