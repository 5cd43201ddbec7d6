/// An executable in the Executable and Linking Format (System V ABI edition 4.1, chapters 4 and 5),
/// for i386 or x86-64, with what is needed to put it into memory.
struct ELFFile {
  /// ELFCLASS64 rather than ELFCLASS32.
  let is64Bit: Bool
  /// `e_entry`, as the file says it.
  let entry: UInt64
  /// The segments of type PT_LOAD that occupy memory, in the file's order.
  let loadable: [ProgramHeader]
  private let noteSegments: [ProgramHeader]
  private let file: FileBytes

  /// One entry of the program header table: a segment.
  struct ProgramHeader {
    let type: UInt32
    let offset, virtualAddress, physicalAddress, fileSize, memorySize, alignment: UInt64
  }

  static func isRecognised(_ file: FileBytes) -> Bool {
    file.has([0x7F, 0x45, 0x4C, 0x46], at: 0)
  }

  init(_ file: FileBytes) throws(BootError) {
    self.file = file
    is64Bit = try Self.checkIdentification(file)
    try Self.checkType(file, is64Bit: is64Bit)
    entry = try Self.word(file, at: 0x18, is64Bit, "ELF header")
    let headers = try Self.programHeaders(file, is64Bit: is64Bit)
    loadable = headers.filter { $0.type == Self.load && $0.memorySize > 0 }
    noteSegments = headers.filter { $0.type == Self.note }
    guard !loadable.isEmpty else {
      throw .damaged("The kernel is an ELF file without a segment to load.")
    }
    for header in loadable where header.fileSize > header.memorySize {
      throw .damaged(
        "The kernel is damaged: its segment at \(hex(header.physicalAddress)) has "
          + "\(hex(header.fileSize)) bytes in the file for \(hex(header.memorySize)) in memory.")
    }
  }

  // MARK: - What loaders do with it

  /// Puts every segment at its physical address.
  func place(in placement: inout Placement) throws(BootError) {
    for header in loadable {
      let bytes = try file.slice(
        at: header.offset, count: header.fileSize,
        of: "segment for \(hex(header.physicalAddress))")
      try placement.put(
        "kernel's segment", bytes, zeroFill: header.memorySize - header.fileSize,
        at: header.physicalAddress)
    }
  }

  /// Checks that an entry point is a physical address inside a segment.
  func checked(_ entry: UInt64, _ name: String) throws(BootError) -> UInt64 {
    guard loadable.contains(where: { $0.physical?.contains(entry) ?? false }) else {
      throw .damaged("The kernel's \(name) \(hex(entry)) lies in none of its segments.")
    }
    return entry
  }

  /// The physical address of `e_entry`, which some linkers give as a virtual one.
  func physicalEntry() throws(BootError) -> UInt64 {
    for header in loadable where header.physical?.contains(entry) ?? false { return entry }
    for header in loadable {
      let (offset, below) = entry.subtractingReportingOverflow(header.virtualAddress)
      guard !below, offset < header.memorySize else { continue }
      let (physical, overflow) = header.physicalAddress.addingReportingOverflow(offset)
      if !overflow { return physical }
    }
    throw .damaged("The kernel's entry point \(hex(entry)) lies in none of its segments.")
  }

  /// The notes, up to a cap, in the file's order (System V ABI, "Note Section").
  func notes() throws(BootError) -> [Note] {
    var notes: [Note] = []
    for segment in noteSegments {
      let area = FileBytes(
        try file.slice(at: segment.offset, count: segment.fileSize, of: "note segment"))
      // GNU notes in 64-bit files may be aligned to 8; all others are to 4.
      let alignment: UInt64 = segment.alignment == 8 ? 8 : 4
      var offset: UInt64 = 0
      while notes.count < Self.noteLimit, let note = Note(in: area, at: offset, alignment) {
        notes.append(note)
        offset = note.end
      }
    }
    return notes
  }

  /// A note: what a linker tells a loader, under the name of the party that defined it.
  struct Note {
    let name: ArraySlice<UInt8>
    let type: UInt32
    let value: FileBytes
    /// Where the next one starts.
    let end: UInt64

    fileprivate init?(in area: FileBytes, at offset: UInt64, _ alignment: UInt64) {
      // The caller's offset is at most the area's size, and sizes are 32-bit: no sum overflows.
      guard let nameSize = area.load(UInt32.self, ifPresentAt: offset),
        let valueSize = area.load(UInt32.self, ifPresentAt: offset + 4),
        let type = area.load(UInt32.self, ifPresentAt: offset + 8),
        let name = area.slice(ifPresentAt: offset + 12, count: UInt64(nameSize)),
        let valueOffset = (offset + 12 + UInt64(nameSize)).aligned(up: alignment),
        let value = area.slice(ifPresentAt: valueOffset, count: UInt64(valueSize)),
        let end = (valueOffset + UInt64(valueSize)).aligned(up: alignment)
      else { return nil }
      self.name = name
      self.type = type
      self.value = FileBytes(value)
      self.end = end
    }
  }

