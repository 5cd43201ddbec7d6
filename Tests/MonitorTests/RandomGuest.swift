import ArchitectureX86
import Kit

/// A guest made by chance: code that is random but dense in real instructions, tables that work more often
/// than not, and processors in any mode. What it does makes no sense; that is its purpose.
///
/// Whatever exception it meets, its handlers jump to some other place in its code, so that it goes on.
struct RandomGuest {
  /// What lies where in its memory. The code is the same in all modes; all of it is below 64 KiB × 3, so
  /// that real mode reaches it.
  private enum Place {
    static let globalTable: UInt64 = 0x5000
    static let taskState: UInt64 = 0x5800
    static let stack: UInt64 = 0x8000
    static let pageTables: UInt64 = 0x10000
    static let interruptTables: UInt64 = 0x1_c000
    static let handlers: UInt64 = 0x1_f000
    static let code: UInt64 = 0x2_0000
    static let codeCount = 0x4000
  }

  enum Mode: UInt64, CaseIterable { case real, protected16, protected32, paged32, pae, long }

  private var chance: Chance
  let mode: Mode
  private(set) var pieces: [(address: UInt64, bytes: [UInt8])] = []

  init(seed: UInt64) {
    chance = Chance(seed: seed)
    mode = Mode(rawValue: chance.number(below: 6)) ?? .long
    addTables()
    addHandlers()
    var code = RandomCode(chance: chance, addresses: Self.addresses)
    pieces.append((Place.code, code.bytes(Place.codeCount, is64Bit: mode == .long)))
    chance = code.chance
    if chance.number(below: 8) == 0 { damageTables() }
  }

  /// Where something is, or ends, or is not: edges of RAM and ROM, devices, the hole, pages of its own.
  private static let addresses: [UInt64] = [
    0, 0x400, 0xfff, 0x1000, Place.globalTable, Place.taskState, Place.stack, Place.pageTables,
    Place.interruptTables, Place.handlers, Place.code, Place.code + 0xffd, Place.code + 0x1ffa,
    0x9_fffc, 0xa_0000, 0xb_8000, 0xe_0000, 0xf_fffc, 0x10_0000, 0x12_3456, 0x7f_fffc, 0x80_0000,
    0x80_0ffe, 0xb000_0000, 0xb000_0ffd, 0xbfff_fffc, 0xc000_0000, 0xfec0_0000, 0xfec0_0010,
    0xfed0_0000, 0xfed0_00f0, 0xfed0_0100, 0xfed0_03fc, 0xfee0_0000, 0xfee0_0020, 0xfee0_00b0,
    0xfee0_0300, 0xfee0_0310, 0xfee0_0320, 0xfee0_0380, 0xfee0_03e0, 0xfee0_0ffc, 0xffff_0000,
    0xffff_fff0, 0xffff_fffc, 0x1_0000_0000, 0x7fff_ffff_fffc, 0xffff_8000_0000_0000,
    0xffff_ffff_ffff_fff0,
  ]
}

// MARK: - Tables

extension RandomGuest {
  private enum Selector {
    static let code64: UInt16 = 0x08
    static let data: UInt16 = 0x10
    static let code32: UInt16 = 0x18
    static let code16: UInt16 = 0x20
    static let userCode32: UInt16 = 0x28 | 3
    static let userData: UInt16 = 0x30 | 3
    static let userCode64: UInt16 = 0x38 | 3
    static let task: UInt16 = 0x40
  }

  private mutating func addTables() {
    var table: [UInt64] = [
      0, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_9b00_0000_ffff,
      0x0002_9b00_0000_ffff,  // its base: Place.code
      0x00cf_fb00_0000_ffff, 0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff,
      0x0000_8900_5800_0067, 0,  // available task state, 64-bit in long mode
      0x0000_8200_5000_007f, 0,  // a local table: this one
      // a call gate
      0x0000_ec00_0008_0000 | Place.handlers & 0xffff | (Place.handlers >> 16) << 48, 0,
    ]
    while table.count < 32 { table.append(chance.next()) }
    pieces.append((Place.globalTable, table.flatMap(\.littleEndianBytes)))
    pieces.append(
      (
        Place.taskState,
        [UInt64](repeating: Place.stack << 32 | Place.stack, count: 13).flatMap(\.littleEndianBytes)
      ))
    addInterruptTable()
    addPageTables()
  }

  /// One gate for each vector, most of them to a handler of ours.
  private mutating func addInterruptTable() {
    var bytes: [UInt8] = []
    let selector = mode == .long ? Selector.code64 : Selector.code32
    for _ in 0..<256 {
      let handler = Place.handlers + chance.number(below: 16) * 32
      let type: UInt64 = chance.number(below: 8) == 0 ? 0x8f : 0xee
      var gate =
        handler & 0xffff | UInt64(selector) << 16 | type << 40 | (handler >> 16 & 0xffff) << 48
      if chance.number(below: 64) == 0 { gate ^= 1 << chance.number(below: 64) }
      bytes += gate.littleEndianBytes
      if mode == .long { bytes += (0 as UInt64).littleEndianBytes }
    }
    pieces.append((Place.interruptTables, bytes))
    // Real mode's: the handlers, by segment and offset.
    var vectors: [UInt8] = []
    for _ in 0..<256 {
      let handler = Place.handlers + chance.number(below: 16) * 32
      vectors += UInt32((handler >> 4) << 16).littleEndianBytes
    }
    pieces.append((0, vectors))
  }

