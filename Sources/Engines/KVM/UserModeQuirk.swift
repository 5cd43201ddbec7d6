import ArchitectureX86
import Board
import CKVM
import Execution
import Glibc
import Memory
import Synchronization

/// Faults of KVMs that run user mode natively and emulate kernel mode. No guest with user programs survives them:
///
/// - SYSCALL in user mode goes to the address in IA32_LSTAR, but stays at privilege level 3 with the caller's
///   segments, where the fetch of the kernel's code faults;
/// - INT n in user mode raises an invalid-opcode exception.
///
/// Where a trial shows them, the guest's handlers of the two exceptions get breakpoints. A processor that arrives
/// there for one of these reasons is put back to where it was, and what it wanted is carried out by our
/// interpreter.
///
/// - SeeAlso: Intel SDM Vol. 2B, SYSCALL, "Operation"; Vol. 3A §6.14.2 "64-Bit Mode Stack Frame".
enum UserModeQuirk {
  /// Registers whose writes must be seen: they say that SYSCALL is about to be used.
  static let registers: Set<UInt32> = [X86.MSR.lstar]

  /// How many breakpoints that takes.
  static let breakpoints = 2

  /// Whether this host's KVM has the faults. The trial takes a millisecond, once in the life of the process.
  static func isPresent(_ host: KVMHost) -> Bool {
    known.withLock { known in
      // A trial that fails says nothing.
      if known == nil { known = try? Trial(host).endsInUserMode() }
      return known ?? false
    }
  }

  private static let known = Mutex<Bool?>(nil)

  /// What is known of the guest's handlers.
  struct Watch {
    /// Where they begin, if user mode may ask for what comes out there.
    fileprivate(set) var invalidOpcode: UInt64?
    fileprivate(set) var pageFault: UInt64?
    /// From which registers that was found.
    fileprivate var table = X86.Table(base: 0, limit: 0)
    fileprivate var efer: UInt64 = 0
    /// Something was written that says more than those do.
    fileprivate var isStale = true
    /// How often the processor has left the guest. Looking each time would cost more than most exits; a guest
    /// leaves many times between setting up its interrupt table and its first user program.
    fileprivate var exits = 0

    fileprivate static let exitsToLook = 64
    fileprivate static let exitsToSearch = 512

    var handlers: [UInt64] { [invalidOpcode, pageFault].compactMap { $0 } }
  }
}

// MARK: - Following the guest

extension KVMProcessor {
  /// Puts the breakpoints where the interrupt table now says that the handlers begin.
  ///
  /// Each costs the processor two microseconds whenever it enters the guest, so there is none before the guest has
  /// set up what it is for.
  func followHandlers() throws(EngineError) {
    guard var known = watch else { return }
    known.exits += 1
    watch = known
    guard known.isStale || known.exits % UserModeQuirk.Watch.exitsToLook == 0 else { return }
    var system = kvm_sregs()
    try handle.request(KVM_REQUEST_GET_SREGS, &system, "show its registers")
    let table = X86.Table(system.idt)
    guard
      table != known.table || system.efer != known.efer || known.isStale
        || known.exits % UserModeQuirk.Watch.exitsToSearch == 0
    else { return }
    known.isStale = false
    known.table = table
    known.efer = system.efer
    known.invalidOpcode = nil
    known.pageFault = nil
    if system.efer & X86.EFER.longModeActive != 0 {
      // The vector that programs use, where any is open to them.
      if let gate = gate(0x80, in: table), gate.privilege == 3 {
        known.invalidOpcode = self.gate(X86.Exception.invalidOpcode, in: table)?.handler
      }
      if try handle.readMSR(X86.MSR.lstar) != 0 {
        known.pageFault = gate(X86.Exception.pageFault, in: table)?.handler
      }
    }
    let isNew = known.handlers != watch?.handlers
    watch = known
    if isNew { try install(stops) }
  }

  /// The guest writes one of `UserModeQuirk.registers`; answers whether KVM took it.
  func writeSeen(_ index: UInt32, _ value: UInt64) throws(EngineError) -> Bool {
    watch?.isStale = true
    return try handle.writeMSR(index, value)
  }

