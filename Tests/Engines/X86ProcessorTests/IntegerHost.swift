#if arch(x86_64) && os(Linux)
  import Glibc

  @testable import X86Processor

  /// The host's own processor, made to execute a few instructions: the oracle for ours.
  ///
  /// Code and data lie at fixed addresses below 2 GiB, where the guest has them too, so that every
  /// address that an instruction computes, pushes or stores is the same on both sides. An exception
  /// arrives as a signal, whose handler takes the registers from its frame.
  final class HostProcessor {
    /// The linear addresses of what both sides have.
    enum Place {
      static let data: UInt64 = 0x5000_0000
      static let dataSize: UInt64 = 0x4000
      static let context: UInt64 = 0x5010_0000
      static let stubs: UInt64 = 0x5010_1000
      static let code: UInt64 = 0x5010_2000
      static let codeSize: UInt64 = 0x2000
    }

    /// The base of GS while code runs, so that the override can be told from none.
    static let gsBase: UInt64 = 0x1230

    private static let size = Int(Place.code + Place.codeSize - Place.context)
    /// Where each register lies in the context page, in units of eight bytes.
    fileprivate enum Slot {
      static let flags = 16
      static let hostStack = 17
      static let target = 18
      static let vector = 19
      static let rip = 20
      static let errorCode = 28
      /// Offset and selector of the code, for the way into 32-bit and 16-bit code.
      static let farPointer = 21
      static let dataSelector = 23
      /// For the system call that makes a segment.
      static let segmentDescription = 24
    }

    /// Selectors, in 16-bit code those of a local table.
    enum Selector {
      static let code64: UInt16 = 0x33
      static let code32: UInt16 = 0x23
      static let data: UInt16 = 0x2b
      static let localData: UInt16 = 0x07
      static let localCode: UInt16 = 0x0f
    }

    let data: UnsafeMutableRawPointer
    let code: UnsafeMutableRawPointer
    private let context: UnsafeMutablePointer<UInt64>
    private let stubs: UnsafeMutableRawPointer
    /// Where code goes on when it is done, and where a signal handler makes it go on.
    let exit: UInt64
    private let enter: @convention(c) () -> Void
    private let enterLegacy: @convention(c) () -> Void
    private let alternateStack: UnsafeMutableRawPointer

    /// `nil` where the host refuses such memory.
    init?() {
      func fixed(_ address: UInt64, _ size: Int, _ protection: Int32) -> UnsafeMutableRawPointer? {
        let wanted = UnsafeMutableRawPointer(bitPattern: UInt(address))
        let got = mmap(
          wanted, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | Int32(MAP_FIXED_NOREPLACE), -1, 0)
        return got == wanted ? got : nil
      }
      guard let data = fixed(Place.data, Int(Place.dataSize), PROT_READ | PROT_WRITE),
        let pages = fixed(Place.context, Self.size, PROT_READ | PROT_WRITE | PROT_EXEC)
      else { return nil }
      self.data = data
      context = pages.assumingMemoryBound(to: UInt64.self)
      stubs = pages + 0x1000
      code = pages + 0x2000
      let (bytes, legacyOffset, exitOffset) = Self.stubCode()
      stubs.copyMemory(from: bytes, byteCount: bytes.count)
      exit = Place.stubs + UInt64(exitOffset)
      enter = unsafeBitCast(stubs, to: (@convention(c) () -> Void).self)
      enterLegacy = unsafeBitCast(stubs + legacyOffset, to: (@convention(c) () -> Void).self)
      alternateStack = .allocate(byteCount: 1 << 16, alignment: 16)
      Self.handleSignals(pages, exit: exit)
      // arch_prctl(ARCH_SET_GS)
      systemCall(158, 0x1001, UInt32(Self.gsBase), 0)
      setLocalSegment(0, base: Place.data, limit: Place.dataSize - 1, contents: 0)
      setLocalSegment(1, base: Place.code, limit: Place.codeSize - 1, contents: 2)
      var stack = stack_t()
      stack.ss_sp = alternateStack
      stack.ss_size = 1 << 16
      sigaltstack(&stack, nil)
    }

    deinit {
      var stack = stack_t()
      stack.ss_flags = Int32(SS_DISABLE)
      sigaltstack(&stack, nil)
      alternateStack.deallocate()
      munmap(data, Int(Place.dataSize))
      munmap(context, Self.size)
    }

    /// What an execution left behind.
    struct Result {
      /// The exception, if there was one.
      var vector: Int?
      var errorCode: UInt64
      /// Of the instruction that raised it.
      var rip: UInt64
      var flags: UInt64
    }

    /// Executes what lies at `rip`, an offset in the mode's code segment, until it jumps to `exit`.
    func run(
      from rip: UInt64, _ mode: CodeMode, _ registers: inout [UInt64], flags: UInt64
    ) -> Result {
      for number in 0..<16 { context[number] = registers[number] }
      context[Slot.flags] = flags
      context[Slot.target] = rip
      context[Slot.vector] = .max
      switch mode {
      case .bits64: enter()
      case .bits32, .bits16:
        let isShort = mode == .bits16
        let selector = isShort ? Selector.localCode : Selector.code32
        context[Slot.farPointer] = rip | UInt64(selector) << 32
        context[Slot.dataSelector] = UInt64(isShort ? Selector.localData : Selector.data)
        enterLegacy()
      }
      for number in 0..<16 { registers[number] = context[number] }
      let vector = context[Slot.vector]
      return Result(
        vector: vector == .max ? nil : Int(vector), errorCode: context[Slot.errorCode],
        rip: context[Slot.rip],
        flags: context[Slot.flags])
    }

    /// What makes code leave, to lie at `end` in the mode's code segment: a jump to `exit`.
    func way(out end: UInt64, _ mode: CodeMode) -> [UInt8] {
      let selector = SampleBuilder.bytes(UInt64(Selector.code64), 2)
      return switch mode {
      case .bits64: [0xe9] + SampleBuilder.bytes(exit &- (end + 5), 4)
      case .bits32: [0xea] + SampleBuilder.bytes(exit, 4) + selector
      case .bits16: [0x66, 0xea] + SampleBuilder.bytes(exit, 4) + selector
      }
    }

    // MARK: - Machine code

    /// The ways in, for 64-bit code and for the rest, and the way out; all addresses are absolute. Answers
    /// where the second and the third start.
    private static func stubCode() -> ([UInt8], Int, Int) {
      var code: [UInt8] = []
      func address(_ slot: Int) -> [UInt8] {
        SampleBuilder.bytes(Place.context + UInt64(slot) * 8, 4)
      }
      /// MOV between a register and a slot; `opcode` 0x8b loads, 0x89 stores.
      func move(_ opcode: UInt8, _ register: Int, _ slot: Int) -> [UInt8] {
        [0x48 | UInt8(register >> 3) << 2, opcode, 0x04 | UInt8(register & 7) << 3, 0x25]
          + address(slot)
      }
      let start: [UInt8] =
        [0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57]  // push rbx rbp r12–r15
        + move(0x89, 4, Slot.hostStack)
        + [0xff, 0x34, 0x25] + address(Slot.flags) + [0x9d]  // push flags; popfq
      let load = (0..<16).flatMap { move(0x8b, $0, $0) }
      code += start + load + [0xff, 0x24, 0x25] + address(Slot.target)  // jmp [target]
      let legacy = code.count
      code += start + move(0x8b, 0, Slot.dataSelector)
      code += [0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0]  // mov ds, es, ss, eax
      code += load + [0xff, 0x2c, 0x25] + address(Slot.farPointer)  // jmp far [farPointer]
      let exit = code.count
      for register in 0..<16 { code += move(0x89, register, register) }
      code += move(0x8b, 4, Slot.hostStack)
      code += [0x9c, 0x8f, 0x04, 0x25] + address(Slot.flags)  // pushfq; pop [flags]
      code += leave
      return (code, legacy, exit)
    }

    private static let leave: [UInt8] = [
      0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0,  // xor eax, eax; mov ds, eax; mov es, eax
      0xb0, UInt8(Selector.data), 0x8e, 0xd0,  // mov al, 0x2b; mov ss, eax
      0x68, 0x02, 0x02, 0x00, 0x00, 0x9d,  // push 0x202; popfq
      0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3,  // pop …; ret
    ]

    /// By machine code, since the C library has no such calls.
    private func systemCall(_ number: UInt32, _ a: UInt32, _ b: UInt32, _ c: UInt32) {
      func bytes(_ value: UInt32) -> [UInt8] { SampleBuilder.bytes(UInt64(value), 4) }
      let code: [UInt8] =
        [0xb8] + bytes(number) + [0xbf] + bytes(a) + [0xbe] + bytes(b) + [0xba] + bytes(c)
        + [0x0f, 0x05, 0xc3]
      self.code.copyMemory(from: code, byteCount: code.count)
      unsafeBitCast(self.code, to: (@convention(c) () -> Void).self)()
    }

    /// modify_ldt: a 16-bit segment of privilege level 3; `contents` 0 is data, 2 is code.
    private func setLocalSegment(_ index: UInt32, base: UInt64, limit: UInt64, contents: UInt64) {
      let description = context + Slot.segmentDescription
      description[0] = UInt64(index) | base << 32
      // Flags: not 32-bit, contents from bit 1, readable, limit in bytes, present, useable.
      description[1] = limit | (contents << 1 | 1 << 6) << 32
      systemCall(154, 1, UInt32(Place.context) + UInt32(Slot.segmentDescription) * 8, 16)
    }

    // MARK: - Exceptions

    private static func handleSignals(_ pages: UnsafeMutableRawPointer, exit: UInt64) {
      hostContext = pages.assumingMemoryBound(to: UInt64.self)
      // What follows the stores of the registers and flags: the rest of the way out.
      let tail = stubCode().0.count - leave.count
      hostRecovery = Place.stubs + UInt64(tail)
      var action = sigaction()
      action.__sigaction_handler.sa_sigaction = onException
      action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER
      // Once: whoever listens from now on hands on to these handlers what is not theirs.
      if hostHandlersInstalled { return }
      hostHandlersInstalled = true
      for (index, number) in handledSignals.enumerated() {
        // Read first, for the signal that arrives before the second call has told it.
        sigaction(number, nil, &previousActions[index])
        sigaction(number, &action, &previousActions[index])
      }
    }
  }

  private let handledSignals = [SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP]

  // What the signal handler needs; written before any code runs that raises one.
  nonisolated(unsafe) private var hostContext: UnsafeMutablePointer<UInt64>?
  nonisolated(unsafe) private var hostRecovery: UInt64 = 0
  nonisolated(unsafe) private var hostHandlersInstalled = false
  nonisolated(unsafe) private var previousActions = Array<sigaction>(
    repeating: sigaction(), count: 5)

  /// Not raised by code under test: whoever listened before hears of it, and goes on listening.
  private func handOn(
    _ number: Int32, _ info: UnsafeMutablePointer<siginfo_t>?, _ frame: UnsafeMutableRawPointer
  ) {
    guard let index = handledSignals.firstIndex(of: number) else { return }
    let previous = previousActions[index]
    if previous.sa_flags & SA_SIGINFO != 0 {
      previous.__sigaction_handler.sa_sigaction(number, info, frame)
    } else {
      // The default: the instruction is tried again and ends the process.
      signal(number, SIG_DFL)
    }
  }

  /// In code under test: takes the registers from the frame and goes to the way out.
  private func onException(
    _ number: Int32, _ info: UnsafeMutablePointer<siginfo_t>?, _ frame: UnsafeMutableRawPointer?
  ) {
    guard let frame, let hostContext else { return }
    let machine = frame.assumingMemoryBound(to: ucontext_t.self)
    withUnsafeMutableBytes(of: &machine.pointee.uc_mcontext.gregs) { bytes in
      let saved = bytes.baseAddress!.assumingMemoryBound(to: UInt64.self)
      let rip = saved[16]
      let selector = UInt16(truncatingIfNeeded: saved[18])
      let isOurs =
        selector != HostProcessor.Selector.code64
        || rip >= HostProcessor.Place.data
          && rip < HostProcessor.Place.code + HostProcessor.Place.codeSize
      guard isOurs else {
        handOn(number, info, UnsafeMutableRawPointer(machine))
        return
      }
      // RAX, RCX, …, R15 in the order of the signal frame.
      let order = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7]
      for register in 0..<16 { hostContext[register] = saved[order[register]] }
      hostContext[HostProcessor.Slot.flags] = saved[17]
      hostContext[HostProcessor.Slot.vector] = saved[20]
      hostContext[HostProcessor.Slot.rip] = rip
      hostContext[HostProcessor.Slot.errorCode] = saved[19]
      saved[15] = hostContext[HostProcessor.Slot.hostStack]
      saved[16] = hostRecovery
      saved[17] = 0x202
      saved[18] = saved[18] & ~0xffff | UInt64(HostProcessor.Selector.code64)
    }
  }
#endif