  // MARK: - How it is read

  private static let load: UInt32 = 1
  private static let note: UInt32 = 4
  /// Far above what any kernel has; keeps a hostile header from costing time.
  private static let programHeaderLimit: UInt16 = 128
  private static let noteLimit = 1024

  /// `e_ident`: class, byte order, version.
  private static func checkIdentification(_ file: FileBytes) throws(BootError) -> Bool {
    let fileClass = try file.load(UInt8.self, at: 4, of: "ELF header")
    let byteOrder = try file.load(UInt8.self, at: 5, of: "ELF header")
    guard fileClass == 1 || fileClass == 2 else {
      throw .damaged("The kernel is an ELF file of unknown class \(fileClass).")
    }
    guard byteOrder == 1 else {
      throw .notAKernel("The kernel is an ELF file for big-endian machines, not for an x86-64 PC.")
    }
    return fileClass == 2
  }

  /// `e_type` and `e_machine`.
  private static func checkType(_ file: FileBytes, is64Bit: Bool) throws(BootError) {
    let type = try file.load(UInt16.self, at: 0x10, of: "ELF header")
    let machine = try file.load(UInt16.self, at: 0x12, of: "ELF header")
    guard machine == 3 || machine == 62 else {
      let names: [UInt16: String] = [
        8: "MIPS", 20: "PowerPC", 21: "PowerPC", 40: "Arm",
        183: "AArch64", 243: "RISC-V", 258: "LoongArch",
      ]
      throw .notAKernel(
        "The kernel is an ELF file for \(names[machine] ?? "machine \(machine)"), "
          + "not for an x86-64 PC.")
    }
    switch type {
    case 2, 3: return  // ET_EXEC, ET_DYN
    case 1: throw .notAKernel("The kernel is an object file that was never linked.")
    case 4: throw .notAKernel("The kernel is a core dump.")
    default: throw .damaged("The kernel is an ELF file of unknown type \(type).")
    }
  }

  private static func programHeaders(
    _ file: FileBytes, is64Bit: Bool
  ) throws(BootError) -> [ProgramHeader] {
    let table: UInt64 = try word(file, at: is64Bit ? 0x20 : 0x1C, is64Bit, "ELF header")
    let entrySize = try file.load(UInt16.self, at: is64Bit ? 0x36 : 0x2A, of: "ELF header")
    let count = try file.load(UInt16.self, at: is64Bit ? 0x38 : 0x2C, of: "ELF header")
    let needed: UInt16 = is64Bit ? 56 : 32
    guard count == 0 || entrySize == needed else {
      throw .damaged(
        "The kernel is damaged: its program headers have \(entrySize) bytes instead of \(needed).")
    }
    guard count <= programHeaderLimit else {
      throw .damaged(
        "The kernel has \(count) program headers; more than \(programHeaderLimit) are not loaded.")
    }
    let bytes = FileBytes(
      try file.slice(
        at: table, count: UInt64(count) * UInt64(needed), of: "program header table"))
    var headers: [ProgramHeader] = []
    for index in 0..<UInt64(count) {
      headers.append(try programHeader(bytes, at: index * UInt64(needed), is64Bit: is64Bit))
    }
    return headers
  }

  private static func programHeader(
    _ table: FileBytes, at start: UInt64, is64Bit: Bool
  ) throws(BootError) -> ProgramHeader {
    func field(_ offset64: UInt64, _ offset32: UInt64) throws(BootError) -> UInt64 {
      try word(table, at: start + (is64Bit ? offset64 : offset32), is64Bit, "program header")
    }
    return ProgramHeader(
      type: try table.load(at: start, of: "program header"),
      offset: try field(8, 4), virtualAddress: try field(16, 8),
      physicalAddress: try field(24, 12), fileSize: try field(32, 16),
      memorySize: try field(40, 20), alignment: try field(48, 28))
  }

  /// A field that is as wide as the file's addresses.
  private static func word(
    _ file: FileBytes, at offset: UInt64, _ is64Bit: Bool, _ part: String
  ) throws(BootError) -> UInt64 {
    is64Bit
      ? try file.load(UInt64.self, at: offset, of: part)
      : UInt64(try file.load(UInt32.self, at: offset, of: part))
  }
}

extension ELFFile.ProgramHeader {
  /// The physical addresses it fills; `nil` if they wrap around.
  var physical: Range<UInt64>? { Range(at: physicalAddress, size: memorySize) }
}