  /// A gate of 64-bit mode: SDM Vol. 3A Figure 6-8.
  private func gate(
    _ vector: UInt8, in table: X86.Table
  ) -> (handler: UInt64, privilege: UInt8)? {
    let address = table.base &+ UInt64(vector) * 16
    guard let low = load(address), let high = load(address &+ 8), low >> 47 & 1 != 0 else {
      return nil
    }
    return (
      low & 0xffff | low >> 32 & 0xffff_0000 | high << 32, UInt8(truncatingIfNeeded: low >> 45) & 3
    )
  }

  /// Does what brought the processor to a watched handler, or the handler's first instruction.
  func enterHandler(_ buses: inout Buses) throws(EngineError) -> Exit? {
    let before = try state(counter: time.runningCounter())
    return try carryOut(wanted(before) ?? before, after: before, &buses)
  }

  /// The state from which to carry out what user mode wanted; `nil`: it really was this exception.
  private func wanted(_ state: X86.State) -> X86.State? {
    let stack = state.registers[X86.Register.rsp.rawValue]
    let isPageFault = watch?.pageFault == state.rip
    let frame = (0..<5).compactMap { load(stack &+ UInt64($0 + (isPageFault ? 1 : 0)) * 8) }
    guard frame.count == 5, frame[1] & 3 == 3 else { return nil }
    var caller = state
    caller.rip = frame[0]
    caller.rflags = frame[2]
    caller.registers[X86.Register.rsp.rawValue] = frame[3]
    caller.events.interruptShadow = false
    if isPageFault {
      guard frame[0] == state.msr(X86.MSR.lstar), state.cr2 == frame[0] else { return nil }
      caller.enterSystemCall()
    } else {
      // INT n: CD and the vector.
      guard let code = load(frame[0]), code & 0xff == 0xcd,
        let codeSegment = segment(UInt16(truncatingIfNeeded: frame[1]), state),
        let stackSegment = segment(UInt16(truncatingIfNeeded: frame[4]), state)
      else { return nil }
      caller.segments[X86.SegmentRegister.cs.rawValue] = codeSegment
      caller.segments[X86.SegmentRegister.ss.rawValue] = stackSegment
    }
    return caller
  }

  /// A segment as a selector in the descriptor table loads it: SDM Vol. 3A §3.4.5.
  private func segment(_ selector: UInt16, _ state: X86.State) -> X86.Segment? {
    guard selector & 4 == 0,
      let descriptor = load(state.gdtr.base &+ UInt64(selector & ~7))
    else { return nil }
    let raw = UInt32(truncatingIfNeeded: descriptor & 0xffff | descriptor >> 32 & 0xf_0000)
    let isScaled = descriptor >> 55 & 1 != 0
    return X86.Segment(
      selector: selector,
      base: descriptor >> 16 & 0xff_ffff | descriptor >> 32 & 0xff00_0000,
      limit: isScaled ? raw << 12 | 0xfff : raw,
      attributes: UInt32(truncatingIfNeeded: descriptor >> 40) & 0xf0ff)
  }

  /// Eight bytes at a linear address; `nil` where there is no memory.
  private func load(_ linear: UInt64) -> UInt64? {
    var translation = kvm_translation()
    translation.linear_address = linear
    guard (try? handle.request(KVM_REQUEST_TRANSLATE, &translation, "translate an address")) != nil,
      translation.valid != 0, linear & 0xfff <= 0xff8
    else { return nil }
    return try? memory.load(UInt64.self, at: GPA(translation.physical_address))
  }
}

extension X86.State {
  /// Does what is missing of SYSCALL, once RIP, RCX and R11 are as they should be.
  fileprivate mutating func enterSystemCall() {
    let selector = UInt16(truncatingIfNeeded: msr(X86.MSR.star) >> 32) & ~3
    // Flat segments of privilege level 0, whatever the descriptors say.
    segments[X86.SegmentRegister.cs.rawValue] = X86.Segment(
      selector: selector, base: 0, limit: .max, attributes: 0xa09b)
    segments[X86.SegmentRegister.ss.rawValue] = X86.Segment(
      selector: selector &+ 8, base: 0, limit: .max, attributes: 0xc093)
    let mask = msr(X86.MSR.syscallMask) | X86.Flags.resume
    rflags = registers[X86.Register.r11.rawValue] & ~mask | 2
  }
}

// MARK: - The trial

