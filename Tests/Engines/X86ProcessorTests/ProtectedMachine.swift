import ArchitectureX86
import CProcessor
import Memory

@testable import X86Processor

/// 32-bit protected mode for a `TestMachine`: descriptors by their parts, and a gate for each of the first 64
/// vectors.
extension TestMachine {
  enum ProtectedPlace {
    static let directory: UInt64 = 0x18000
    static let taskState: UInt64 = 0x19000
    static let interrupts: UInt64 = 0x1a000
    static let otherTask: UInt64 = 0x1b000
    static let innerStack: UInt64 = 0x4_0000
    static let userStack: UInt64 = 0x20_1000
  }

  /// A machine at privilege level 0, without paging, that begins with `code`.
  static func protected(_ code: [UInt8]) -> TestMachine {
    let machine = TestMachine()
    machine.cpu.pointee.efer = 0
    machine.cpu.pointee.cr0 =
      X86.CR0.protection | X86.CR0.extensionType | X86.CR0.numericError
    machine.cpu.pointee.cr4 = 0
    machine.setFlat(user: false)
    for vector in 0..<64 as Range<UInt64> {
      machine.setProtectedGate(vector, handler: Place.handlers + vector * 16)
    }
    machine.cpu.pointee.idtr_base = ProtectedPlace.interrupts
    machine.cpu.pointee.idtr_limit = 0x1ff
    machine.setDescriptor(
      Selector.taskState, base: ProtectedPlace.taskState, limit: 0x67, rights: 0x8b)
    machine.cpu.pointee.tr_base = ProtectedPlace.taskState
    machine.cpu.pointee.tr_limit = 0x67
    let stack = UInt32(ProtectedPlace.innerStack)
    machine.write(SampleBuilder.bytes(UInt64(stack), 4), at: ProtectedPlace.taskState + 4)
    machine.write(
      SampleBuilder.bytes(UInt64(Selector.kernelData), 2), at: ProtectedPlace.taskState + 8)
    machine.core.flushTranslations(global: true)
    machine.write(code, at: Place.code)
    return machine
  }

  /// Flat segments at privilege level 0 or 3.
  func setFlat(user: Bool) {
    cpu.setSegment(
      1, selector: user ? Selector.userCode32 : Selector.kernelCode32, base: 0,
      limit: 0xffff_ffff, attributes: user ? 0xc0fb : 0xc09b)
    for segment in [0, 2, 3] {
      cpu.setSegment(
        segment, selector: user ? Selector.userData : Selector.kernelData, base: 0,
        limit: 0xffff_ffff, attributes: user ? 0xc0f3 : 0xc093)
    }
    cpu.pointee.privilege = user ? 3 : 0
    core.modeChanged()
    cpu.rsp = user ? ProtectedPlace.userStack : Place.kernelStack - 0x1000
  }

  /// Writes a descriptor; `rights` are its second half's bits 8 to 15, and G, D, L and AVL above.
  func setDescriptor(_ selector: UInt16, base: UInt64, limit: UInt64, rights: UInt64) {
    let low = limit & 0xffff | (base & 0xffff) << 16
    let high =
      base >> 16 & 0xff | (rights & 0xff) << 8 | limit & 0xf_0000 | (rights & 0xf000) << 8
      | base & 0xff00_0000
    let table = selector & 4 != 0 ? Place.localDescriptors : Place.descriptors
    write(low | high << 32, at: table + UInt64(selector & ~7))
  }

  /// Writes a gate: of calls, tasks, interrupts or traps.
  func setSystemGate(
    at address: UInt64, to selector: UInt16, _ offset: UInt64, type: UInt64, privilege: UInt64 = 3,
    parameters: UInt64 = 0
  ) {
    let low = offset & 0xffff | UInt64(selector) << 16
    let high = parameters | (0x80 | privilege << 5 | type) << 8 | offset & 0xffff_0000
    write(low | high << 32, at: address)
  }

  func setProtectedGate(
    _ vector: UInt64, handler: UInt64, selector: UInt16 = Selector.kernelCode32,
    type: UInt64 = 14, privilege: UInt64 = 3
  ) {
    setSystemGate(
      at: ProtectedPlace.interrupts + vector * 8, to: selector, handler, type: type,
      privilege: privilege)
  }

  func setCallGate(
    _ selector: UInt16, to target: UInt16, _ offset: UInt64, type: UInt64 = 12,
    privilege: UInt64 = 3, parameters: UInt64 = 0
  ) {
    setSystemGate(
      at: Place.descriptors + UInt64(selector & ~7), to: target, offset, type: type,
      privilege: privilege, parameters: parameters)
  }

  /// A local descriptor table of 512 entries.
  func useLocalTable() {
    cpu.pointee.ldtr_selector = 0x68
    cpu.pointee.ldtr_base = Place.localDescriptors
    cpu.pointee.ldtr_limit = 0xfff
    cpu.pointee.ldtr_attributes = 0x82
  }

  func word(_ depth: UInt64) -> UInt32 {
    let address = (cpu.segmentBase(2) &+ cpu.rsp &+ depth * 4) & 0xffff_ffff
    return (try? memory.load(UInt32.self, at: GPA(address))) ?? .max
  }

  /// What the handler that halted the machine found: its vector, error code, and the address it returns to.
  struct Raised: Equatable {
    var vector: Int?
    var code: UInt32?
    var rip: UInt64

    init(_ vector: Int?, code: UInt32? = nil, at rip: UInt64 = Place.code) {
      self.vector = vector
      self.code = code
      self.rip = rip
    }
  }

  var raised: Raised {
    guard let vector = haltedVector else { return Raised(nil, at: cpu.pointee.rip) }
    let hasCode = [8, 10, 11, 12, 13, 14, 17].contains(vector)
    return Raised(vector, code: hasCode ? word(0) : nil, at: UInt64(word(hasCode ? 1 : 0)))
  }
}
