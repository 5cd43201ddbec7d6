import ArchitectureX86
import Board
import Execution
import Glibc
import Kit
import Memory

/// A processor's state and what lies in memory, as a script has them: an operating system in little, with tables for every
/// mode, some of which the script then spoils.
struct ProcessorSetting {
  /// How many instructions are carried out at most.
  static let steps = 64

  let model: X86.CPUModel
  let mode: Mode
  private(set) var state: X86.State
  /// What lies in memory.
  private var image: MemoryImage

  enum Mode: Int { case real, protected16, protected32, virtual8086, compatibility, long }
  enum Paging: Int { case none, plain, pae }

  /// Where things lie in physical memory; each table has a page.
  enum Place {
    static let fourthLevel: UInt64 = 0x1000
    static let thirdLevel: UInt64 = 0x2000
    static let directory: UInt64 = 0x3000
    static let table: UInt64 = 0x4000
    static let plainDirectory: UInt64 = 0x5000
    static let plainTable: UInt64 = 0x6000
    static let directoryPointers: UInt64 = 0x8000
    static let afterTables: UInt64 = 0x9000
    static let descriptors: UInt64 = 0x10000
    static let interrupts: UInt64 = 0x11000
    static let taskState: UInt64 = 0x12000
    static let otherTaskState: UInt64 = 0x12800
    static let localDescriptors: UInt64 = 0x13000
    /// One for each vector, 16 bytes apart.
    static let handlers: UInt64 = 0x14000
    static let code: UInt64 = 0x18000
    static let data: UInt64 = 0x20000
    static let stack: UInt64 = 0x30000
    static let end: UInt64 = 0x40000
    static let device: UInt64 = 0xd000_0000
  }

  /// What registers that are meant to lead somewhere hold.
  private static let addresses: [UInt64] = [
    Place.data, Place.data + 0xffc, Place.data + 0x1ff8, Place.stack + 0x800, Place.code,
    Place.code + 0xff0, Place.descriptors, Place.interrupts, Place.taskState, Place.table,
    0x4fff8, 0x50000, 0x51000, 0x51300, 0x51ffe, 0x52ffc, 0x53000, 0x54000, 0x55000, 0x56000,
    0x56010,
    0x57000, Place.device, 0xfee0_0000, 0xffff_ffff_8000_0000 | Place.data, 1 << 47, 0xffff_fffc,
    0x20_0000, Place.end - 4,
  ]

  /// The code comes first, so that even a short script has some.
  init(_ script: inout Script) {
    let number = script.pick(X86.CPUModel.all.count)
    model = X86.CPUModel.all[number]
    let choice = script.byte()
    mode = Mode(rawValue: Int(choice & 0xf) % (model.features.hasLongMode ? 6 : 4))!
    let paging: Paging =
      switch mode {
      case .real: .none
      case .long, .compatibility: .pae
      // The oldest has neither PAE nor pages of 4 MiB.
      default: Paging(rawValue: Int(choice >> 4 & 3) % (number == 0 ? 2 : 3))!
      }
    let isUser = mode == .virtual8086 || mode != .real && choice & 0x40 != 0
    state = Self.state(mode, paging, isUser: isUser, model)
    image =
      switch mode {
      case .real: .real
      case .long, .compatibility: .long
      default: .legacy
      }
    let code = script.piece() + [0xf4]
    // Some of it lies in the next page.
    let start = Place.code + (choice & 0x80 == 0 ? 0 : 0xff0 + UInt64(script.byte() & 15))
    image.put(code, at: start)
    state.rip = state.segments[1].base == 0 ? start : start - Place.code
    vary(&script)
    for _ in 0..<script.pick(8) { spoil(&script) }
  }
}

// MARK: - Memory

