import ArchitectureX86

/// One line of `roost cpu step`: what a processor is to start from, and for how many instructions.
///
/// Documentation/ProcessorSteps.md says what a line may hold.
struct StepRequest {
  enum Mode: String, CaseIterable { case real16, prot16, prot32, long64 }

  var mode = Mode.long64
  /// A model's name, if the line has one.
  var model: String?
  var state: X86.State
  /// Bytes by address: what the line names.
  var memory = StepMemory()
  var count = 1
  /// Whether exceptions enter their handlers.
  var delivers = false
  /// Whether the page tables are the line's own, and so its addresses physical.
  var hasOwnTables = false
  /// Whether the line says what CR4 and XCR0 are; if not, they enable what the model has.
  private var hasCR4 = false
  private var hasXCR0 = false

  private static let generalNames = [
    "ax", "cx", "dx", "bx", "sp", "bp", "si", "di",
  ]
  static let registerNames =
    generalNames.map { "r" + $0 } + (8..<16).map { "r\($0)" }
  static let segmentNames = ["es", "cs", "ss", "ds", "fs", "gs"]

  /// The parts of a line that may stand beside `registers`, as well as in it.
  private static let groups: Set<String> = ["xmm", "ymm", "st", "mm", "x87", "control", "cr"]

  init(_ line: JSONText) throws(StepProblem) {
    guard case .object(var members) = line else {
      throw StepProblem("The line is not a JSON object.")
    }
    // A vector of a single-step test suite: what it starts from is in an object of its own.
    let isTestVector = members["initial"] != nil
    if let initial = members.removeValue(forKey: "initial") {
      for (name, value) in try initial.members("initial") { members[name] = value }
      mode = .real16
      delivers = true
    }
    if let name = try members["mode"]?.text("mode") {
      guard let known = Mode(rawValue: name) else {
        throw StepProblem(
          "There is no mode \"\(name)\": write real16, prot16, prot32 or long64.")
      }
      mode = known
    }
    state = .start(in: mode)
    if isTestVector { state.cr0 &= ~X86.CR0.numericError }
    model = try members["model"]?.text("model")
    if let value = members["count"] { count = Int(try value.unsigned("count", bits: 24)) }
    if let value = members["deliver"] {
      guard case .bool(let flag) = value else {
        throw StepProblem("\"deliver\" is not true or false.")
      }
      delivers = flag
    }
    for name in ["memory", "ram"] {
      if let value = members[name] { try takeMemory(value) }
    }
    if let value = members["gdtr"] { state.gdtr = try Self.table(value, "gdtr") }
    if let value = members["idtr"] { state.idtr = try Self.table(value, "idtr") }
    for name in ["registers", "regs"] {
      guard let value = members[name] else { continue }
      for (register, value) in try value.sortedMembers(name) { try take(register, value) }
    }
    for (name, value) in members.sorted(by: { $0.key < $1.key }) { try takeMember(name, value) }
    try settleFlags(members)
    if let value = members["segments"] {
      for (name, value) in try value.sortedMembers("segments") { try takeSegment(name, value) }
    }
    settleX87()
  }

  private mutating func takeMember(_ name: String, _ value: JSONText) throws(StepProblem) {
    switch name {
    case "mode", "model", "count", "deliver", "memory", "ram", "gdtr", "idtr", "registers", "regs",
      "segments", "flags", "rflags", "eflags":
      return
    // Of our own answers, and of test vectors: of no meaning here.
    case "executed", "exception", "halted", "shutdown", "id", "name", "bytes", "final", "cycles",
      "hash",
      "queue", "idx", "test_hash", "comment", "opcode":
      return
    case "msrs":
      for (index, value) in try value.members(name) {
        let index = UInt32(try JSONText.string(index).unsigned(name, bits: 32))
        let number = try value.unsigned(name)
        if index == X86.MSR.efer {
          state.efer = number
        } else {
          state.msrs.removeAll { $0.index == index }
          state.msrs.append(X86.MSRValue(index: index, value: number))
        }
      }
    case "ldtr", "tr":
      let segment = try self.segment(value, name, system: true)
      if name == "tr" { state.tr = segment } else { state.ldtr = segment }
    case _ where Self.groups.contains(name):
      if case .array(let elements) = value {
        for (index, element) in elements.enumerated() { try take(name + "\(index)", element) }
      } else {
        for (register, value) in try value.sortedMembers(name) {
          let isNumber = register.first?.isNumber ?? false
          try take(isNumber ? name + register : register, value)
        }
      }
    default:
      guard try takeRegister(name, value) else {
        throw StepProblem("\"\(name)\" is none of a line's members.")
      }
    }
  }

  // MARK: - Registers

