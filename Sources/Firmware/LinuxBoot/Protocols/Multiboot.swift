/// Starting a kernel by the Multiboot Specification, version 0.6.96: §3.2 "Machine state" and §3.3
/// "Boot information format".
extension MultibootHeader {
  /// Plans the boot of a kernel with this header, from the header's own addresses if it gives them,
  /// else as the ELF file that it must be then.
  func plan(_ request: BootRequest, elf: ELFFile?) throws(BootError) -> BootPlan {
    try checkDemands()
    var placement = try Placement(request)
    let entry: UInt64
    if hasAddresses {
      entry = try placeFlat(in: &placement)
    } else if let elf {
      try elf.place(in: &placement)
      entry = try elf.physicalEntry()
    } else {
      throw .damaged("The Multiboot kernel is no ELF file and does not say where it goes.")
    }
    guard entry < 1 << 32 else {
      throw .damaged("The Multiboot kernel's entry point \(hex(entry)) is not a 32-bit address.")
    }
    let info = try MultibootInformation.place(request, in: &placement)
    let state = try EntryState.protected32(
      at: entry, .init(rax: 0x2BAD_B002, rbx: info), &placement)
    return BootPlan(
      description: "Multiboot kernel, entry at \(hex(entry))", segments: placement.segments,
      start: .entry(state))
  }
}

/// The Multiboot information structure with the lists it points to (§3.3).
private enum MultibootInformation {
  /// Places modules, strings, lists and the structure itself, whose address it returns.
  static func place(
    _ request: BootRequest, in placement: inout Placement
  ) throws(BootError) -> UInt64 {
    var info = Structure(count: 116)
    var flags: UInt32 = 1 << 0 | 1 << 2 | 1 << 6 | 1 << 9
    let (lower, upper) = memorySizes(request.memoryMap)
    info.store(lower, at: 4)  // mem_lower
    info.store(upper, at: 8)  // mem_upper
    let line = try CommandLine.bytes(request.commandLine)
    info.store(UInt32(try placement.putLow("command line", line)), at: 16)  // cmdline
    let modules = request.allModules
    if !modules.isEmpty {
      flags |= 1 << 3
      let list = try placeModules(modules, in: &placement)
      info.store(UInt32(modules.count), at: 20)  // mods_count
      info.store(UInt32(list), at: 24)  // mods_addr
    }
    let map = memoryMap(request.memoryMap)
    info.store(UInt32(map.count), at: 44)  // mmap_length
    info.store(UInt32(try placement.putLow("memory map", map)), at: 48)  // mmap_addr
    let name = Array("Roost".utf8) + [0]
    info.store(UInt32(try placement.putLow("loader's name", name)), at: 64)  // boot_loader_name
    info.store(flags, at: 0)
    return try placement.putLow("Multiboot information", info.bytes)
  }

  /// An array of module structures: start, end, string, reserved.
  private static func placeModules(
    _ modules: [(name: String, bytes: [UInt8], commandLine: String)],
    in placement: inout Placement
  ) throws(BootError) -> UInt64 {
    var list = Structure(count: modules.count * 16)
    for (index, module) in modules.enumerated() {
      let start = try placement.putHigh(module.name, module.bytes, below: 0xFFFF_F000)
      let line = try CommandLine.bytes(module.commandLine)
      list.store(UInt32(start), at: index * 16)
      list.store(UInt32(start + UInt64(module.bytes.count)), at: index * 16 + 4)
      list.store(UInt32(try placement.putLow("module's command line", line)), at: index * 16 + 8)
    }
    return try placement.putLow("module list", list.bytes)
  }

  /// An array of memory map entries, each preceded by its size.
  private static func memoryMap(_ map: [MemoryRange]) -> [UInt8] {
    var table = Structure(count: map.count * 24)
    for (index, range) in map.enumerated() {
      table.store(20 as UInt32, at: index * 24)
      table.store(range.start, at: index * 24 + 4)
      table.store(range.size, at: index * 24 + 12)
      table.store(range.kind.rawValue, at: index * 24 + 20)
    }
    return table.bytes
  }

  /// RAM from 0 and from 1 MiB on up to the first hole, in KiB.
  private static func memorySizes(_ map: [MemoryRange]) -> (lower: UInt32, upper: UInt32) {
    func kibibytes(from start: UInt64) -> UInt64 {
      let range = map.first {
        $0.kind == .usable && $0.start <= start && start - $0.start < $0.size
      }
      return range.map { ($0.size - (start - $0.start)) >> 10 } ?? 0
    }
    let lower = Swift.min(kibibytes(from: 0), 640)
    return (UInt32(lower), UInt32(clamping: kibibytes(from: 0x10_0000)))
  }
}
