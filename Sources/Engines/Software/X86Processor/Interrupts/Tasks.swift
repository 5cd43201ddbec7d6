import ArchitectureX86
import CProcessor

// Task switches by hardware: SDM Vol. 3A chapter 7 "Task Management".

/// A task that may be switched to.
struct TaskTarget {
  var selector: UInt16
  var descriptor: Descriptor
  /// Where the descriptor lies.
  var address: UInt64

  /// Whether its state is that of a 32-bit processor.
  var is32Bit: Bool { descriptor.type & 8 != 0 }
}

/// What makes the processor change to another task.
enum TaskSwitch {
  case jump, call, interrupt, interruptReturn

  /// The old task waits for the new one to return.
  var nests: Bool { self == .call || self == .interrupt }
}

/// Where things lie in a task-state segment: SDM Vol. 3A Figures 7-2 and 7-10.
private struct TaskLayout {
  /// Bytes of a register, as a power of two.
  let log2: Int
  let instructionPointer, flags, registers, segments, localTable: UInt64
  /// How many segment registers it has, in the order of their encodings.
  let segmentCount: Int
  /// The distance of two segment registers.
  let segmentStep: UInt64
  let leastLimit: UInt64
  /// What `save` writes lies before this offset.
  let savedEnd: UInt64

  static let pageDirectory: UInt64 = 0x1c
  static let debugTrap: UInt64 = 0x64

  static let bits32 = TaskLayout(
    log2: 2, instructionPointer: 0x20, flags: 0x24, registers: 0x28, segments: 0x48,
    localTable: 0x60, segmentCount: 6, segmentStep: 4, leastLimit: 0x67, savedEnd: 0x60)
  static let bits16 = TaskLayout(
    log2: 1, instructionPointer: 0x0e, flags: 0x10, registers: 0x12, segments: 0x22,
    localTable: 0x2a, segmentCount: 4, segmentStep: 2, leastLimit: 0x2b, savedEnd: 0x2a)

  static func of(_ isWide: Bool) -> TaskLayout { isWide ? bits32 : bits16 }
}

/// A task's registers as they lie in memory.
private struct TaskState {
  var pageDirectory: UInt64 = 0
  var instructionPointer: UInt64
  var flags: UInt64
  var registers = InlineArray<8, UInt64>(repeating: 0)
  var selectors = InlineArray<6, UInt16>(repeating: 0)
  var localTable: UInt16
  var trapsOnEntry = false
}

extension Core {
  /// The task that a selector names: available, or busy for a return to it.
  ///
  /// - Parameter fault: what a selector that will not do raises.
  func taskTarget(
    _ selector: UInt16, busy: Bool, else fault: (UInt16) -> Fault
  ) throws(Fault) -> TaskTarget {
    let refused = fault(selector & ~3)
    guard selector & 4 == 0, selector & ~3 != 0 else { throw refused }
    let (descriptor, address) = try descriptor(selector, else: refused)
    switch descriptor.systemType {
    case .availableTSS, .availableTSS16: guard !busy else { throw refused }
    case .busyTSS, .busyTSS16: guard busy else { throw refused }
    default: throw refused
    }
    guard descriptor.isPresent else { throw .notPresent(selector) }
    return TaskTarget(selector: selector, descriptor: descriptor, address: address)
  }