  private mutating func take(_ name: String, _ value: JSONText) throws(StepProblem) {
    guard try takeRegister(name, value) else {
      throw StepProblem("There is no register \"\(name)\".")
    }
  }

  /// `false` if there is no such register.
  private mutating func takeRegister(_ name: String, _ value: JSONText) throws(StepProblem) -> Bool
  {
    if let number = Self.registerNames.firstIndex(of: name) {
      state.registers[number] = try value.unsigned(name)
      return true
    }
    if name.hasPrefix("e"), let number = Self.generalNames.firstIndex(of: String(name.dropFirst()))
    {
      state.registers[number] = try value.unsigned(name, bits: 32)
      return true
    }
    if let number = Self.generalNames.firstIndex(of: name) {
      state.registers[number] = try value.unsigned(name, bits: 16)
      return true
    }
    if Self.segmentNames.contains(name) {
      try takeSegment(name, value)
      return true
    }
    switch name {
    case "rip", "eip", "ip": state.rip = try value.unsigned(name)
    case "rflags", "eflags", "flags": try takeFlags(value, name)
    case "cr0": state.cr0 = try value.unsigned(name)
    case "cr2": state.cr2 = try value.unsigned(name)
    case "cr3":
      state.cr3 = try value.unsigned(name)
      hasOwnTables = mode != .long64 || state.cr3 != StepMachine.tables
    case "cr4":
      state.cr4 = try value.unsigned(name)
      hasCR4 = true
    case "cr8": state.cr8 = try value.unsigned(name, bits: 4)
    case "efer": state.efer = try value.unsigned(name)
    case "xcr0":
      state.xcr0 = try value.unsigned(name)
      hasXCR0 = true
    case "fs_base": state.segments[4].base = try value.unsigned(name)
    case "gs_base": state.segments[5].base = try value.unsigned(name)
    case "dr0", "dr1", "dr2", "dr3":
      state.debug[Int(String(name.last!))!] = try value.unsigned(name)
    case "dr6": state.debug[4] = try value.unsigned(name)
    case "dr7": state.debug[5] = try value.unsigned(name)
    default: return try takeVector(name, value)
    }
    return true
  }

  private var givenFlags: (name: String, value: UInt64)?

  private mutating func takeFlags(_ value: JSONText, _ name: String) throws(StepProblem) {
    let flags = try value.unsigned(name) | X86.Flags.reserved1
    if let givenFlags, givenFlags.value != flags {
      throw StepProblem("\"\(givenFlags.name)\" and \"\(name)\" are different flags.")
    }
    givenFlags = (name, flags)
  }

  private mutating func settleFlags(_ members: [String: JSONText]) throws(StepProblem) {
    for name in ["flags", "rflags", "eflags"] {
      if let value = members[name] { try takeFlags(value, name) }
    }
    if let givenFlags { state.rflags = givenFlags.value }
  }

  // MARK: - Vector and x87 registers: their places in an XSAVE area, SDM Vol. 1 Table 10-2 and §13.4

  private var givenStack: UInt8 = 0
  private var givenMMX: [(Int, [UInt8])] = []
  private var hasTags = false

  private mutating func takeVector(_ name: String, _ value: JSONText) throws(StepProblem) -> Bool {
    let letters = name.prefix { !$0.isNumber }
    let number = Int(name.dropFirst(letters.count))
    switch (letters, number) {
    case ("xmm", .some(0..<16)):
      place(try value.wide(name, bytes: 16), at: 160 + 16 * number!)
    case ("ymm", .some(0..<16)):
      let bytes = try value.wide(name, bytes: 32)
      place(Array(bytes[..<16]), at: 160 + 16 * number!)
      place(Array(bytes[16...]), at: 576 + 16 * number!)
    case ("st", .some(0..<8)):
      place(try value.wide(name, bytes: 10), at: 32 + 16 * number!)
      givenStack |= 1 << UInt8(number!)
    case ("mm", .some(0..<8)): givenMMX.append((number!, try value.wide(name, bytes: 8)))
    case ("mxcsr", nil): place(try value.wide(name, bytes: 4), at: 24)
    case ("fcw", nil): place(try value.wide(name, bytes: 2), at: 0)
    case ("fsw", nil): place(try value.wide(name, bytes: 2), at: 2)
    case ("ftw", nil):
      place([UInt8(try value.unsigned(name, bits: 8))], at: 4)
      hasTags = true
    case ("fop", nil): place(try value.wide(name, bytes: 2), at: 6)
    case ("fip", nil): place(try value.wide(name, bytes: 8), at: 8)
    case ("fdp", nil): place(try value.wide(name, bytes: 8), at: 16)
    default: return false
    }
    return true
  }

  private mutating func place(_ bytes: [UInt8], at offset: Int) {
    state.xsave.replaceSubrange(offset..<offset + bytes.count, with: bytes)
  }