extension ProcessorSetting {
  func makeMemory() -> GuestMemory {
    do {
      let memory = try GuestMemory([
        .init(start: GPA(0), count: Place.end),
        .init(start: GPA(Place.end), count: 0x1000, kind: .rom),
      ])
      try memory.write(image.bytes.span, at: GPA(0))
      return memory
    } catch {
      fatalError("There is memory for a guest: \(error)")
    }
  }

  func bytes(of memory: GuestMemory) -> [UInt8] {
    (try? memory.bytes(at: GPA(0), count: Int(Place.end))) ?? []
  }

  /// Whether the tables of paging are alike, but for what the processor itself notes in them.
  func hasSameTables(_ a: GuestMemory, _ b: GuestMemory) -> Bool {
    stride(from: Place.fourthLevel, to: Place.afterTables, by: 0x1000).allSatisfy { page in
      guard let ours = try? a.bytes(at: GPA(page), count: 0x1000),
        let theirs = try? b.bytes(at: GPA(page), count: 0x1000)
      else { return false }
      // Accessed and dirty, of an entry of four bytes or of eight. The pointers to directories have neither.
      let mask: UInt8 = page == Place.directoryPointers ? 0xff : ~0x60
      return areAlike(ours, theirs)
        || (0..<0x1000).allSatisfy { (ours[$0] ^ theirs[$0]) & ($0 & 3 == 0 ? mask : 0xff) == 0 }
    }
  }

  func makeBuses() -> Buses {
    let ports = IOBus(wideAccess: .split)
    let registers = IOBus(wideAccess: .refuse)
    ports.map(Echo(), at: 0x40..<0x80, region: 0)
    registers.map(Echo(), at: Place.device..<Place.device + 0x1000, region: 0)
    return Buses(ports: ports, registers: registers)
  }

  /// Changes an entry of a table, or data.
  private mutating func spoil(_ script: inout Script) {
    let places = [
      Place.table, Place.directory, Place.plainTable, Place.plainDirectory, Place.directoryPointers,
      Place.fourthLevel, Place.descriptors, Place.interrupts, Place.taskState,
      Place.localDescriptors,
      Place.data, 0,
    ]
    let place = places[script.pick(places.count)] + 8 * UInt64(script.byte())
    var value = script.value()
    // As it was, but for one bit.
    if script.flag() { value = image.number(at: place) ^ 1 << (value & 63) }
    image.put(value, at: place)
  }
}

/// Reads as its offset.
private final class Echo: IODevice {
  func read(_ access: Access) throws(IOError) -> UInt64 { access.offset & access.width.mask }
  func write(_ value: UInt64, _ access: Access) throws(IOError) {}
}

// MARK: - The processor