  /// Changes to another task: SDM Vol. 3A §7.3 "Task Switching".
  ///
  /// - Parameters:
  ///   - rip: where the old task goes on.
  ///   - flags: its RFLAGS, if not as they are.
  ///   - code: the error code that the new task finds on its stack.
  func switchTask(
    to task: TaskTarget, by reason: TaskSwitch, returnTo rip: UInt64, flags: UInt64? = nil,
    code: UInt64? = nil
  ) throws(Fault) {
    let layout = TaskLayout.of(task.is32Bit)
    guard task.descriptor.limit >= layout.leastLimit else { throw .invalidTSS(task.selector) }
    let state = try taskState(task, layout)
    let old = cpu.pointee.tr_selector
    let oldBusy =
      old & ~3 == 0 ? nil : (cpu.pointee.gdtr_base &+ UInt64(old & ~7) &+ 5)
    let newBusy = task.address &+ 5

    // What is written must be writable before any of it is.
    let oldLayout = TaskLayout.of(cpu.pointee.tr_attributes & 8 != 0)
    try requireWritable(cpu.pointee.tr_base &+ oldLayout.instructionPointer)
    try requireWritable(cpu.pointee.tr_base &+ oldLayout.savedEnd &- 1)
    if reason.nests { try requireWritable(task.descriptor.base) }
    try requireWritable(newBusy)
    if let oldBusy { try requireWritable(oldBusy) }

    var oldFlags = flags ?? cpu.rflags
    if reason == .interruptReturn { oldFlags &= ~X86.Flags.nestedTask }
    try save(oldLayout, rip: codeOffset(rip), flags: oldFlags)
    if !reason.nests, let oldBusy {
      try systemStore(oldBusy, try systemLoad(oldBusy, 1) & ~2, 1)
    }
    if reason.nests { try systemStore(task.descriptor.base, UInt64(old), 2) }
    if reason != .interruptReturn {
      try systemStore(newBusy, UInt64(task.descriptor.high >> 8 & 0xff | 2), 1)
    }

    // From here on whatever goes wrong is the new task's affair.
    setTR(task.selector, task.descriptor, base: task.descriptor.base)
    do throws(Fault) {
      try load(state, nested: reason.nests, is32Bit: task.is32Bit)
      if let code {
        var frame = StackFrame(self)
        try frame.push(code, layout.log2)
        frame.commit()
      }
      guard state.instructionPointer <= cpu.limit(1) else { throw .generalProtection() }
    } catch {
      var fault = error
      fault.isInNewTask = true
      throw fault
    }
  }

  private func requireWritable(_ linear: UInt64) throws(Fault) {
    guard translate(linear & 0xffff_ffff, write: true, user: false) != nil else {
      throw takeFault()
    }
  }

  private func taskState(
    _ task: TaskTarget, _ layout: TaskLayout
  ) throws(Fault) -> TaskState {
    let base = task.descriptor.base
    let size = 1 << layout.log2
    var state = TaskState(
      instructionPointer: try systemLoad(base &+ layout.instructionPointer, size),
      flags: try systemLoad(base &+ layout.flags, size),
      localTable: UInt16(truncatingIfNeeded: try systemLoad(base &+ layout.localTable, 2)))
    for index in 0..<8 {
      state.registers[index] = try systemLoad(
        base &+ layout.registers &+ UInt64(index << layout.log2), size)
    }
    for index in 0..<layout.segmentCount {
      state.selectors[index] = UInt16(
        truncatingIfNeeded: try systemLoad(
          base &+ layout.segments &+ UInt64(index) * layout.segmentStep, 2))
    }
    if task.is32Bit {
      state.pageDirectory = try systemLoad(base &+ TaskLayout.pageDirectory, 4)
      state.trapsOnEntry = try systemLoad(base &+ TaskLayout.debugTrap, 1) & 1 != 0
    }
    return state
  }

  /// Writes the registers to the present task's state.
  private func save(_ layout: TaskLayout, rip: UInt64, flags: UInt64) throws(Fault) {
    let base = cpu.pointee.tr_base
    let size = 1 << layout.log2
    try systemStore(base &+ layout.instructionPointer, rip, size)
    try systemStore(base &+ layout.flags, flags, size)
    for index in 0..<8 {
      try systemStore(
        base &+ layout.registers &+ UInt64(index << layout.log2),
        cpu.get(UInt8(index * 8), UInt64.self), size)
    }
    for index in 0..<layout.segmentCount {
      try systemStore(
        base &+ layout.segments &+ UInt64(index) * layout.segmentStep,
        UInt64(cpu.selector(index)), 2)
    }
  }

