import Arch

/// What the loader hands over ("x86/HVM direct boot ABI", `hvm_start_info`).
struct StartInfo {
  let address: UInt64
  nonisolated(unsafe) static var current = StartInfo(address: 0)

  var isValid: Bool { load32(address) == 0x336e_c578 }
  var version: UInt32 { load32(address + 4) }
  var commandLine: UInt64 { load64(address + 24) }
  var rootPointer: UInt64 { load64(address + 32) }
  var memoryMapCount: UInt64 { version >= 1 ? UInt64(load32(address + 48)) : 0 }

  struct Range {
    let start: UInt64
    let size: UInt64
    let type: UInt32
    var end: UInt64 { start + size }
  }
  func range(_ index: UInt64) -> Range {
    let entry = load64(address + 40) + 24 * index
    return Range(start: load64(entry), size: load64(entry + 8), type: load32(entry + 16))
  }

  /// The first word of the command line that is neither the image's name nor a setting.
  func isAsked(for program: StaticString) -> Bool {
    if commandLine == 0 { return false }
    var position = commandLine
    while load8(position) != 0 {
      while load8(position) == 32 { position += 1 }
      var length: UInt64 = 0
      var same = true
      program.withUTF8Buffer { name in
        while load8(position + length) > 32 {
          if length >= name.count || name[Int(length)] != load8(position + length) { same = false }
          length += 1
        }
        if length != name.count { same = false }
      }
      if same { return true }
      position += length
    }
    return false
  }
}
