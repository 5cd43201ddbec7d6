#if arch(x86_64) && os(Linux)
  import Glibc
  import Synchronization

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
    private enum Slot {
      static let flags = 16
      static let hostStack = 17
      static let target = 18
      static let vector = 19
      static let rip = 20
    }

    let data: UnsafeMutableRawPointer
    let code: UnsafeMutableRawPointer
    private let context: UnsafeMutablePointer<UInt64>
    private let stubs: UnsafeMutableRawPointer
    /// Where code goes on when it is done, and where a signal handler makes it go on.
    let exit: UInt64
    private let enter: @convention(c) () -> Void
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
      let (bytes, exitOffset) = Self.stubCode()
      stubs.copyMemory(from: bytes, byteCount: bytes.count)
      exit = Place.stubs + UInt64(exitOffset)
      enter = unsafeBitCast(stubs, to: (@convention(c) () -> Void).self)
      alternateStack = .allocate(byteCount: 1 << 16, alignment: 16)
      Self.handleSignals(pages, exit: exit)
      setGSBase()
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
      /// Of the instruction that raised it.
      var rip: UInt64
      var flags: UInt64
    }

    /// Executes what lies at `rip` until it jumps to `exit`.
    func run(from rip: UInt64, _ registers: inout [UInt64], flags: UInt64) -> Result {
      for number in 0..<16 { context[number] = registers[number] }
      context[Slot.flags] = flags
      context[Slot.target] = rip
      context[Slot.vector] = .max
      enter()
      for number in 0..<16 { registers[number] = context[number] }
      let vector = context[Slot.vector]
      return Result(
        vector: vector == .max ? nil : Int(vector), rip: context[Slot.rip],
        flags: context[Slot.flags])
    }

    // MARK: - Machine code

    /// The way in and the way out; all addresses are absolute. Answers where the way out starts.
    private static func stubCode() -> ([UInt8], Int) {
      var code: [UInt8] = []
      func address(_ slot: Int) -> [UInt8] {
        let value = UInt32(Place.context) + UInt32(slot) * 8
        return (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32($0 * 8)) }
      }
      /// MOV between a register and a slot; `opcode` 0x8b loads, 0x89 stores.
      func move(_ opcode: UInt8, _ register: Int, _ slot: Int) -> [UInt8] {
        [0x48 | UInt8(register >> 3) << 2, opcode, 0x04 | UInt8(register & 7) << 3, 0x25]
          + address(slot)
      }
      code += [0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57]  // push rbx rbp r12–r15
      code += move(0x89, 4, Slot.hostStack)
      code += [0xff, 0x34, 0x25] + address(Slot.flags) + [0x9d]  // push flags; popfq
      for register in 0..<16 { code += move(0x8b, register, register) }
      code += [0xff, 0x24, 0x25] + address(Slot.target)  // jmp [target]
      let exit = code.count
      for register in 0..<16 { code += move(0x89, register, register) }
      code += move(0x8b, 4, Slot.hostStack)
      code += [0x9c, 0x8f, 0x04, 0x25] + address(Slot.flags)  // pushfq; pop [flags]
      code += leave
      return (code, exit)
    }

    /// push 0x202; popfq; pop r15–r12 rbp rbx; ret
    private static let leave: [UInt8] = [
      0x68, 0x02, 0x02, 0x00, 0x00, 0x9d, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d,
      0x5b, 0xc3,
    ]

    /// arch_prctl(ARCH_SET_GS): machine code, since the C library has no such call.
    private func setGSBase() {
      let base = (0..<4).map { UInt8(truncatingIfNeeded: Self.gsBase >> UInt64($0 * 8)) }
      let bytes: [UInt8] =
        [0xb8, 158, 0, 0, 0, 0xbf, 0x01, 0x10, 0, 0, 0xbe] + base + [0x0f, 0x05, 0xc3]
      code.copyMemory(from: bytes, byteCount: bytes.count)
      unsafeBitCast(code, to: (@convention(c) () -> Void).self)()
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
      for (index, number) in handledSignals.enumerated() {
        var previous = sigaction()
        sigaction(number, &action, &previous)
        if !hostHandlersInstalled { previousActions[index] = previous }
      }
      hostHandlersInstalled = true
    }
  }

  private let handledSignals = [SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP]

  // What the signal handler needs; written before any code runs that raises one.
  nonisolated(unsafe) private var hostContext: UnsafeMutablePointer<UInt64>?
  nonisolated(unsafe) private var hostRecovery: UInt64 = 0
  nonisolated(unsafe) private var hostHandlersInstalled = false
  nonisolated(unsafe) private var previousActions = Array<sigaction>(
    repeating: sigaction(), count: 5)

  /// In code under test: takes the registers from the frame and goes to the way out.
  private func onException(
    _ number: Int32, _ info: UnsafeMutablePointer<siginfo_t>?, _ frame: UnsafeMutableRawPointer?
  ) {
    guard let frame, let hostContext else { return }
    let machine = frame.assumingMemoryBound(to: ucontext_t.self)
    withUnsafeMutableBytes(of: &machine.pointee.uc_mcontext.gregs) { bytes in
      let saved = bytes.baseAddress!.assumingMemoryBound(to: UInt64.self)
      let rip = saved[16]
      guard rip >= HostProcessor.Place.data, rip < 0x5020_0000 else {
        let index = handledSignals.firstIndex(of: number) ?? 0
        sigaction(number, &previousActions[index], nil)
        return
      }
      // RAX, RCX, …, R15 in the order of the signal frame.
      let order = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7]
      for register in 0..<16 { hostContext[register] = saved[order[register]] }
      hostContext[16] = saved[17]
      hostContext[19] = saved[20]
      hostContext[20] = rip
      saved[15] = hostContext[17]
      saved[16] = hostRecovery
      saved[17] = 0x202
    }
  }
#endif
