import ArchitectureX86
import CProcessor

// The guest's own means of debugging: SDM Vol. 3B chapter 17 "Debug, Branch Profile, TSC, and Intel RDT Features".
//
// A page with an instruction breakpoint is not kept decoded, so that every instruction of it passes the run loop, which
// compares addresses. While there are data or I/O breakpoints, instructions run one at a time; translations of pages
// with data breakpoints have no fast path, and the slow ones compare.

/// DR6: SDM Vol. 3B §17.2.3.
enum DebugStatus {
  /// B0 to B3.
  static let hits: UInt64 = 0xf
  /// BD.
  static let access: UInt64 = 1 << 13
  /// BS.
  static let step: UInt64 = 1 << 14
  /// BT.
  static let task: UInt64 = 1 << 15
}

/// DR7: SDM Vol. 3B §17.2.4.
enum DebugControl {
  /// L0 to L3, and LE.
  static let localEnables: UInt64 = 0x155
  /// GD.
  static let generalDetect: UInt64 = 1 << 13
}

/// The breakpoints that DR0 to DR3 and DR7 ask for.
struct Breakpoints: Equatable {
  struct Range: Equatable {
    /// Its number as a bit of DR6.
    var bit: UInt64
    var first: UInt64
    var last: UInt64
    /// Reads count too.
    var onRead: Bool

    func meets(_ start: UInt64, _ size: Int) -> Bool {
      start <= last && start &+ UInt64(size &- 1) >= first
    }
  }

  /// Linear addresses of instructions.
  private(set) var code: [Range] = []
  private(set) var data: [Range] = []
  private(set) var ports: [Range] = []

  init() {}

  /// - Parameter extended: CR4.DE, without which there are none on ports.
  init(addresses: [UInt64], control: UInt64, extended: Bool) {
    for (number, address) in addresses.enumerated() {
      guard control >> UInt64(2 * number) & 3 != 0 else { continue }
      let field = control >> UInt64(16 + 4 * number)
      let size = ([1, 2, 8, 4] as [UInt64])[Int(field >> 2 & 3)]
      let first = address & ~(size - 1)
      let bit = (1 as UInt64) << UInt64(number)
      let range = Range(bit: bit, first: first, last: first &+ (size - 1), onRead: field & 3 == 3)
      switch field & 3 {
      case 0: code.append(Range(bit: bit, first: address, last: address, onRead: true))
      case 2:
        guard extended else { continue }
        ports.append(Range(bit: bit, first: first, last: first &+ (size - 1), onRead: true))
      default: data.append(range)
      }
    }
  }

  var isEmpty: Bool { code.isEmpty && data.isEmpty && ports.isEmpty }
}

extension Core {
  var hasCodeBreakpoints: Bool { !breakpoints.code.isEmpty }

  /// Takes over what DR0 to DR3, DR7 and CR4.DE say.
  func debugControlChanged() {
    let registers = cpu.pointee.debug
    let new = Breakpoints(
      addresses: [registers.0, registers.1, registers.2, registers.3], control: registers.7,
      extended: cpu.pointee.cr4 & X86.CR4.debuggingExtensions != 0)
    guard new != breakpoints else { return }
    breakpoints = new
    hasBreakpoints = !new.isEmpty
    // Pages change what is kept of them.
    flushTranslations(global: true)
  }

  /// Whether the page of an address holds an instruction breakpoint.
  func hasCodeBreakpoint(page linear: UInt64) -> Bool {
    breakpoints.code.contains { $0.first & ~pageMask == linear & ~pageMask }
  }

  /// Whether the page of an address holds a data breakpoint, or a part of one.
  func hasDataBreakpoint(page linear: UInt64) -> Bool {
    let page = linear & ~pageMask
    return breakpoints.data.contains { $0.first & ~pageMask == page || $0.last & ~pageMask == page }
  }

  /// Compares an access to data; what it hits is reported behind the instruction.
  func noteDataAccess(_ linear: UInt64, _ size: Int, write: Bool) {
    for range in breakpoints.data where (write || range.onRead) && range.meets(linear, size) {
      pendingDebugStatus |= range.bit
    }
  }

  func notePortAccess(_ port: UInt16, _ size: Int) {
    for range in breakpoints.ports where range.meets(UInt64(port), size) {
      pendingDebugStatus |= range.bit
    }
  }

  /// The bits of DR6 for the instruction breakpoints at `rip`.
  private var codeBreakpointHits: UInt64 {
    let rip = cpu.pointee.rip
    return breakpoints.code.reduce(0) { $1.first == rip ? $0 | $1.bit : $0 }
  }

  /// Raises what breakpoints ask for before the instruction at `rip` runs; afterwards RF is spent.
  ///
  /// - Returns: whether an exception was delivered instead of it; `nil` after a triple fault.
  func meetCodeBreakpoint() -> Bool? {
    if cpu.pointee.system_flags & X86.Flags.resume != 0 {
      cpu.pointee.system_flags &= ~X86.Flags.resume
      return false
    }
    // Behind MOV SS there are none: SDM Vol. 3A §6.8.3.
    let hits = cpu.pointee.interrupt_shadow == InterruptShadow.stack ? 0 : codeBreakpointHits
    guard hits != 0 else { return false }
    return raiseDebug(hits) ? true : nil
  }

  /// Delivers #DB; `false` after a triple fault.
  func raiseDebug(_ status: UInt64) -> Bool {
    cpu.pointee.debug.6 |= status
    activity = .active
    return report(Event(vector: X86.Exception.debug, source: .exception))
  }

  /// Delivers the traps that wait behind an instruction; `false` after a triple fault.
  func deliverPendingDebug() -> Bool {
    guard pendingDebugStatus != 0, cpu.pointee.interrupt_shadow != InterruptShadow.stack else {
      return true
    }
    let status = pendingDebugStatus
    pendingDebugStatus = 0
    return raiseDebug(status)
  }
}

/// What `x86_cpu.interrupt_shadow` holds off for one instruction: SDM Vol. 3A §6.8.3.
enum InterruptShadow {
  /// Behind STI: interrupts.
  static let interrupts: UInt32 = 1
  /// Behind MOV SS and POP SS: debug exceptions too.
  static let stack: UInt32 = 2
}