  /// The first GiB and the one below 4 GiB, each address its own, for every kind of paging; with holes.
  private mutating func addPageTables() {
    let root = Place.pageTables
    let directories = root + 0x2000
    switch mode {
    case .real, .protected16, .protected32: return
    case .paged32:
      add((0..<1024).map { UInt32(truncatingIfNeeded: entry(of: $0 << 22)) }, at: root)
    case .pae:
      add((0..<4).map { directories + UInt64($0) * 0x1000 | 1 }, at: root)
    case .long:
      add([root + 0x1000 | 7], at: root)
      var top = (0..<512).map { $0 < 4 ? directories + UInt64($0) * 0x1000 | 7 : 0 }
      top[511] = chance.next() & 0x8000_00ff_ffff_ffff
      add(top, at: root + 0x1000)
    }
    guard mode != .paged32 else { return }
    for directory in 0..<UInt64(4) {
      add(
        (0..<512).map { entry(of: (directory << 30) + (UInt64($0) << 21)) },
        at: directories + directory * 0x1000)
    }
  }

  private mutating func entry(of address: UInt64) -> UInt64 {
    // Where its own tables and code are nothing is left to chance.
    guard address != 0, chance.number(below: 12) == 0 else { return address | 0x87 }
    return switch chance.number(below: 6) {
    case 0: address | 0x81
    case 1: address | 0x183
    case 2: Place.pageTables | 7  // the tables themselves, as a table
    case 3: 0xfee0_0000 | 7  // a device, as a table
    case 4: 0x7000_0000 | 7  // nothing, as a table
    default: chance.next()
    }
  }

  private mutating func add<T: FixedWidthInteger>(_ entries: [T], at address: UInt64) {
    pieces.append((address, entries.flatMap(\.littleEndianBytes)))
  }

  /// Changes a few bits anywhere in the tables.
  private mutating func damageTables() {
    for _ in 0..<4 {
      let piece = Int(chance.number(below: UInt64(pieces.count)))
      let byte = Int(chance.number(below: UInt64(pieces[piece].bytes.count)))
      pieces[piece].bytes[byte] ^= 1 << UInt8(chance.number(below: 8))
    }
  }
}

// MARK: - Handlers

extension RandomGuest {
  /// Sixteen handlers: each restores the stack, and goes on at a place in the code that the time-stamp
  /// counter chooses.
  private mutating func addHandlers() {
    var bytes: [UInt8] = []
    for _ in 0..<16 {
      var handler: [UInt8]
      switch mode {
      case .real, .protected16:
        // mov sp, 7ff0h; rdtsc; and ax, 3fffh; mov cx, 2000h; push cx; push ax; retf
        handler = [
          0xbc, 0xf0, 0x7f, 0x0f, 0x31, 0x25, 0xff, 0x3f, 0xb9, 0x00, 0x20, 0x51, 0x50, 0xcb,
        ]
      case .protected32, .paged32, .pae:
        // mov esp, 7ff0h; rdtsc; and eax, 3fffh; add eax, 20000h; jmp eax
        handler = [
          0xbc, 0xf0, 0x7f, 0x00, 0x00, 0x0f, 0x31, 0x25, 0xff, 0x3f, 0x00, 0x00, 0x05, 0x00,
          0x00, 0x02, 0x00, 0xff, 0xe0,
        ]
      case .long:
        // The same; sometimes it returns instead, which repeats a fault for ever: iretq.
        handler =
          chance.number(below: 32) == 0
          ? [0x48, 0xcf]
          : [
            0xbc, 0xf0, 0x7f, 0x00, 0x00, 0x0f, 0x31, 0x25, 0xff, 0x3f, 0x00, 0x00, 0x05, 0x00,
            0x00, 0x02, 0x00, 0xff, 0xe0,
          ]
      }
      handler += [UInt8](repeating: 0x90, count: 32 - handler.count)
      bytes += handler
    }
    pieces.append((Place.handlers, bytes))
  }
}

// MARK: - Processors

