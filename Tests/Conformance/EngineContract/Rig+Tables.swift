import ArchitectureX86
import Memory

extension Rig {
  /// Page tables, descriptors, and a handler for each vector.
  func setUpTables() throws {
    try writePageTables()
    for (selector, descriptor) in [
      (Selector.code, 0x00af_9b00_0000_ffff), (Selector.data, 0x00cf_9300_0000_ffff),
      (Selector.taskState, 0x0000_8900_0000_0067 | Place.taskState << 16),
    ] as [(UInt16, UInt64)] {
      try write(descriptor, at: Place.descriptors + UInt64(selector))
    }
    for processor in processors.indices {
      try write(UInt64(processor) << 8, at: Place.own + UInt64(processor) * 0x1000)
    }
    for vector in 0..<UInt64(256) {
      let handler = Place.handlers + vector * 64
      try load(at: handler) { $0.handler(UInt8(vector)) }
      try setGate(UInt8(vector), handler: handler)
    }
  }

  /// A 64-bit interrupt gate: SDM Vol. 3A §6.14.1.
  func setGate(_ vector: UInt8, handler: UInt64) throws {
    let low =
      handler & 0xffff | UInt64(Selector.code) << 16 | 0x8e << 40 | (handler >> 16 & 0xffff) << 48
    try write(low, at: Place.interrupts + UInt64(vector) * 16)
    try write(handler >> 32, at: Place.interrupts + UInt64(vector) * 16 + 8)
  }

  /// Maps the first 4 GiB to themselves.
  private func writePageTables() throws {
    let present: UInt64 = 3
    let large: UInt64 = 0x80
    let directories = Place.pageTables + 0x2000
    try write(Place.pageTables + 0x1000 | present, at: Place.pageTables)
    for gigabyte in 0..<UInt64(4) {
      try write(
        directories + gigabyte << 12 | present, at: Place.pageTables + 0x1000 + gigabyte * 8)
      for slot in 0..<UInt64(512) {
        let address = gigabyte << 30 | slot << 21
        try write(address | present | large, at: directories + gigabyte << 12 + slot * 8)
      }
    }
  }
}

extension Assembler {
  /// Says which vector came; ends interrupts and goes back, or gives up after an exception.
  fileprivate mutating func handler(_ vector: UInt8) {
    let isException = vector < 32 && vector != X86.Exception.nmi
    if isException {
      output(UInt32(vector), port: Rig.Port.fault)
      let again = placed()
      jump(to: again)
      return
    }
    push(.rax)
    push(.rdx)
    move(.rdx, UInt64(Rig.Port.vector))
    loadOwn(.rax)
    compute(.or, .rax, Int32(vector))
    output(.doubleword)
    if vector != X86.Exception.nmi {
      move(.rdx, Rig.Place.apic)
      store(0, Memory(base: .rdx, displacement: 0xb0))
    }
    pop(.rdx)
    pop(.rax)
    returnFromInterrupt()
  }
}

extension X86.State {
  /// 64-bit mode at privilege level 0, interrupts off, with the rig's tables.
  mutating func enterLongMode(at address: UInt64, of processor: Int = 0) {
    registers = [UInt64](repeating: 0, count: 16)
    self[.rsp] = Rig.Place.stack + UInt64(processor) * 0x1_0000
    rip = address
    rflags = 2
    cr0 =
      X86.CR0.paging | X86.CR0.protection | X86.CR0.writeProtect | X86.CR0.numericError
      | X86.CR0.extensionType
    cr2 = 0
    cr3 = Rig.Place.pageTables
    cr4 = X86.CR4.physicalAddressExtension | X86.CR4.fxsave
    cr8 = 0
    efer = X86.EFER.longModeEnable | X86.EFER.longModeActive | X86.EFER.executeDisable
    gdtr = X86.Table(base: Rig.Place.descriptors, limit: 0xfff)
    idtr = X86.Table(base: Rig.Place.interrupts, limit: 0xfff)
    segments = X86.SegmentRegister.allCases.map {
      $0 == .cs
        ? X86.Segment(
          selector: Rig.Selector.code, base: 0, limit: 0xffff_ffff, attributes: 0xa09b)
        : X86.Segment(
          selector: Rig.Selector.data, base: 0, limit: 0xffff_ffff, attributes: 0xc093)
    }
    segments[X86.SegmentRegister.gs.rawValue].base =
      Rig.Place.own + UInt64(processor) * 0x1000
    ldtr = X86.Segment(selector: 0, base: 0, limit: 0, attributes: 0x1_0000)
    tr = X86.Segment(
      selector: Rig.Selector.taskState, base: Rig.Place.taskState, limit: 0x67, attributes: 0x8b)
    activity = .active
    events = X86.PendingEvents()
    apic = nil
  }

  subscript(register: X86.Register) -> UInt64 {
    get { registers[register.rawValue] }
    set { registers[register.rawValue] = newValue }
  }
}
