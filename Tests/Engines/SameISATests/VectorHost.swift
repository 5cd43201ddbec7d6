#if arch(x86_64) && os(Linux)
  import ArchitectureX86
  import Glibc

  @testable import SameISA

  /// The registers that an instruction under test may see, without RSP and R15.
  struct VectorHostState: Equatable {
    /// Four words of each vector register, 16 general registers, the status flags.
    fileprivate(set) var words = [UInt64](repeating: 0, count: 81)

    static let statusFlags: UInt64 = 0x8d5

    var flags: UInt64 {
      get { words[80] }
      set { words[80] = newValue }
    }

    subscript(general number: Int) -> UInt64 {
      get { words[64 + number] }
      set { words[64 + number] = newValue }
    }

    /// One of the four quadwords of a YMM register.
    subscript(vector number: Int, word: Int) -> UInt64 {
      get { words[4 * number + word] }
      set { words[4 * number + word] = newValue }
    }
  }

  /// The host's own processor, given one instruction and a page of memory between two that nothing may touch.
  ///
  /// An exception arrives as a signal, whose handler notes it in the state, which R15 points to, and goes to the way
  /// out.
  final class VectorHost {
    /// The state as machine code sees it, in bytes.
    private enum Offset {
      static let general = 512
      static let flags = 640
      fileprivate static let exception = 648
      fileprivate static let errorCode = 656
      static let mxcsr = 664
      static let size = 672
    }

    static let pageSize = 4096

    /// What the host announces and its kernel has enabled.
    private(set) var features = X86.CPUModel.max.features
    /// The page of memory, which starts out writable.
    let memory: UnsafeMutableRawPointer
    private let guarded: UnsafeMutableRawPointer
    private let code: UnsafeMutableRawPointer
    private let state: UnsafeMutableRawPointer
    private var slot = 0

    init() {
      code = Self.map(1, PROT_READ | PROT_WRITE | PROT_EXEC)
      guarded = Self.map(3, PROT_NONE)
      memory = guarded + Self.pageSize
      mprotect(memory, Self.pageSize, PROT_READ | PROT_WRITE)
      state = .allocate(byteCount: Offset.size, alignment: 64)
      writeStub(withAVX: false)
      features = HostProcessor.features!
      writeStub(withAVX: features.hasAVX)
      handleExceptions()
    }

    deinit {
      (slotStart, slotEnd) = (0, 0)
      munmap(code, Self.pageSize)
      munmap(guarded, 3 * Self.pageSize)
      state.deallocate()
    }

    private static func map(_ pages: Int, _ protection: Int32) -> UnsafeMutableRawPointer {
      mmap(nil, pages * pageSize, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    }

    func setWritable(_ isWritable: Bool) {
      mprotect(memory, Self.pageSize, isWritable ? PROT_READ | PROT_WRITE : PROT_READ)
    }

    // MARK: - Running

    /// What an exception was.
    enum Exception: Equatable {
      case invalidOpcode, generalProtection
      case pageFault(write: Bool)
      case other(UInt64)
    }

    /// Puts an instruction where `run` finds it.
    func load(_ instruction: [UInt8]) {
      let padding = [UInt8](repeating: 0x90, count: Self.slotSize - instruction.count)
      (code + slot).copyMemory(from: instruction + padding, byteCount: Self.slotSize)
    }

    /// Runs the instruction.
    ///
    /// - Returns: the exception that it raised, or `nil`.
    func run(_ registers: inout VectorHostState) -> Exception? {
      registers.words.withUnsafeBytes {
        state.copyMemory(from: $0.baseAddress!, byteCount: $0.count)
      }
      state.storeBytes(of: UInt64.max, toByteOffset: Offset.exception, as: UInt64.self)
      unsafeBitCast(code, to: (@convention(c) (UnsafeMutableRawPointer) -> Void).self)(state)
      registers.words.withUnsafeMutableBytes {
        $0.copyMemory(from: UnsafeRawBufferPointer(start: state, count: $0.count))
      }
      registers.flags &= VectorHostState.statusFlags
      let exception = state.load(fromByteOffset: Offset.exception, as: UInt64.self)
      let errorCode = state.load(fromByteOffset: Offset.errorCode, as: UInt64.self)
      return switch exception {
      case .max: nil
      case 6: .invalidOpcode
      case 13: .generalProtection
      case 14: .pageFault(write: errorCode & 2 != 0)
      default: .other(exception)
      }
    }

    // MARK: - Machine code

    private static let slotSize = 16

    private func writeStub(withAVX: Bool) {
      func at(_ offset: Int) -> [UInt8] {
        (0..<4).map { UInt8(truncatingIfNeeded: offset >> (8 * $0)) }
      }
      /// MOVUPS or VMOVUPS between a register and the state; `opcode` 0x10 loads, 0x11 stores.
      func vectors(_ opcode: UInt8) -> [UInt8] {
        (0..<16 as Range<UInt8>).flatMap { n -> [UInt8] in
          let prefix: [UInt8] =
            withAVX
            ? [0xc4, n < 8 ? 0xc1 : 0x41, 0x7c, opcode] : [0x41 | (n >> 3) << 2, 0x0f, opcode]
          return prefix + [0x87 | (n & 7) << 3] + at(Int(n) * 32)
        }
      }
      /// MOV between a register and the state; `opcode` 0x8b loads, 0x89 stores.
      func generals(_ opcode: UInt8) -> [UInt8] {
        (0..<15 as Range<UInt8>).filter { $0 != 4 }.flatMap { n -> [UInt8] in
          [0x49 | (n >> 3) << 2, opcode, 0x87 | (n & 7) << 3] + at(Offset.general + Int(n) * 8)
        }
      }
      let enter: [UInt8] =
        [0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57]  // push rbx rbp r12–r15
        + [0x49, 0x89, 0xff]  // mov r15, rdi
        + [0x41, 0x0f, 0xae, 0x9f] + at(Offset.mxcsr)  // stmxcsr [r15 + …]
        + vectors(0x10)
        + [0x41, 0xff, 0xb7] + at(Offset.flags) + [0x9d]  // push [r15 + …]; popfq
        + generals(0x8b)
      let leave: [UInt8] =
        generals(0x89)
        + [0x9c, 0x41, 0x8f, 0x87] + at(Offset.flags)  // pushfq; pop [r15 + …]
        + vectors(0x11)
        + (withAVX ? [0xc5, 0xf8, 0x77] : [])  // vzeroupper
        + [0x41, 0x0f, 0xae, 0x97] + at(Offset.mxcsr)  // ldmxcsr [r15 + …]
        + [0x68, 0x02, 0x02, 0x00, 0x00, 0x9d]  // push 0x202; popfq
        + [0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3]  // pop …; ret
      slot = enter.count
      let all = enter + [UInt8](repeating: 0x90, count: Self.slotSize) + leave
      precondition(all.count <= Self.pageSize)
      code.copyMemory(from: all, byteCount: all.count)
    }

    // MARK: - Exceptions

    private func handleExceptions() {
      slotStart = UInt64(UInt(bitPattern: code + slot))
      slotEnd = slotStart + UInt64(Self.slotSize)
      // Once: whoever listens from now on hands on to these handlers what is not theirs.
      if isListening { return }
      isListening = true
      var action = sigaction()
      action.__sigaction_handler.sa_sigaction = onException
      // On the other stack where a thread has one: other tests' code, whose exceptions are handed on, runs on stacks that
      // cannot hold a signal's frame.
      action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER
      for (index, number) in handledSignals.enumerated() {
        // Read first, for the signal that arrives before the second call has told it.
        sigaction(number, nil, &previousActions[index])
        sigaction(number, &action, &previousActions[index])
      }
    }

    /// In the instruction under test: notes the exception and goes to the way out.
    ///
    /// - Returns: whether it was raised there.
    fileprivate static func take(_ registers: UnsafeMutablePointer<UInt64>) -> Bool {
      // R15 is 7, RIP 16, then the exception and its error code.
      guard registers[16] >= slotStart, registers[16] < slotEnd,
        let state = UnsafeMutableRawPointer(bitPattern: UInt(registers[7]))
      else { return false }
      state.storeBytes(of: registers[20], toByteOffset: Offset.exception, as: UInt64.self)
      state.storeBytes(of: registers[19], toByteOffset: Offset.errorCode, as: UInt64.self)
      registers[16] = slotEnd
      return true
    }
  }

  private let handledSignals = [SIGSEGV, SIGILL, SIGBUS, SIGFPE]

  // What the signal handler needs; written before any code runs that raises one.
  nonisolated(unsafe) private var slotStart: UInt64 = 0
  nonisolated(unsafe) private var slotEnd: UInt64 = 0
  nonisolated(unsafe) private var isListening = false
  nonisolated(unsafe) private var previousActions = Array<sigaction>(
    repeating: sigaction(), count: 4)

  private func onException(
    _ number: Int32, _ info: UnsafeMutablePointer<siginfo_t>?, _ frame: UnsafeMutableRawPointer?
  ) {
    guard let frame else { return }
    let machine = frame.assumingMemoryBound(to: ucontext_t.self)
    let isTaken = withUnsafeMutableBytes(of: &machine.pointee.uc_mcontext.gregs) {
      VectorHost.take($0.baseAddress!.assumingMemoryBound(to: UInt64.self))
    }
    guard !isTaken, let index = handledSignals.firstIndex(of: number) else { return }
    // Not raised by code under test: whoever listened before hears of it, and goes on listening.
    let previous = previousActions[index]
    if previous.sa_flags & SA_SIGINFO != 0 {
      previous.__sigaction_handler.sa_sigaction(number, info, frame)
    } else {
      // The default: the instruction is tried again and ends the process.
      signal(number, SIG_DFL)
    }
  }
#endif