  /// Takes over a task's registers.
  private func load(_ state: TaskState, nested: Bool, is32Bit: Bool) throws(Fault) {
    cpu.pointee.cr0 |= X86.CR0.taskSwitched
    cpu.pointee.debug.7 &= ~DebugControl.localEnables
    debugControlChanged()
    for index in 0..<8 { cpu.set(UInt8(index * 8), state.registers[index]) }
    let permitted: UInt64 = is32Bit ? 0x3f_7fd7 : 0x7fd7
    cpu.rflags = state.flags & permitted | (nested ? X86.Flags.nestedTask : 0)
    // Segments hold nothing until their descriptors are found good.
    for index in 0..<6 {
      cpu.setSegment(
        index, selector: state.selectors[index], base: 0, limit: 0, attributes: 0x1_0000)
    }
    setNullLDTR(state.localTable)
    let level = cpu.isVirtual8086 ? 3 : UInt32(state.selectors[1] & 3)
    cpu.pointee.privilege = level
    modeChanged()
    setOffset(state.instructionPointer)
    if state.trapsOnEntry { pendingDebugStatus |= DebugStatus.task }

    if is32Bit, cpu.pointee.cr0 & X86.CR0.paging != 0 { try setCR3(state.pageDirectory) }
    try loadTaskLDTR(state.localTable)
    if cpu.isVirtual8086 {
      for index in 0..<6 { loadParagraph(index, state.selectors[index]) }
      modeChanged()
      setOffset(state.instructionPointer)
      return
    }
    try loadTaskCode(state.selectors[1], rip: state.instructionPointer)
    try loadTaskStack(state.selectors[2])
    for index in [0, 3, 4, 5] { try loadTaskData(index, state.selectors[index]) }
  }

  private func loadTaskLDTR(_ selector: UInt16) throws(Fault) {
    guard selector & ~3 != 0 else { return }
    let refused = Fault.invalidTSS(selector)
    guard selector & 4 == 0 else { throw refused }
    let (descriptor, _) = try descriptor(selector, else: refused)
    guard descriptor.systemType == .localTable, descriptor.isPresent else { throw refused }
    setLDTR(selector, descriptor, base: descriptor.base)
  }

  private func loadTaskCode(_ selector: UInt16, rip: UInt64) throws(Fault) {
    let refused = Fault.invalidTSS(selector)
    guard selector & ~3 != 0 else { throw refused }
    let (code, address) = try descriptor(selector, else: refused)
    let requested = UInt32(selector & 3)
    guard code.isCode,
      code.isConforming ? code.privilege <= requested : code.privilege == requested
    else { throw refused }
    guard code.isPresent else { throw .notPresent(selector) }
    try markAccessed(code, at: address)
    installCode(selector, code, privilege: requested, rip: rip)
  }

  private func loadTaskStack(_ selector: UInt16) throws(Fault) {
    let refused = Fault.invalidTSS(selector)
    guard selector & ~3 != 0 else { throw refused }
    let (data, address) = try descriptor(selector, else: refused)
    guard data.isWritableData, UInt32(selector & 3) == cpu.pointee.privilege,
      data.privilege == cpu.pointee.privilege
    else { throw refused }
    guard data.isPresent else { throw .stack(selector) }
    try markAccessed(data, at: address)
    install(2, selector, data)
  }

  private func loadTaskData(_ segment: Int, _ selector: UInt16) throws(Fault) {
    guard selector & ~3 != 0 else { return loadNull(segment, selector) }
    let refused = Fault.invalidTSS(selector)
    let (data, address) = try descriptor(selector, else: refused)
    guard data.isCodeOrData, data.isReadable,
      data.isConforming || data.privilege >= max(cpu.pointee.privilege, UInt32(selector & 3))
    else { throw refused }
    guard data.isPresent else { throw .notPresent(selector) }
    try markAccessed(data, at: address)
    install(segment, selector, data)
  }
}
