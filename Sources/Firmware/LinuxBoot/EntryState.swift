/// The state in which a boot protocol hands the first processor to a kernel. Whatever is not named
/// here is as after a reset. Interrupts are off.
package struct EntryState: Sendable, Equatable {
  /// The modes in which kernels are entered.
  package enum Mode: Sendable {
    /// Protected mode, 32-bit code, no paging.
    case protected32
    /// 64-bit mode.
    case long64
  }

  /// The mode; the control registers below agree with it.
  package var mode: Mode
  /// EIP or RIP. The code segment's base is zero.
  package var instructionPointer: UInt64
  /// General registers; those that the protocol does not name are zero.
  package var registers = GeneralRegisters()
  /// EFLAGS: only the bit that always reads as one (Intel SDM Vol. 1 §3.4.3).
  package var flags: UInt64 = 0x2
  /// Control registers (Intel SDM Vol. 3A §2.5).
  package var cr0, cr3, cr4: UInt64
  /// The extended feature enable register, IA32_EFER (Intel SDM Vol. 3A §2.2.1).
  package var efer: UInt64
  /// CS.
  package var code: Segment
  /// DS, ES, SS, FS and GS.
  package var data: Segment
  /// TR.
  package var task: Segment
  /// GDTR. The table in memory holds the three segments above under their selectors.
  package var descriptorTable: DescriptorTable
  /// IDTR: empty, so that an exception before the kernel has its own table shuts the machine down.
  package var interruptTable = DescriptorTable(base: 0, limit: 0)

  /// The general registers that boot protocols name.
  package struct GeneralRegisters: Sendable, Equatable {
    /// By their names in 64-bit mode; in protected mode the upper halves are zero.
    package var rax, rbx, rcx, rdx, rsi, rdi, rbp, rsp: UInt64

    init(rax: UInt64 = 0, rbx: UInt64 = 0, rsi: UInt64 = 0, rsp: UInt64 = 0) {
      self.rax = rax
      self.rbx = rbx
      self.rsi = rsi
      self.rsp = rsp
      (rcx, rdx, rdi, rbp) = (0, 0, 0, 0)
    }
  }

  /// A segment register with what the processor remembers of its descriptor.
  package struct Segment: Sendable, Equatable {
    /// Index into the descriptor table, with RPL 0.
    package var selector: UInt16
    /// The address of offset 0.
    package var base: UInt64
    /// The last valid offset, in bytes.
    package var limit: UInt32
    /// Bits 8–23 of the descriptor's upper half without its limit: type in bits 0–3, S in 4, DPL
    /// in 5–6, P in 7, AVL in 12, L in 13, D/B in 14, G in 15 (Intel SDM Vol. 3A §3.4.5; VMX's
    /// access rights have the same form).
    package var attributes: UInt16
  }

  /// GDTR or IDTR.
  package struct DescriptorTable: Sendable, Equatable {
    /// The table's linear address.
    package var base: UInt64
    /// The offset of its last byte.
    package var limit: UInt16
  }
}

extension EntryState {
  /// Protected mode, flat segments, no paging.
  static func protected32(
    at entry: UInt64, _ registers: GeneralRegisters, _ placement: inout Placement
  ) throws(BootError) -> EntryState {
    let table = try FlatSegments(.protected32).place(in: &placement)
    return EntryState(
      mode: .protected32, instructionPointer: entry, registers: registers,
      cr0: protectionEnable | extensionType, cr3: 0, cr4: 0, efer: 0,
      code: FlatSegments.code32, data: FlatSegments.data, task: FlatSegments.task32,
      descriptorTable: table)
  }

  /// 64-bit mode, flat segments, the first 4 GiB identity-mapped, a small stack.
  static func long64(
    at entry: UInt64, _ registers: GeneralRegisters, _ placement: inout Placement
  ) throws(BootError) -> EntryState {
    let table = try FlatSegments(.long64).place(in: &placement)
    let root = try placement.putLow(
      "page tables", count: IdentityMap.count, alignment: IdentityMap.alignment,
      IdentityMap.bytes(at:))
    var registers = registers
    registers.rsp = try placement.putLow("stack", zeroes: 0x1000) + 0x1000
    return EntryState(
      mode: .long64, instructionPointer: entry, registers: registers,
      cr0: protectionEnable | extensionType | paging, cr3: root,
      cr4: physicalAddressExtension, efer: longModeEnable | longModeActive,
      code: FlatSegments.code64, data: FlatSegments.data, task: FlatSegments.task64,
      descriptorTable: table)
  }

  // CR0, CR4 and IA32_EFER bits: Intel SDM Vol. 3A §2.5 and §2.2.1. ET reads as one everywhere.
  private static let protectionEnable: UInt64 = 1 << 0
  private static let extensionType: UInt64 = 1 << 4
  private static let paging: UInt64 = 1 << 31
  private static let physicalAddressExtension: UInt64 = 1 << 5
  private static let longModeEnable: UInt64 = 1 << 8
  private static let longModeActive: UInt64 = 1 << 10
}
