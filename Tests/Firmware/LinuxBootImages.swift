import LinuxBoot

/// Kernel files as the tests need them: small, sound, and easy to damage.
enum Images {
  /// A bzImage: one setup sector, a header of protocol 2.15, `code` bytes of kernel.
  static func bzImage(code: Int = 0x2000, change: (inout Bytes) -> Void = { _ in }) -> [UInt8] {
    var file = Bytes(count: 0x400 + code)
    file.put(1, 1, at: 0x1F1)  // setup_sects
    file.put(code / 16, 4, at: 0x1F4)  // syssize
    file.put(0xAA55, 2, at: 0x1FE)  // boot_flag
    file.put(0x6AEB, 2, at: 0x200)  // jump to 0x26C
    file.put("HdrS", at: 0x202)
    file.put(0x020F, 2, at: 0x206)  // version
    file.put(0x100, 2, at: 0x20E)  // kernel_version
    file.put(1, 1, at: 0x211)  // loadflags: LOADED_HIGH
    file.put(0x10_0000, 4, at: 0x214)  // code32_start
    file.put(0x7FFF_FFFF, 4, at: 0x22C)  // initrd_addr_max
    file.put(0x20_0000, 4, at: 0x230)  // kernel_alignment
    file.put(1, 1, at: 0x234)  // relocatable_kernel
    file.put(3, 2, at: 0x236)  // xloadflags
    file.put(2047, 4, at: 0x238)  // cmdline_size
    file.put(0x100_0000, 8, at: 0x258)  // pref_address
    file.put(0x10_0000, 4, at: 0x260)  // init_size
    file.put("6.1.0-test (someone)", at: 0x300)
    for offset in 0x400..<file.all.count { file.put(offset % 251, 1, at: offset) }
    change(&file)
    return file.all
  }

  /// An ELF64 kernel at 16 MiB: 0x800 bytes of code, then 0x1000 zeroes; and, if asked for, a note
  /// with a PVH entry point.
  static func elf64(pvh: UInt32? = nil, change: (inout Bytes) -> Void = { _ in }) -> [UInt8] {
    var file = Bytes(count: 0x1800)
    file.put([0x7F, 0x45, 0x4C, 0x46, 2, 1, 1], at: 0)
    file.put(2, 2, at: 0x10)  // e_type: ET_EXEC
    file.put(62, 2, at: 0x12)  // e_machine: EM_X86_64
    file.put(1, 4, at: 0x14)
    file.put(0x100_0100, 8, at: 0x18)  // e_entry
    file.put(64, 8, at: 0x20)  // e_phoff
    file.put(64, 2, at: 0x34)
    file.put(56, 2, at: 0x36)  // e_phentsize
    file.put(pvh == nil ? 1 : 2, 2, at: 0x38)  // e_phnum
    programHeader64(
      &file, at: 64, type: 1, offset: 0x1000, virtual: 0xFFFF_FFFF_8100_0000,
      physical: 0x100_0000, fileSize: 0x800, memorySize: 0x1800)
    if let pvh {
      programHeader64(
        &file, at: 120, type: 4, offset: 0x800, virtual: 0, physical: 0, fileSize: 48,
        memorySize: 48)
      note(&file, at: 0x800, name: "GNU\0", type: 3, value: 0xABCD)
      note(&file, at: 0x818, name: "Xen\0", type: 18, value: UInt64(pvh))
    }
    for offset in 0x1000..<0x1800 { file.put(offset % 239, 1, at: offset) }
    change(&file)
    return file.all
  }

  /// An ELF32 kernel at 1 MiB with a Multiboot header at offset 0x100.
  static func multibootELF(flags: UInt32 = 3) -> [UInt8] {
    var file = Bytes(count: 0x1200)
    file.put([0x7F, 0x45, 0x4C, 0x46, 1, 1, 1], at: 0)
    file.put(2, 2, at: 0x10)
    file.put(3, 2, at: 0x12)  // e_machine: EM_386
    file.put(0x10_0010, 4, at: 0x18)  // e_entry
    file.put(52, 4, at: 0x1C)  // e_phoff
    file.put(32, 2, at: 0x2A)
    file.put(1, 2, at: 0x2C)
    for (index, value) in [1, 0x1000, 0x10_0000, 0x10_0000, 0x200, 0x1000, 7, 0x1000].enumerated() {
      file.put(value, 4, at: 52 + index * 4)
    }
    multibootHeader(&file, at: 0x100, flags: flags)
    return file.all
  }

