/// Xen's x86/HVM direct boot ABI (Xen docs/misc/pvh.pandoc; structures in Xen
/// public/arch-x86/hvm/start_info.h): a 32-bit entry point in an ELF note, `hvm_start_info` in EBX.
extension ELFImage {
  func planPVH(_ request: BootRequest) throws(BootError) -> BootPlan {
    guard let pvhEntry else {
      throw .badRequest("The kernel has no PVH note; leave the choice of protocol to Roost.")
    }
    var placement = try Placement(request)
    try file.place(in: &placement)
    let entry = try file.checked(pvhEntry, "PVH entry point")
    let info = try StartInfo.place(request, in: &placement)
    let state = try EntryState.protected32(at: entry, .init(rbx: info), &placement)
    return BootPlan(
      description: "ELF kernel, PVH entry at \(hex(entry))",
      segments: placement.segments, start: .entry(state))
  }
}

extension ELFFile {
  /// The value of the note XEN_ELFNOTE_PHYS32_ENTRY (Xen public/elfnote.h), if there is one.
  func pvhEntry() throws(BootError) -> UInt64? {
    for note in try notes() where note.type == 18 && note.name.elementsEqual(Self.xen) {
      // Its size is that of an address of the file's class, but tools differ.
      let wide = note.value.load(UInt64.self, ifPresentAt: 0)
      guard let entry = wide ?? note.value.load(UInt32.self, ifPresentAt: 0).map(UInt64.init)
      else {
        throw .damaged("The kernel's PVH note holds \(note.value.count) bytes, not an address.")
      }
      guard entry < 1 << 32 else {
        throw .damaged("The kernel's PVH entry point \(hex(entry)) is not a 32-bit address.")
      }
      return entry
    }
    return nil
  }

  /// `Xen` and a zero.
  private static let xen: [UInt8] = [0x58, 0x65, 0x6E, 0x00]
}

/// `hvm_start_info`, version 1, with the lists it points to.
private enum StartInfo {
  /// Places modules, strings, lists and the structure itself, whose address it returns.
  static func place(
    _ request: BootRequest, in placement: inout Placement
  ) throws(BootError) -> UInt64 {
    let modules = request.allModules
    var list = Structure(count: modules.count * 32)
    for (index, module) in modules.enumerated() {
      let address = try placement.putHigh(module.name, module.bytes, below: 1 << 32)
      let line = try CommandLine.bytes(module.commandLine)
      list.store(address, at: index * 32)  // paddr
      list.store(UInt64(module.bytes.count), at: index * 32 + 8)  // size
      list.store(
        try placement.putLow("module's command line", line), at: index * 32 + 16)  // cmdline_paddr
    }
    var info = Structure(count: 56)
    info.store(0x336E_C578 as UInt32, at: 0)  // magic: XEN_HVM_START_MAGIC_VALUE
    info.store(1 as UInt32, at: 4)  // version
    if !modules.isEmpty {
      info.store(UInt32(modules.count), at: 12)  // nr_modules
      info.store(try placement.putLow("module list", list.bytes), at: 16)  // modlist_paddr
    }
    let line = try CommandLine.bytes(request.commandLine)
    info.store(try placement.putLow("command line", line), at: 24)  // cmdline_paddr
    info.store(request.rsdp ?? 0, at: 32)  // rsdp_paddr
    info.store(
      try placement.putLow("memory map", memoryMap(request.memoryMap)), at: 40)  // memmap_paddr
    info.store(UInt32(request.memoryMap.count), at: 48)  // memmap_entries
    return try placement.putLow("start info", info.bytes)
  }

  /// An array of `hvm_memmap_table_entry`.
  private static func memoryMap(_ map: [MemoryRange]) -> [UInt8] {
    var table = Structure(count: map.count * 24)
    for (index, range) in map.enumerated() {
      table.store(range.start, at: index * 24)
      table.store(range.size, at: index * 24 + 8)
      table.store(range.kind.rawValue, at: index * 24 + 16)
    }
    return table.bytes
  }
}

extension BootRequest {
  /// The initrd as the first module, then the others, with names for sentences.
  var allModules: [(name: String, bytes: [UInt8], commandLine: String)] {
    let first = initrd.map { [("initrd", $0, "")] } ?? []
    return first
      + modules.enumerated().map { ("module \($0 + 1)", $1.bytes, $1.commandLine) }
  }
}
