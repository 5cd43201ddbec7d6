import CProcessor
import Glibc

@testable import X86Processor

/// The registers that a vector instruction may name here, as both processors get and leave them.
struct VectorState: Equatable {
  /// XMM0 to XMM3.
  var vectors: InlineArray<4, SIMD2<UInt64>> = InlineArray(repeating: .zero)
  /// MM0 to MM3.
  var mmx: InlineArray<4, UInt64> = InlineArray(repeating: 0)
  var rax: UInt64 = 0
  var rcx: UInt64 = 0
  var rdx: UInt64 = 0
  /// The six status flags.
  var flags: UInt64 = 0
  var mxcsr: UInt32 = 0x1f80
  /// For the trampoline.
  var hostMXCSR: UInt32 = 0x1f80

  static let statusFlags: UInt64 = 0x8d5

  static func == (a: Self, b: Self) -> Bool {
    for index in 0..<4 where a.vectors[index] != b.vectors[index] || a.mmx[index] != b.mmx[index] {
      return false
    }
    return a.rax == b.rax && a.rcx == b.rcx && a.rdx == b.rdx && a.flags == b.flags
      && a.mxcsr == b.mxcsr
  }
}

extension VectorState: CustomStringConvertible {
  var description: String {
    func hex(_ value: UInt64) -> String { String(value, radix: 16) }
    let xmm = (0..<4).map { "\(hex(vectors[$0].y)):\(hex(vectors[$0].x))" }
    let mm = (0..<4).map { hex(mmx[$0]) }
    return "xmm \(xmm) mm \(mm) rax \(hex(rax)) rcx \(hex(rcx)) rdx \(hex(rdx))"
      + " flags \(hex(flags)) mxcsr \(hex(UInt64(mxcsr)))"
  }
}

/// Whether the host can run the guest's instructions itself.
var hostIsX86: Bool {
  #if arch(x86_64)
    true
  #else
    false
  #endif
}

/// The host's own processor, given one instruction to run on a state.
final class NativeProcessor {
  private let page: UnsafeMutableRawPointer

  /// - Parameter instruction: one that names none but the registers of `VectorState`.
  init(_ instruction: [UInt8]) {
    page = mmap(
      nil, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
    var code: [UInt8] = [0x53, 0x48, 0x89, 0xfb]  // push rbx; mov rbx, rdi
    code += [0x0f, 0xae, 0x93, 0x80, 0, 0, 0]  // ldmxcsr [rbx + 128]
    for n in 0..<4 as Range<UInt8> {
      code += [0x0f, 0x10, 0x43 | n << 3, n * 16]  // movups xmmN, [rbx + 16 N]
      code += [0x0f, 0x6f, 0x43 | n << 3, 64 + n * 8]  // movq mmN, [rbx + 64 + 8 N]
    }
    code += [0xff, 0x73, 0x78, 0x9d]  // push [rbx + 120]; popfq
    code += [0x48, 0x8b, 0x43, 0x60, 0x48, 0x8b, 0x4b, 0x68, 0x48, 0x8b, 0x53, 0x70]
    code += instruction
    code += [0x48, 0x89, 0x43, 0x60, 0x48, 0x89, 0x4b, 0x68, 0x48, 0x89, 0x53, 0x70]
    code += [0x9c, 0x8f, 0x43, 0x78]  // pushfq; pop [rbx + 120]
    code += [0x0f, 0xae, 0x9b, 0x80, 0, 0, 0]  // stmxcsr [rbx + 128]
    for n in 0..<4 as Range<UInt8> {
      code += [0x0f, 0x11, 0x43 | n << 3, n * 16, 0x0f, 0x7f, 0x43 | n << 3, 64 + n * 8]
    }
    code += [0x0f, 0x77, 0x0f, 0xae, 0x93, 0x84, 0, 0, 0]  // emms; ldmxcsr [rbx + 132]
    code += [0x5b, 0xc3]
    page.copyMemory(from: code, byteCount: code.count)
    mprotect(page, 4096, PROT_READ | PROT_EXEC)
  }

  deinit { munmap(page, 4096) }

  func run(_ state: VectorState) -> VectorState {
    let run = unsafeBitCast(
      page, to: (@convention(c) (UnsafeMutableRawPointer) -> Void).self)
    var state = state
    run(&state)
    state.flags &= VectorState.statusFlags
    return state
  }
}

/// The processor under test, given the same.
final class ThreadedProcessor {
  let cpu: CPU
  private let ops: UnsafeMutablePointer<x86_op>
  /// Whether the translator knows the instruction.
  let isDefined: Bool

  init(_ instruction: [UInt8]) throws {
    let raw = UnsafeMutableRawPointer.allocate(
      byteCount: MemoryLayout<x86_cpu>.size, alignment: 64)
    raw.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<x86_cpu>.size)
    cpu = raw.bindMemory(to: x86_cpu.self, capacity: 1)
    ops = .allocate(capacity: 32)
    let decoded = try instruction.withUnsafeBytes { bytes in
      try Decoder.decode(bytes, mode: .bits64)
    }
    precondition(Int(decoded.length) == instruction.count)
    var translator = Translator(into: ops, capacity: 32)
    if case .sequential = translator.translate(decoded, at: 0) {
      isDefined = true
    } else {
      isDefined = false
    }
    translator.appendLink({ _, _ in }, at: 0)
  }

  deinit {
    ops.deallocate()
    UnsafeMutableRawPointer(cpu).deallocate()
  }

  func run(_ state: VectorState) -> VectorState {
    var state = state
    resetVectorState(cpu)
    cpu.pointee.exit = 0
    for n in 0..<4 {
      cpu.setVector(UInt8(n), state.vectors[n])
      cpu.x87.pointee[mmx: UInt8(n)] = state.mmx[n]
    }
    cpu.rax = state.rax
    cpu.rcx = state.rcx
    cpu.rdx = state.rdx
    cpu.statusFlags = state.flags
    cpu.pointee.mxcsr = state.mxcsr
    enterVectorState(cpu)
    ops.pointee.run(cpu, ops)
    leaveVectorState(cpu)
    for n in 0..<4 {
      state.vectors[n] = cpu.vector(UInt8(n))
      state.mmx[n] = cpu.x87.pointee[mmx: UInt8(n)]
    }
    state.rax = cpu.rax
    state.rcx = cpu.rcx
    state.rdx = cpu.rdx
    state.flags = cpu.statusFlags
    state.mxcsr = cpu.pointee.mxcsr
    return state
  }
}
