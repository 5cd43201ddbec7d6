#if arch(x86_64) && os(Linux)
  import Glibc
  @testable import X86Processor

  /// The x87 FPU of the host, made to execute single instructions: the oracle for our own.
  ///
  /// Each instruction gets a routine of machine code that loads a whole FPU state, executes, and
  /// saves the state again; FNSAVE does not wait, so that unmasked exceptions can be looked at too.
  final class HostX87 {
    private typealias Routine =
      @convention(c) (
        UnsafeRawPointer, UnsafeMutableRawPointer, UnsafeMutableRawPointer, UInt64
      ) -> UInt64
    private let routine: Routine
    private let memory: UnsafeMutableRawPointer
    private let image: UnsafeMutableRawPointer
    private let page: UnsafeMutableRawPointer

    init(_ instruction: X87Instruction) {
      let modrm = instruction.modrm < 0xc0 ? instruction.modrm & 0x38 | 2 : instruction.modrm
      let code: [UInt8] = [
        0x51, 0x9d,  // push rcx; popfq
        0xdd, 0x27,  // frstor [rdi]
        instruction.opcode, modrm,  // memory operands at [rdx]
        0x9c, 0x58,  // pushfq; pop rax
        0xdd, 0x36,  // fnsave [rsi]
        0xc3,  // ret
      ]
      let page = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
      code.withUnsafeBytes { page.copyMemory(from: $0.baseAddress!, byteCount: $0.count) }
      precondition(mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0, "a page for machine code")
      self.page = page
      routine = unsafeBitCast(page, to: Routine.self)
      memory = .allocate(byteCount: 16, alignment: 16)
      image = .allocate(byteCount: 128, alignment: 16)
    }

    deinit {
      munmap(page, 4096)
      memory.deallocate()
      image.deallocate()
    }

    /// Executes the instruction on `state`. Returns memory behind the operand, and RFLAGS.
    func execute(
      on state: inout X87State, operand: X87Bytes, flags: UInt64
    ) -> (memory: X87Bytes, flags: UInt64) {
      memory.storeBytes(of: operand.low, as: UInt64.self)
      memory.storeBytes(of: operand.high, toByteOffset: 8, as: UInt16.self)
      var copy = state
      copy.storeState(to: image, .protected32)
      let after = routine(image, image, memory, flags)
      state.loadState(from: image, .protected32)
      let bytes = X87Bytes(
        memory.load(as: UInt64.self), memory.load(fromByteOffset: 8, as: UInt16.self))
      return (bytes, after)
    }
  }
#endif
