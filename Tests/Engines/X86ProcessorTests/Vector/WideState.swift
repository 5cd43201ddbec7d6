import ArchitectureX86
import CProcessor
import Glibc
import Memory

@testable import X86Processor

/// The registers and the memory that an instruction with a VEX prefix may name here, as both processors get and
/// leave them. RBX holds the address of the whole.
struct WideState: Equatable {
  /// YMM0 to YMM3.
  var vectors: InlineArray<4, SIMD4<UInt64>> = InlineArray(repeating: .zero)
  var memory = SIMD4<UInt64>.zero
  var rax: UInt64 = 0
  var rcx: UInt64 = 0
  var rdx: UInt64 = 0
  /// The six status flags.
  var flags: UInt64 = 0
  var mxcsr: UInt32 = 0x1f80
  /// For the trampoline.
  var hostMXCSR: UInt32 = 0x1f80

  static let memoryOffset: UInt64 = 128
  /// Vectors and memory.
  static let addressable = 160

  static func == (a: Self, b: Self) -> Bool {
    for index in 0..<4 where a.vectors[index] != b.vectors[index] { return false }
    return a.memory == b.memory && a.rax == b.rax && a.rcx == b.rcx && a.rdx == b.rdx
      && a.flags == b.flags && a.mxcsr == b.mxcsr
  }
}

extension WideState: CustomStringConvertible {
  var description: String {
    func hex(_ value: UInt64) -> String { String(value, radix: 16) }
    func wide(_ value: SIMD4<UInt64>) -> String {
      (0..<4).reversed().map { hex(value[$0]) }.joined(separator: ":")
    }
    let ymm = (0..<4).map { wide(vectors[$0]) }
    return "ymm \(ymm) memory \(wide(memory)) rax \(hex(rax)) rcx \(hex(rcx)) rdx \(hex(rdx))"
      + " flags \(hex(flags)) mxcsr \(hex(UInt64(mxcsr)))"
  }
}

extension VectorSamples {
  mutating func wideState(modes: Bool) -> WideState {
    let (low, high) = (state(modes: modes), state())
    var wide = WideState()
    for index in 0..<4 {
      wide.vectors[index] = SIMD4(lowHalf: low.vectors[index], highHalf: high.vectors[index])
    }
    wide.memory = SIMD4(element(), element(), element(), element())
    if next() & 7 == 0 { wide.memory.x = next() & 0x7f }
    if next() & 7 == 0 { wide.vectors[3].x = next() & 0x7f }
    (wide.rax, wide.rcx, wide.rdx) = (low.rax, low.rcx, low.rdx)
    if next() & 3 == 0 { wide.rcx = next() & 0x7f7f }
    if next() & 7 == 0 { wide.rax = 0 }
    (wide.flags, wide.mxcsr) = (low.flags, low.mxcsr)
    return wide
  }
}

/// Whether the host's processor has AVX2 and what usually comes with it.
let hostHasAVX2 = hostHas("avx2", "fma", "f16c", "bmi1", "bmi2", "abm", "movbe")

/// Whether it has what the model `max` has beyond x86-64-v3.
let hostHasCiphers =
  hostHasAVX2 && hostHas("aes", "pclmulqdq", "sha_ni", "adx", "vaes", "vpclmulqdq")

/// Whether the host's kernel names features of its processor.
private func hostHas(_ needed: Substring...) -> Bool {
  #if arch(x86_64)
    guard let text = try? String(contentsOfFile: "/proc/cpuinfo") else { return false }
    let flags = text.split(separator: "\n").first { $0.hasPrefix("flags") }?.split(separator: " ")
    return flags.map { flags in needed.allSatisfy(flags.contains) } ?? false
  #else
    return false
  #endif
}

extension String {
  /// The contents of a small file, without Foundation.
  fileprivate init(contentsOfFile path: String) throws {
    struct Unreadable: Error {}
    guard let file = fopen(path, "r") else { throw Unreadable() }
    defer { fclose(file) }
    var bytes = [UInt8](repeating: 0, count: 1 << 14)
    let count = fread(&bytes, 1, bytes.count, file)
    self.init(decoding: bytes.prefix(count), as: UTF8.self)
  }
}

/// The host's own processor, given one instruction to run on a state.
final class WideNativeProcessor {
  private let page: UnsafeMutableRawPointer
  /// Swift aligns no type to 32 bytes, which some instructions ask for.
  private let place: UnsafeMutablePointer<WideState>