/// A machine that executes SYSCALL in user mode and stops at the port access to which that leads.
private final class Trial {
  private let machine: KVMHandle
  private let processor: KVMHandle
  private let memory: UnsafeMutableRawPointer
  private let mapping: ProcessorMapping

  private static let size = 0x10000

  private enum Place {
    static let tables: UInt64 = 0x2000
    static let user = 0x8000
    static let kernel = 0x9000
  }

  init(_ host: KVMHost) throws(EngineError) {
    machine = try host.makeMachine()
    processor = KVMHandle(
      taking: try machine.request(KVM_REQUEST_CREATE_VCPU, 0, "make a processor"))
    mapping = try ProcessorMapping(
      processor,
      size: Int(
        try host.handle.request(KVM_REQUEST_GET_VCPU_MMAP_SIZE, 0, "say a mapping's size")),
      dirtyRing: nil)
    guard
      let base = mmap(
        nil, Self.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0),
      base != MAP_FAILED
    else { throw EngineError("the host has no memory for a trial") }
    memory = base
    try setUp()
  }

  deinit { munmap(memory, Self.size) }

  /// Long mode, one large page that user mode may use: SDM Vol. 3A §4.5.
  private func setUp() throws(EngineError) {
    for (table, entry) in [(0x2000, 0x3007), (0x3000, 0x4007), (0x4000, 0x87)] as [(Int, UInt64)] {
      memory.storeBytes(of: entry, toByteOffset: table, as: UInt64.self)
    }
    memory.storeBytes(of: 0x050f, toByteOffset: Place.user, as: UInt16.self)  // syscall
    memory.storeBytes(of: 0x80e6, toByteOffset: Place.kernel, as: UInt16.self)  // out 80h, al
    var region = kvm_userspace_memory_region(
      slot: 0, flags: 0, guest_phys_addr: 0, memory_size: UInt64(Self.size),
      userspace_addr: UInt64(UInt(bitPattern: memory)))
    try machine.request(KVM_REQUEST_SET_USER_MEMORY_REGION, &region, "give a machine memory")
    try CPUIDTable(.x86_64v2, processor: 0).install(on: processor)
    var system = kvm_sregs()
    try processor.request(KVM_REQUEST_GET_SREGS, &system, "show its registers")
    let data = X86.Segment(selector: 0x23, base: 0, limit: .max, attributes: 0xc0f3)
    var segments = [X86.Segment](repeating: data, count: 6)
    segments[X86.SegmentRegister.cs.rawValue] = X86.Segment(
      selector: 0x2b, base: 0, limit: .max, attributes: 0xa0fb)
    system.segments = segments
    system.tr = X86.Segment(selector: 0x30, base: 0x6000, limit: 0x2067, attributes: 0x8b).kvm
    system.cr0 = X86.CR0.paging | X86.CR0.protection | X86.CR0.extensionType | X86.CR0.numericError
    system.cr3 = Place.tables
    system.cr4 = X86.CR4.physicalAddressExtension
    system.efer =
      X86.EFER.systemCall | X86.EFER.longModeEnable | X86.EFER.longModeActive
    try processor.request(KVM_REQUEST_SET_SREGS, &system, "take its control registers")
    try processor.writeMSR(X86.MSR.star, 0x1b << 48 | 0x08 << 32)
    try processor.writeMSR(X86.MSR.lstar, UInt64(Place.kernel))
    var registers = kvm_regs()
    registers.rip = UInt64(Place.user)
    registers.rflags = 2
    try processor.request(KVM_REQUEST_SET_REGS, &registers, "take its registers")
  }

  func endsInUserMode() throws(EngineError) -> Bool {
    // The port access is an exit in kernel mode, and in user mode too: the task's bitmap lets it pass.
    var result: Int32
    repeat {
      result = kvm_request(processor.number, UInt(KVM_REQUEST_RUN.rawValue), 0)
    } while result == -EINTR || result == -EAGAIN
    guard result >= 0 else {
      throw EngineError("KVM cannot run a trial: \(String(cString: strerror(-result)))")
    }
    var system = kvm_sregs()
    try processor.request(KVM_REQUEST_GET_SREGS, &system, "show its registers")
    return mapping.exit.pointee.exit_reason == UInt32(KVM_EXIT_IO) && system.cs.selector & 3 == 3
  }
}