  /// Registers that were given are not empty, unless the tags were given too; MMX registers lie in those of the x87
  /// FPU by their fixed numbers.
  private mutating func settleX87() {
    let top = Int(state.xsave[3] >> 3 & 7)
    if !hasTags {
      for index in 0..<8 where givenStack >> UInt8(index) & 1 != 0 {
        state.xsave[4] |= 1 << UInt8((index + top) & 7)
      }
    }
    guard givenStack == 0 else { return }
    for (number, bytes) in givenMMX {
      place(bytes + [0xff, 0xff], at: 32 + 16 * ((number - top) & 7))
      if !hasTags { state.xsave[4] |= 1 << UInt8(number) }
    }
  }

  // MARK: - Segments and tables

  private mutating func takeSegment(_ name: String, _ value: JSONText) throws(StepProblem) {
    switch name {
    case "gdtr": state.gdtr = try Self.table(value, name)
    case "idtr": state.idtr = try Self.table(value, name)
    case "ldtr": state.ldtr = try segment(value, name, system: true)
    case "tr": state.tr = try segment(value, name, system: true)
    default:
      guard let index = Self.segmentNames.firstIndex(of: name) else {
        throw StepProblem("There is no segment register \"\(name)\".")
      }
      state.segments[index] = try segment(value, name, system: false)
    }
  }

  /// A selector, or an object of selector, base, limit and attributes; what is missing follows from the selector.
  private func segment(
    _ value: JSONText, _ name: String, system: Bool
  ) throws(StepProblem) -> X86.Segment {
    guard case .object(let members) = value else {
      return segment(UInt16(try value.unsigned(name, bits: 16)), name, system)
    }
    for member in members.keys where !["selector", "base", "limit", "attributes"].contains(member) {
      throw StepProblem(
        "A segment has no \"\(member)\": write selector, base, limit and attributes.")
    }
    let selector = UInt16(try members["selector"]?.unsigned("selector", bits: 16) ?? 0)
    var segment = self.segment(selector, name, system)
    if members["selector"] == nil, mode != .real16 {
      segment = self.segment(name == "cs" ? 0x08 : 0x10, name, system)
      segment.selector = selector
    }
    if let base = try members["base"]?.unsigned("base") { segment.base = base }
    if let limit = try members["limit"]?.unsigned("limit", bits: 32) {
      segment.limit = UInt32(limit)
    }
    if let attributes = try members["attributes"]?.unsigned("attributes", bits: 17) {
      segment.attributes = UInt32(attributes)
    }
    return segment
  }

  /// What a register holds for a selector: as in real mode, or by its descriptor, or flat.
  private func segment(_ selector: UInt16, _ name: String, _ system: Bool) -> X86.Segment {
    let isVirtual = (givenFlags?.value ?? 0) & X86.Flags.virtual8086 != 0
    if !system, mode == .real16 || isVirtual {
      return X86.Segment(
        selector: selector, base: UInt64(selector) << 4, limit: 0xffff,
        attributes: isVirtual ? 0xf3 : name == "cs" ? 0x9b : 0x93)
    }
    if selector & 4 == 0, selector & ~7 != 0, let found = descriptor(selector) { return found }
    if system {
      return X86.Segment(
        selector: selector, base: 0, limit: 0xffff, attributes: name == "tr" ? 0x8b : 0x82)
    }
    if selector & ~3 == 0, name != "cs", name != "ss" {
      return X86.Segment(selector: selector, base: 0, limit: 0, attributes: 0x1_0000)
    }
    var segment = X86.Segment.flat(selector, code: name == "cs", mode)
    segment.attributes |= UInt32(selector & 3) << 5
    return segment
  }

  /// What loading the selector would find in the descriptor table that the line describes.
  private func descriptor(_ selector: UInt16) -> X86.Segment? {
    guard UInt32(selector | 7) <= UInt32(state.gdtr.limit) else { return nil }
    var value: UInt64 = 0
    for offset in 0..<8 as Range<UInt64> {
      let byte = memory[state.gdtr.base &+ UInt64(selector & ~7) &+ offset]
      value |= UInt64(byte) << (8 * offset)
    }
    guard value >> 47 & 1 != 0 else { return nil }
    let limit = UInt32(value & 0xffff | value >> 32 & 0xf_0000)
    let isScaled = value >> 55 & 1 != 0
    return X86.Segment(
      selector: selector, base: value >> 16 & 0xff_ffff | value >> 32 & 0xff00_0000,
      limit: isScaled ? limit << 12 | 0xfff : limit,
      attributes: UInt32(value >> 40 & 0xf0ff) | (value >> 44 & 1 != 0 ? 1 : 0))
  }

