/// A Linux kernel in the form that unpacks itself: real-mode setup code with a header, then the
/// protected-mode kernel (Linux Documentation/arch/x86/boot.rst, "The Linux/x86 Boot Protocol").
struct BzImage {
  let header: SetupHeader
  /// The protected-mode kernel.
  private let code: ArraySlice<UInt8>
  private let release: String

  static func isRecognised(_ file: FileBytes) -> Bool {
    file.has("HdrS", at: 0x202) && file.has([0x55, 0xAA], at: 0x1FE)
  }

  init(_ file: FileBytes) throws(BootError) {
    header = try SetupHeader(file)
    let start = header.codeOffset
    guard file.count > start else {
      throw .damaged(
        "The kernel is cut short: its code starts at offset \(start), the file has "
          + "\(file.count) bytes.")
    }
    // `syssize` is not to be trusted before 2.04; what follows it may be a signature.
    // It counts paragraphs of 16 bytes, and not every kernel (memtest86+) fills the last one.
    let rest = file.count - start
    let said = header.codeSize ?? rest
    let count = said > rest && said - rest < 16 ? rest : said
    code = try file.slice(at: start, count: count, of: "protected-mode code")
    release = Self.release(file, header)
  }

  // MARK: - The plan

  func plan(_ request: BootRequest, in mode: EntryState.Mode) throws(BootError) -> BootPlan {
    guard request.modules.isEmpty else {
      throw .badRequest("A Linux bzImage takes an initrd, but no modules.")
    }
    guard mode == .protected32 || header.has64BitEntry else {
      throw .badRequest("The kernel has no 64-bit entry point; leave the choice to Roost.")
    }
    var placement = try Placement(request)
    let load = try place(in: &placement)
    var parameters = BootParameters(copying: header)
    parameters.codeStart = UInt32(load)
    let address = try parameters.complete(
      for: request, commandLineLimit: header.commandLineLimit, initrdLimit: initrdLimit(in: mode),
      in: &placement)
    let registers = EntryState.GeneralRegisters(rsi: address)
    let state =
      switch mode {
      case .protected32: try EntryState.protected32(at: load, registers, &placement)
      case .long64:
        try EntryState.long64(at: load + Self.entry64Offset, registers, &placement)
      }
    let width = mode == .long64 ? "64" : "32"
    return BootPlan(
      description: "Linux \(release) bzImage, boot protocol \(header.versionName), "
        + "\(width)-bit entry at \(hex(state.instructionPointer))",
      segments: placement.segments, start: .entry(state))
  }

  /// Puts the code where it wants to run, or where it moves away from, with all the room up to the
  /// end of the memory it needs to unpack itself.
  private func place(in placement: inout Placement) throws(BootError) -> UInt64 {
    let load = try header.loadAddress()
    let needed = Swift.max(header.initSize, UInt64(code.count))
    guard let work = Range(at: header.runtimeStart(loadedAt: load), size: needed) else {
      throw .damaged("The kernel is damaged: it wants to run at the end of all addresses.")
    }
    let room = work.upperBound > load ? work.upperBound - load : 0
    try placement.put("kernel", code, at: load, room: room)
    return load
  }

  /// The first address that an initrd may not touch. Entered in 64-bit mode, kernels that say so
  /// take it from anywhere; those entered in 32-bit mode must reach it without paging.
  private func initrdLimit(in mode: EntryState.Mode) -> UInt64 {
    if mode == .long64 && header.canBeLoadedAbove4G { return .max }
    return header.initrdLimit
  }

  /// The distance of the 64-bit entry point from the load address (boot.rst, "64-bit Boot
  /// Protocol").
  private static let entry64Offset: UInt64 = 0x200

  /// The release that `kernel_version` points to, as far as it is plain text.
  private static func release(_ file: FileBytes, _ header: SetupHeader) -> String {
    guard header.versionText != 0,
      let text = file.slice(ifPresentAt: UInt64(header.versionText) + 0x200, count: 64)
    else { return "(unnamed)" }
    let word = text.prefix { $0 > 0x20 && $0 < 0x7F }
    return word.isEmpty ? "(unnamed)" : String(decoding: word, as: UTF8.self)
  }
}