extension ProcessorSetting {
  private static func state(
    _ mode: Mode, _ paging: Paging, isUser: Bool, _ model: X86.CPUModel
  ) -> X86.State {
    let isLong = mode == .long || mode == .compatibility
    let is16Bit = mode == .real || mode == .virtual8086
    func segment(_ selector: UInt16, base: UInt64, _ attributes: UInt32) -> X86.Segment {
      X86.Segment(
        selector: selector, base: base, limit: attributes & 0x8000 != 0 ? .max : 0xffff,
        attributes: attributes)
    }
    let privilege: UInt32 = isUser ? 0x60 : 0
    let code =
      switch mode {
      case .real: segment(UInt16(Place.code >> 4), base: Place.code, 0x9b)
      case .virtual8086: segment(UInt16(Place.code >> 4), base: Place.code, 0xf3)
      case .protected16: segment(isUser ? 0x3b : 0x38, base: Place.code, 0x9b | privilege)
      case .protected32, .compatibility: segment(isUser ? 0x23 : 0x10, base: 0, 0xc09b | privilege)
      case .long: segment(isUser ? 0x33 : 0x08, base: 0, 0xa09b | privilege)
      }
    func data(_ base: UInt64) -> X86.Segment {
      is16Bit
        ? segment(UInt16(base >> 4), base: base, 0x93 | privilege)
        : segment(isUser ? 0x2b : 0x18, base: 0, 0xc093 | privilege)
    }
    let segments = [
      data(Place.data), code, data(Place.stack), data(Place.data), data(Place.data),
      data(Place.data),
    ]
    var cr0: UInt64 = 0x30
    if mode != .real { cr0 |= X86.CR0.protection }
    if paging != .none { cr0 |= X86.CR0.paging }
    var registers = [UInt64](repeating: 0, count: 16)
    registers[4] = is16Bit ? 0x7ff0 : Place.stack + 0x7ff0
    return X86.State(
      registers: registers, rip: 0, rflags: mode == .virtual8086 ? 0x2_0002 : 2, segments: segments,
      ldtr: X86.Segment(
        selector: 0x50, base: Place.localDescriptors, limit: 0xff, attributes: 0x82),
      tr: X86.Segment(selector: 0x40, base: Place.taskState, limit: 0x200, attributes: 0x8b),
      gdtr: X86.Table(base: Place.descriptors, limit: 0x9f),
      idtr: mode == .real
        ? X86.Table(base: 0, limit: 0x3ff) : X86.Table(base: Place.interrupts, limit: 0xfff),
      cr0: cr0, cr2: 0,
      cr3: isLong
        ? Place.fourthLevel : paging == .pae ? Place.directoryPointers : Place.plainDirectory,
      cr4: paging == .pae ? X86.CR4.physicalAddressExtension : 0, cr8: 0,
      debug: [0, 0, 0, 0, 0xffff_0ff0, 0x400],
      efer: isLong
        ? X86.EFER.longModeEnable | X86.EFER.longModeActive | X86.EFER.executeDisable
          | X86.EFER.systemCall : 0,
      xcr0: 1, msrs: [], xsave: [], tsc: 0, activity: .active, events: X86.PendingEvents(),
      apic: nil)
  }

  /// Registers, modes and what waits, as the script has them.
  private mutating func vary(_ script: inout Script) {
    let count = mode == .long ? 16 : 8
    for number in 0..<count where number != 4 {
      let choice = script.byte()
      state.registers[number] =
        choice < 96
        ? Self.addresses[Int(choice) % Self.addresses.count]
        : choice < 160 ? UInt64(choice) - 96 : script.value()
      if mode != .long { state.registers[number] &= 0xffff_ffff }
    }
    if script.flag() { state.registers[4] = state.registers[5] }
    // CF to OF and IOPL, of which TF and IF are rare; AC, VIF, VIP, ID.
    state.rflags |= UInt64(script.number(UInt16.self)) & 0x7cd5
    let rare = script.byte()
    if rare & 0xe0 == 0x20 { state.rflags |= 0x100 }
    if rare & 1 != 0 { state.rflags |= 0x200 }
    if rare & 2 != 0 { state.rflags |= X86.Flags.nestedTask }
    // Write protection, and what x87 and SSE look at.
    let modes = script.number(UInt16.self)
    if modes & 1 != 0 { state.cr0 |= X86.CR0.writeProtect }
    if modes & 0x1e == 2 { state.cr0 |= X86.CR0.taskSwitched }
    if modes & 0x1e == 4 { state.cr0 |= X86.CR0.emulation }
    if modes & 0x1e == 6 { state.cr0 |= X86.CR0.monitorCoprocessor }
    state.cr4 |= enabled(modes)
    if state.cr4 & X86.CR4.xsave != 0 {
      state.xcr0 = modes & 0x8000 != 0 ? 3 : 7 | model.features.stateComponents & 1 << 9
    }
    fillVectors(&script)
    waitFor(&script)
  }