extension RandomGuest {
  /// A processor of this guest, over the power-on state.
  mutating func state(from powerOn: X86.State) -> X86.State {
    var state = powerOn
    state.registers = (0..<16).map { _ in
      chance.number(below: 2) == 0
        ? chance.value() : Self.addresses[Int(chance.number(below: UInt64(Self.addresses.count)))]
    }
    state.registers[X86.Register.rsp.rawValue] = Place.stack - 16
    state.rip = chance.number(below: UInt64(Place.codeCount))
    state.rflags = chance.next() & 0x24_7ed5 | 2
    if chance.number(below: 4) != 0 { state.rflags &= ~X86.Flags.trap }
    state.gdtr = X86.Table(base: Place.globalTable, limit: 0xff)
    state.xcr0 = [1, 3, 7, 7][Int(chance.number(below: 4))]
    state.cr4 = 0x600 | (chance.number(below: 2) << 18) | (chance.number(below: 2) << 7)
    state.cr0 = X86.CR0.extensionType | X86.CR0.numericError
    state.efer = 0
    state.activity = .active
    if chance.number(below: 2) == 0 { startTimer(&state.apic) } else { state.apic = nil }
    if mode == .real {
      setParagraphs(&state)
    } else {
      setProtected(&state)
    }
    if chance.number(below: 16) == 0 { contradict(&state) }
    return state
  }

  /// A local APIC whose timer interrupts all the time; registers lie 16 bytes apart (SDM Vol. 3A Table 11-1).
  private mutating func startTimer(_ apic: inout X86.APIC?) {
    apic?.registers[0xf0 / 16] = 0x1ff
    apic?.registers[0x320 / 16] = 0x2_0000 | UInt32(0x20 + chance.number(below: 0xc0))
    apic?.registers[0x380 / 16] = UInt32(1 << chance.number(below: 20))
    apic?.registers[0x3e0 / 16] = 0xb
    apic?.timerIsCounting = true
  }

  private mutating func setParagraphs(_ state: inout X86.State) {
    for segment in 0..<6 {
      let selector = UInt16(segment == 1 ? 0x2000 : chance.number(below: 4) * 0x3fff)
      state.segments[segment] = X86.Segment(
        selector: selector, base: UInt64(selector) << 4, limit: 0xffff,
        attributes: segment == 1 ? 0x9b : 0x93)
    }
    state.segments[2] = X86.Segment(selector: 0, base: 0, limit: 0xffff, attributes: 0x93)
    state.idtr = X86.Table(base: 0, limit: 0x3ff)
  }

  private mutating func setProtected(_ state: inout X86.State) {
    let isUser = mode != .protected16 && chance.number(below: 4) == 0
    let data = X86.Segment(
      selector: isUser ? Selector.userData : Selector.data, base: 0, limit: 0xffff_ffff,
      attributes: isUser ? 0xc0f3 : 0xc093)
    state.segments = [X86.Segment](repeating: data, count: 6)
    let level: UInt32 = isUser ? 0x60 : 0
    state.segments[1] =
      switch mode {
      case .long:
        X86.Segment(
          selector: isUser ? Selector.userCode64 : Selector.code64, base: 0, limit: 0xffff_ffff,
          attributes: 0xa09b | level)
      case .protected16:
        X86.Segment(
          selector: Selector.code16, base: Place.code, limit: 0xffff, attributes: 0x9b)
      default:
        X86.Segment(
          selector: isUser ? Selector.userCode32 : Selector.code32, base: 0, limit: 0xffff_ffff,
          attributes: 0xc09b | level)
      }
    if mode != .protected16 { state.rip += Place.code }
    state.tr = X86.Segment(
      selector: Selector.task, base: Place.taskState, limit: 0x67, attributes: 0x8b)
    state.idtr = X86.Table(
      base: Place.interruptTables, limit: mode == .long ? 0xfff : 0x7ff)
    state.cr0 |= X86.CR0.protection
    state.cr3 = Place.pageTables
    switch mode {
    case .real, .protected16, .protected32: return
    case .paged32: state.cr4 |= X86.CR4.pageSizeExtensions
    case .pae: state.cr4 |= X86.CR4.physicalAddressExtension
    case .long:
      state.cr4 |= X86.CR4.physicalAddressExtension
      state.efer = X86.EFER.longModeEnable | X86.EFER.longModeActive | X86.EFER.systemCall
    }
    state.cr0 |= X86.CR0.paging
    if chance.number(below: 2) == 0 { state.cr0 |= X86.CR0.writeProtect }
    if chance.number(below: 2) == 0 { state.efer |= X86.EFER.executeDisable }
  }

  /// Something that no processor should be in: the engine refuses it or lives with it.
  private mutating func contradict(_ state: inout X86.State) {
    let bit: UInt64 = 1 << chance.number(below: 64)
    switch chance.number(below: 8) {
    case 0: state.cr0 ^= bit
    case 1: state.cr4 ^= bit
    case 2: state.efer ^= bit
    case 3: state.rip ^= bit
    case 4: state.rflags ^= bit
    case 5: state.cr3 ^= bit
    case 6:
      let segment = Int(chance.number(below: 6))
      state.segments[segment].attributes ^= UInt32(truncatingIfNeeded: bit)
      state.segments[segment].base ^= bit
    default: state.xcr0 ^= bit
    }
  }
}

extension FixedWidthInteger {
  var littleEndianBytes: [UInt8] {
    (0..<Self.bitWidth / 8).map { UInt8(truncatingIfNeeded: self >> ($0 * 8)) }
  }
}