  /// A flat Multiboot kernel, loaded whole to 2 MiB, with its header at offset 0x40.
  static func multibootFlat(
    count: Int = 0x3000, addresses: [Int] = [0x20_0040, 0x20_0000, 0, 0x20_8000, 0x20_0100]
  ) -> [UInt8] {
    var file = Bytes(count: count)
    for offset in 0..<count { file.put((offset * offset / 7) % 61, 1, at: offset) }
    multibootHeader(&file, at: 0x40, flags: 0x1_0003)
    for (index, address) in addresses.enumerated() {
      file.put(address, 4, at: 0x4C + index * 4)
    }
    return file.all
  }

  static func programHeader64(
    _ file: inout Bytes, at start: Int, type: Int, offset: Int, virtual: UInt64, physical: Int,
    fileSize: Int, memorySize: UInt64
  ) {
    file.put(type, 4, at: start)
    file.put(offset, 8, at: start + 8)
    file.put(virtual, at: start + 16)
    file.put(physical, 8, at: start + 24)
    file.put(fileSize, 8, at: start + 32)
    file.put(memorySize, at: start + 40)
    file.put(4, 8, at: start + 48)
  }

  private static func note(
    _ file: inout Bytes, at start: Int, name: String, type: Int, value: UInt64
  ) {
    file.put(4, 4, at: start)
    file.put(8, 4, at: start + 4)
    file.put(type, 4, at: start + 8)
    file.put(name, at: start + 12)
    file.put(value, at: start + 16)
  }

  private static func multibootHeader(_ file: inout Bytes, at start: Int, flags: UInt32) {
    let magic: UInt32 = 0x1BAD_B002
    file.put(Int(magic), 4, at: start)
    file.put(Int(flags), 4, at: start + 4)
    file.put(Int(0 &- magic &- flags), 4, at: start + 8)
  }
}

/// A file under construction, or a structure under inspection: little-endian.
struct Bytes {
  var all: [UInt8]

  init(count: Int) { all = Array(repeating: 0, count: count) }
  init(_ bytes: some Sequence<UInt8>) { all = Array(bytes) }

  mutating func put(_ value: Int, _ width: Int, at offset: Int) {
    for index in 0..<width { all[offset + index] = UInt8(truncatingIfNeeded: value >> (8 * index)) }
  }
  mutating func put(_ value: UInt64, at offset: Int) {
    put(Int(truncatingIfNeeded: value), 8, at: offset)
  }
  mutating func put(_ bytes: [UInt8], at offset: Int) {
    all.replaceSubrange(offset..<offset + bytes.count, with: bytes)
  }
  mutating func put(_ text: String, at offset: Int) { put(Array(text.utf8), at: offset) }

  func get(_ width: Int, at offset: Int) -> UInt64 {
    (0..<width).reduce(0) { $0 | UInt64(all[offset + $1]) << UInt64(8 * $1) }
  }
}

extension BootRequest {
  /// A request on a machine with `megabytes` of RAM, holes as on a PC.
  static func on(megabytes: UInt64 = 128, _ kernel: [UInt8]) -> BootRequest {
    BootRequest(kernel: kernel, memoryMap: .pc(megabytes: megabytes))
  }
}

extension [MemoryRange] {
  static func pc(megabytes: UInt64) -> [MemoryRange] {
    [
      MemoryRange(start: 0, size: 0x9_FC00, kind: .usable),
      MemoryRange(start: 0x9_FC00, size: 0x400, kind: .reserved),
      MemoryRange(start: 0xE_0000, size: 0x2_0000, kind: .reserved),
      MemoryRange(start: 0x10_0000, size: (megabytes - 1) << 20, kind: .usable),
    ]
  }
}

extension BootPlan {
  /// What guest memory holds after the plan is applied; nothing where the plan writes nothing.
  func memory(at address: UInt64, count: UInt64) -> Bytes? {
    guard let segment = segments.first(where: { $0.range.contains(address) }),
      address + count <= segment.range.upperBound
    else { return nil }
    let all = Array(segment.bytes) + Array(repeating: 0, count: Int(segment.zeroFill))
    let start = Int(address - segment.address)
    return Bytes(all[start..<start + Int(count)])
  }

  /// The zero-terminated text at an address.
  func text(at address: UInt64) -> String? {
    guard let segment = segments.first(where: { $0.range.contains(address) }) else { return nil }
    let rest = segment.bytes.dropFirst(Int(address - segment.address))
    return String(decoding: rest.prefix { $0 != 0 }, as: UTF8.self)
  }

  func segment(_ name: String) -> Segment? { segments.first { $0.name == name } }

  /// The state of the first processor, for plans that have one.
  var entry: EntryState? {
    if case .entry(let state) = start { state } else { nil }
  }
}

/// The refusal that `body` ends with; `nil` if it does not.
func refusal(_ body: () throws -> Void) -> BootError? {
  do {
    try body()
    return nil
  } catch {
    return error as? BootError
  }
}
