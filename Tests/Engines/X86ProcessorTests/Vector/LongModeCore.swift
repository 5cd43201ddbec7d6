import ArchitectureX86
import CProcessor
import InterruptControllers
import Kit
import Memory
import SameISA

@testable import X86Processor

/// A processor in long mode, mostly in 64-bit mode, with the first 64 KiB mapped one to one, but for a page that is absent and one
/// that is read-only. Instructions are run one at a time, without exceptions being delivered.
final class LongModeCore {
  static let absentPage: UInt64 = 0x6000
  static let readOnlyPage: UInt64 = 0x8000

  let core: Core
  let memory: GuestMemory
  private let mode: CodeMode
  var cpu: CPU { core.cpu }

  private final class Indifferent: ProcessorAttention {
    func attend(_ processor: Int) {}
  }

  /// - Parameters:
  ///   - translates: whether instructions are run as host code, where that is possible.
  ///   - mode: that of the code segment. With 32 bits all segments are flat.
  init(
    model: X86.CPUModel = .x86_64v2, translates: Bool = TestMachine.usesTranslator,
    mode: CodeMode = .bits64
  ) throws {
    self.mode = mode
    memory = try GuestMemory([.init(start: GPA(0), count: 0x2_0000)])
    let clock = ManualClock()
    let apics = LocalAPICs(
      processors: 1, clock: clock, loop: ManualLoop(), tscFrequency: 1_000_000_000,
      attention: Indifferent())
    core = Core(
      index: 0, memory: memory, apic: apics[0], model: model, clock: clock)
    try map()
    core.cpu.pointee.cr0 =
      X86.CR0.protection | X86.CR0.paging | X86.CR0.writeProtect | X86.CR0.numericError
    core.cpu.pointee.cr3 = 0x1_0000
    core.cpu.pointee.cr4 = X86.CR4.physicalAddressExtension | X86.CR4.fxsave
    core.cpu.pointee.efer = X86.EFER.longModeEnable | X86.EFER.longModeActive
    core.cpu.setSegment(
      1, selector: 8, base: 0, limit: 0xffff_ffff, attributes: mode == .bits64 ? 0xa09b : 0xc09b)
    if mode == .bits32 {
      for segment in [0, 2, 3, 4, 5] {
        core.cpu.setSegment(
          segment, selector: 0x10, base: segment > 3 ? 0x100 : 0, limit: 0xffff_ffff,
          attributes: 0xc093)
      }
    }
    core.modeChanged()
    core.flushTranslations(global: true)
    if translates, let translator = SameISATranslator(for: core, isExact: true) {
      core.use(translator, after: 1)
    }
  }

  private func map() throws {
    for (table, next) in [(0x1_0000, 0x1_1000), (0x1_1000, 0x1_2000), (0x1_2000, 0x1_3000)] {
      try memory.store(UInt64(next) | 7, at: GPA(UInt64(table)))
    }
    for page in 0..<16 as Range<UInt64> where page != Self.absentPage / 4096 {
      let isWritable = page != Self.readOnlyPage / 4096
      try memory.store(page << 12 | (isWritable ? 7 : 5), at: GPA(0x1_3000 + page * 8))
    }
  }

  /// How many bytes an instruction has.
  static func length(of bytes: [UInt8]) throws -> Int {
    Int(try bytes.withUnsafeBytes { try Decoder.decode($0, mode: .bits64) }.length)
  }

  /// Runs one instruction, as if it lay at 0x1000.
  ///
  /// - Returns: the exception that it raised.
  @discardableResult
  func run(_ instruction: [UInt8], mode: CodeMode = .bits64) throws -> UInt8? {
    if core.translator != nil, mode == self.mode { return try runTranslated(instruction) }
    let ops = UnsafeMutablePointer<x86_op>.allocate(capacity: 32)
    defer { ops.deallocate() }
    var translator = Translator(into: ops, capacity: 32)
    translator.vectorDisabled = core.isVectorDisabled
    translator.features = core.model.features
    let decoded = try instruction.withUnsafeBytes { try Decoder.decode($0, mode: mode) }
    _ = translator.translate(decoded, at: 0)
    translator.appendLink({ _, _ in }, at: Int(decoded.length))
    cpu.pointee.page_base = 0x1000
    cpu.pointee.exit = LeaveReason.lookUp
    enterVectorState(cpu)
    ops.pointee.run(cpu, ops)
    leaveVectorState(cpu)
    return cpu.pointee.exit == LeaveReason.exception
      ? UInt8(truncatingIfNeeded: cpu.pointee.exception_vector) : nil
  }

  /// The same as host code. What lies at 0x1000 is put back afterwards.
  private func runTranslated(_ instruction: [UInt8]) throws -> UInt8? {
    let place = GPA(Self.codePage)
    let kept = try memory.bytes(at: place, count: instruction.count + 1)
    try memory.write((instruction + [0xf4]).span, at: place)
    core.code.drop(page: Int(Self.codePage >> 12))
    if x86_attention_take(cpu) & Attention.housekeeping != 0 { core.keepHouse() }
    enterVectorState(cpu)
    defer { leaveVectorState(cpu) }
    cpu.pointee.rip = Self.codePage
    var leaves = 0
    repeat {
      cpu.pointee.exit = LeaveReason.lookUp
      if let op = core.lookUp() { op.pointee.run(cpu, op) }
      leaves += 1
    } while cpu.pointee.exit != LeaveReason.halt && cpu.pointee.exit != LeaveReason.exception
      && leaves < 100
    let after = try memory.bytes(at: place, count: kept.count)
    if after == instruction + [0xf4] { try memory.write(kept.span, at: place) }
    // Above privilege level 0 it is the HLT behind it that faults.
    return cpu.pointee.exit == LeaveReason.exception && cpu.pointee.rip == Self.codePage
      ? UInt8(truncatingIfNeeded: cpu.pointee.exception_vector) : nil
  }

  private static let codePage: UInt64 = 0x1000
}