  /// CR4: what the model has, most of the time.
  private func enabled(_ modes: UInt16) -> UInt64 {
    let features = model.features
    var bits: UInt64 = 0
    if modes & 0x20 != 0 { bits |= 1 }  // VME
    if modes & 0x40 != 0 { bits |= 2 }  // PVI
    if modes & 0x80 != 0 { bits |= 8 }  // DE
    if model.name == X86.CPUModel.i486.name { return 0 }
    bits |= 0x10  // PSE
    if modes & 0x100 != 0 { bits |= X86.CR4.globalPages }
    if modes & 0x600 != 0 { bits |= X86.CR4.fxsave }
    if modes & 0x800 != 0 { bits |= X86.CR4.simdExceptions }
    if features.hasAVX, modes & 0x3000 != 0 { bits |= X86.CR4.xsave }
    if model.name == X86.CPUModel.max.name {
      if modes & 0x4000 != 0 { bits |= 1 << 20 | 1 << 21 | 1 << 22 }  // SMEP, SMAP, PKE
      if modes & 0x8000 != 0 { bits |= 1 << 11 | 1 << 16 }  // UMIP, FSGSBASE
    }
    return bits
  }

  /// The x87 FPU and the vector registers, with numbers of all kinds.
  private mutating func fillVectors(_ script: inout Script) {
    let components: UInt64 = model.features.hasAVX ? 7 : 3
    var area = [UInt8](repeating: 0, count: Int(X86.StateComponents.areaSize(components)))
    var chance = Chance(seed: UInt64(script.byte()))
    let numbers: [UInt64] = [
      0, 0x3f80_0000_3f80_0000, 0x3ff0_0000_0000_0000, 0x7ff0_0000_0000_0000, 0x7f80_0001_ffc0_0000,
      1, 1 << 63, 0x7fef_ffff_ffff_ffff, 0xc3e0_0000_0000_0000, 0x4f00_0000_cf00_0001,
    ]
    func put(_ value: UInt64, _ count: Int, at offset: Int) {
      for index in 0..<count {
        area[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index))
      }
    }
    for offset in stride(from: 32, to: area.count, by: 8) {
      let choice = chance.next()
      put(
        choice & 1 == 0 ? chance.next() : numbers[Int(choice >> 1) % numbers.count], 8, at: offset)
    }
    let control = script.number(UInt16.self)
    put(control & 1 == 0 ? 0x37f : UInt64(control) & 0x1f7f, 2, at: 0)
    put(UInt64(script.byte() & 0x38) << 8, 2, at: 2)
    put(UInt64(script.byte()), 1, at: 4)
    let modes = script.number(UInt16.self)
    put(modes & 1 == 0 ? 0x1f80 : UInt64(modes), 4, at: 24)
    put(0xffff, 4, at: 28)
    put(0, 8, at: 416 + 96)
    for offset in 512..<576 { area[offset] = 0 }
    area[512] = UInt8(components)
    state.xsave = area
  }

  /// An event on its way into its handler, and the shadow of MOV SS.
  private mutating func waitFor(_ script: inout Script) {
    let choice = script.byte()
    if choice & 0x80 != 0 { state.events.interruptShadow = true }
    if choice & 0x40 != 0 { state.events.nmiBlocked = true }
    guard choice & 7 == 1 else { return }
    let kinds: [X86.InjectedEvent.Kind] = [.external, .nmi, .exception, .software]
    let kind = kinds[Int(choice >> 3) & 3]
    let vector = kind == .nmi ? 2 : kind == .exception ? script.byte() & 31 : script.byte()
    let hasCode = kind == .exception && [8, 10, 11, 12, 13, 14, 17].contains(vector)
    state.events.injected = X86.InjectedEvent(
      kind: kind, vector: vector, errorCode: hasCode ? UInt32(script.byte()) : nil)
  }
}

/// Whether bytes are the same: by the library, which tells the fuzzer nothing of each of them.
func areAlike(_ a: [UInt8], _ b: [UInt8]) -> Bool {
  a.count == b.count
    && a.withUnsafeBytes { a in
      b.withUnsafeBytes { b in memcmp(a.baseAddress!, b.baseAddress!, a.count) == 0 }
    }
}