  private static func table(_ value: JSONText, _ name: String) throws(StepProblem) -> X86.Table {
    let members = try value.members(name)
    return X86.Table(
      base: try members["base"]?.unsigned("base") ?? 0,
      limit: UInt16(try members["limit"]?.unsigned("limit", bits: 16) ?? 0xffff))
  }

  // MARK: - Memory

  /// Objects of address and bytes, pairs of the two, or one object of bytes by address.
  private mutating func takeMemory(_ value: JSONText) throws(StepProblem) {
    switch value {
    case .object(let members):
      for (address, bytes) in members.sorted(by: { $0.key < $1.key }) {
        try place(bytes, at: .string(address))
      }
    case .array(let entries):
      for entry in entries {
        switch entry {
        case .array(let pair):
          guard pair.count == 2 else {
            throw StepProblem("An entry of \"memory\" is not a pair of an address and bytes.")
          }
          try place(pair[1], at: pair[0])
        default:
          let members = try entry.members("memory")
          guard let address = members["address"], let bytes = members["bytes"] else {
            throw StepProblem("An entry of \"memory\" has no \"address\" or no \"bytes\".")
          }
          try place(bytes, at: address)
        }
      }
    default: throw StepProblem("\"memory\" is not an array or object.")
    }
  }

  private mutating func place(_ value: JSONText, at place: JSONText) throws(StepProblem) {
    let address = try place.unsigned("address")
    if case .number = value {
      memory.set([UInt8(try value.unsigned("memory", bits: 8))], at: address)
    } else {
      memory.set(try value.bytes("bytes"), at: address)
    }
  }
}

// MARK: - What is not given

extension StepRequest {
  /// The state to start from on a model.
  func state(on model: X86.CPUModel) -> X86.State {
    var state = state
    if !hasXCR0 { state.xcr0 = model.features.stateComponents }
    if !hasCR4 {
      if !model.features.hasXSAVE { state.cr4 &= ~X86.CR4.xsave }
      if !model.features.hasFSGSBASE { state.cr4 &= ~X86.CR4.fsgsbase }
    }
    return state
  }
}

extension X86.Segment {
  /// The whole address space, with the rights of privilege level 0.
  fileprivate static func flat(
    _ selector: UInt16, code: Bool, _ mode: StepRequest.Mode
  ) -> X86.Segment {
    let size: UInt32 =
      switch mode {
      case .real16, .prot16: 0x8000
      case .prot32: 0xc000
      case .long64: code ? 0xa000 : 0xc000
      }
    return X86.Segment(
      selector: selector, base: 0, limit: 0xffff_ffff, attributes: size | (code ? 0x9b : 0x93))
  }
}

extension X86.State {
  /// A processor in a mode, all else as plain as it can be.
  fileprivate static func start(in mode: StepRequest.Mode) -> X86.State {
    var xsave = [UInt8](repeating: 0, count: 832)
    xsave.replaceSubrange(0..<2, with: [0x7f, 0x03])
    xsave.replaceSubrange(24..<26, with: [0x80, 0x1f])
    xsave[512] = 7
    let isLong = mode == .long64
    let segments = (0..<6).map { index in
      mode == .real16
        ? X86.Segment(selector: 0, base: 0, limit: 0xffff, attributes: index == 1 ? 0x9b : 0x93)
        : X86.Segment.flat(index == 1 ? 0x08 : 0x10, code: index == 1, mode)
    }
    return X86.State(
      registers: [UInt64](repeating: 0, count: 16), rip: 0, rflags: X86.Flags.reserved1,
      segments: segments,
      ldtr: X86.Segment(selector: 0, base: 0, limit: 0, attributes: 0x1_0000),
      tr: X86.Segment(selector: 0, base: 0, limit: 0xffff, attributes: 0x8b),
      gdtr: X86.Table(base: 0, limit: 0),
      idtr: X86.Table(base: 0, limit: mode == .real16 ? 0x3ff : 0),
      cr0: X86.CR0.extensionType | X86.CR0.numericError
        | (mode == .real16 ? 0 : X86.CR0.protection)
        | (isLong ? X86.CR0.paging | X86.CR0.writeProtect : 0),
      cr2: 0, cr3: isLong ? StepMachine.tables : 0,
      cr4: X86.CR4.fxsave | X86.CR4.simdExceptions | X86.CR4.xsave | X86.CR4.fsgsbase
        | (isLong ? X86.CR4.physicalAddressExtension : 0),
      cr8: 0, debug: [0, 0, 0, 0, 0xffff_0ff0, 0x400],
      efer: isLong
        ? X86.EFER.longModeEnable | X86.EFER.longModeActive | X86.EFER.executeDisable
          | X86.EFER.systemCall : 0,
      xcr0: 7, msrs: [], xsave: xsave, tsc: 0, activity: .active, events: X86.PendingEvents(),
      apic: nil)
  }
}