  init(_ instruction: [UInt8]) {
    place = UnsafeMutableRawPointer.allocate(
      byteCount: MemoryLayout<WideState>.size, alignment: 64
    ).bindMemory(to: WideState.self, capacity: 1)
    page = mmap(nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    func at(_ offset: UInt8) -> [UInt8] { [offset, 0, 0, 0] }
    var code: [UInt8] = [0x53, 0x48, 0x89, 0xfb]  // push rbx; mov rbx, rdi
    code += [0x0f, 0xae, 0x93] + at(192)  // ldmxcsr [rbx + 192]
    for n in 0..<4 as Range<UInt8> {
      code += [0xc5, 0xfc, 0x10, 0x83 | n << 3] + at(n * 32)  // vmovups ymmN, [rbx + 32 N]
    }
    code += [0xff, 0xb3] + at(184) + [0x9d]  // push [rbx + 184]; popfq
    let general: [(UInt8, UInt8)] = [(0, 160), (1, 168), (2, 176)]
    for (register, offset) in general { code += [0x48, 0x8b, 0x83 | register << 3] + at(offset) }
    code += instruction
    for (register, offset) in general { code += [0x48, 0x89, 0x83 | register << 3] + at(offset) }
    code += [0x9c, 0x8f, 0x83] + at(184)  // pushfq; pop [rbx + 184]
    code += [0x0f, 0xae, 0x9b] + at(192)  // stmxcsr [rbx + 192]
    for n in 0..<4 as Range<UInt8> { code += [0xc5, 0xfc, 0x11, 0x83 | n << 3] + at(n * 32) }
    code += [0xc5, 0xf8, 0x77, 0x0f, 0xae, 0x93] + at(196)  // vzeroupper; ldmxcsr [rbx + 196]
    code += [0x5b, 0xc3]
    page.copyMemory(from: code, byteCount: code.count)
    mprotect(page, 4096, PROT_READ | PROT_EXEC)
  }

  deinit {
    munmap(page, 4096)
    UnsafeMutableRawPointer(place).deallocate()
  }

  func run(_ state: WideState) -> WideState {
    let run = unsafeBitCast(page, to: (@convention(c) (UnsafeMutableRawPointer) -> Void).self)
    place.initialize(to: state)
    run(place)
    var state = place.pointee
    state.flags &= VectorState.statusFlags
    return state
  }
}

extension LongModeCore {
  /// A processor whose system lets AVX run.
  static func withAVX(
    translates: Bool = TestMachine.usesTranslator, mode: CodeMode = .bits64
  ) throws -> LongModeCore {
    let machine = try LongModeCore(model: .max, translates: translates, mode: mode)
    machine.cpu.pointee.cr4 |= X86.CR4.xsave
    machine.cpu.pointee.xcr0 = 7
    machine.core.modeChanged()
    return machine
  }

  /// Runs an instruction on a state that lies at `base`.
  func run(_ instruction: [UInt8], on state: WideState, at base: UInt64) throws -> (
    WideState, exception: UInt8?
  ) {
    var state = state
    for n in 0..<4 {
      cpu.setWide(UInt8(n), state.vectors[n])
      for word in 0..<4 {
        try memory.store(state.vectors[n][word], at: GPA(base + UInt64(32 * n + 8 * word)))
      }
    }
    for word in 0..<4 {
      try memory.store(
        state.memory[word], at: GPA(base + WideState.memoryOffset + UInt64(8 * word)))
    }
    (cpu.rax, cpu.rcx, cpu.rdx, cpu.rbx) = (state.rax, state.rcx, state.rdx, base)
    cpu.statusFlags = state.flags
    cpu.pointee.mxcsr = state.mxcsr
    let exception = try run(instruction)
    for n in 0..<4 { state.vectors[n] = cpu.wide(UInt8(n)) }
    for word in 0..<4 {
      state.memory[word] = try memory.load(
        UInt64.self, at: GPA(base + WideState.memoryOffset + UInt64(8 * word)))
    }
    (state.rax, state.rcx, state.rdx) = (cpu.rax, cpu.rcx, cpu.rdx)
    state.flags = cpu.statusFlags
    state.mxcsr = cpu.pointee.mxcsr
    return (state, exception)
  }
}
