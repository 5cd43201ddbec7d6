import CFloat
package import CProcessor
import Glibc

/// What instructions may change of a core between two accesses to memory: kept, brought back, compared.
package final class ProcessorImage {
  private let bytes: UnsafeMutableRawPointer
  private var floating: UInt32 = 0
  /// The status flags at their places in RFLAGS.
  package private(set) var flags: UInt64 = 0
  package private(set) var rip: UInt64 = 0
  private var faultAddress: UInt64 = 0
  private var exit: UInt32 = 0

  /// General registers, scratch, the page that runs, bases of segments, and flags.
  private static let general = 0..<MemoryLayout<x86_cpu>.offset(of: \.tlb)!
  /// MXCSR, and the registers of the vector units and the x87 FPU.
  private static let vectors =
    MemoryLayout<x86_cpu>.offset(of: \.mxcsr)!..<MemoryLayout<x86_cpu>.offset(of: \.owner)!
  private static let x87 = MemoryLayout<x86_cpu>.offset(of: \.x87)!
  /// Bytes of the x87 FPU without what it keeps of the last instruction, which host code does not.
  private static let x87Count = X87Layout.tags + 1
  private static let vector = MemoryLayout<x86_cpu>.offset(of: \.vector)!

  package init() {
    bytes = .allocate(byteCount: MemoryLayout<x86_cpu>.size, alignment: 64)
    bytes.initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<x86_cpu>.size)
  }

  deinit { bytes.deallocate() }

  /// Keeps what the processor is now.
  package func keep(_ cpu: UnsafeMutablePointer<x86_cpu>) {
    floating = x86_read_mxcsr()
    for range in [Self.general, Self.vectors] {
      memcpy(bytes + range.lowerBound, UnsafeRawPointer(cpu) + range.lowerBound, range.count)
    }
    flags = cpu.statusFlags
    rip = cpu.pointee.rip
    faultAddress = cpu.pointee.cr2
    exit = cpu.pointee.exit
  }

  /// Makes the processor what it was.
  package func bringBack(_ cpu: UnsafeMutablePointer<x86_cpu>) {
    for range in [Self.general, Self.vectors] {
      memcpy(UnsafeMutableRawPointer(cpu) + range.lowerBound, bytes + range.lowerBound, range.count)
    }
    cpu.pointee.rip = rip
    cpu.pointee.cr2 = faultAddress
    cpu.pointee.exit = exit
    x86_write_mxcsr(floating)
  }

  /// Where the instruction that comes next lies, where that is known better than by `rip`.
  package func place(at rip: UInt64) { self.rip = rip }

  private func word(_ offset: Int) -> UInt64 { bytes.load(fromByteOffset: offset, as: UInt64.self) }

  package func register(_ number: Int) -> UInt64 { word(8 * number) }

  /// The data registers of the x87 FPU, without what lies between them; then control and status word, and tags.
  private var x87: [[UInt64]] {
    (0..<8).map { number in
      let offset = Self.x87 + X87Layout.registers + 16 * number
      return [word(offset), word(offset + 8) & 0xffff]
    } + [
      [X87Layout.control, X87Layout.status, X87Layout.tags].map {
        UInt64(bytes.load(fromByteOffset: Self.x87 + $0, as: UInt16.self))
          & ($0 == X87Layout.tags ? 0xff : 0xffff)
      }
    ]
  }

  /// Whether no exception of SSE's is raised.
  package var masksFloatingExceptions: Bool { mxcsr & MXCSR.masks == MXCSR.masks }

  /// The general registers and flags as text.
  package var registers: String {
    Self.names.enumerated().map { "\($1)=0x\(String(register($0), radix: 16))" }
      .joined(separator: " ") + " " + Self.names(of: flags, .max)
  }

  private static let names = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12",
    "r13", "r14", "r15",
  ]

  private var mxcsr: UInt32 {
    bytes.load(fromByteOffset: MemoryLayout<x86_cpu>.offset(of: \.mxcsr)!, as: UInt32.self)
      | floating & MXCSR.flags
  }

  private static func vectorOffset(_ register: Int) -> Int { vector + 16 * register }

  /// Whether nothing that a program sees differs, apart from status flags that are not in `live`.
  package func isAlike(_ other: ProcessorImage, live: UInt64) -> Bool {
    let upper = Int(X86_VECTOR_UPPER)
    return memcmp(bytes, other.bytes, 128) == 0 && (flags ^ other.flags) & live == 0
      && rip == other.rip && mxcsr == other.mxcsr
      && memcmp(bytes + Self.vector, other.bytes + Self.vector, 256) == 0
      && memcmp(
        bytes + Self.vectorOffset(upper), other.bytes + Self.vectorOffset(upper), 256) == 0
      && (memcmp(bytes + Self.x87, other.bytes + Self.x87, Self.x87Count) == 0
        || x87 == other.x87)
  }

  /// Something that differs, as text.
  package struct Difference: Sendable {
    package let name: String
    package let value: String
    package let other: String
  }

  /// What differs, with the value of this image and of the other.
  package func differences(_ other: ProcessorImage, live: UInt64) -> [Difference] {
    var all: [Difference] = []
    func compare(_ name: String, _ value: [UInt64], _ otherValue: [UInt64]) {
      func text(_ words: [UInt64]) -> String {
        words.count == 1
          ? "0x" + String(words[0], radix: 16) : "0x" + words.reversed().map(Self.digits).joined()
      }
      if value != otherValue {
        all.append(Difference(name: name, value: text(value), other: text(otherValue)))
      }
    }
    compare("rip", [rip], [other.rip])
    for (number, name) in Self.names.enumerated() {
      compare(name, [register(number)], [other.register(number)])
    }
    if (flags ^ other.flags) & live != 0 {
      all.append(
        Difference(
          name: "flags", value: Self.names(of: flags, live),
          other: Self.names(of: other.flags, live)))
    }
    for number in 0..<16 {
      func words(_ image: ProcessorImage) -> [UInt64] {
        [number, number + Int(X86_VECTOR_UPPER)].flatMap {
          let offset = Self.vectorOffset($0)
          return [image.word(offset), image.word(offset + 8)]
        }
      }
      compare("ymm\(number)", words(self), words(other))
    }
    compare("mxcsr", [UInt64(mxcsr)], [UInt64(other.mxcsr)])
    for (number, (value, otherValue)) in zip(x87, other.x87).enumerated() {
      compare(
        number < 8 ? "R\(number) of the x87 FPU" : "x87 control, status, tags", value, otherValue)
    }
    return all
  }

  private static func digits(_ word: UInt64) -> String {
    let digits = String(word, radix: 16)
    return String(repeating: "0", count: 16 - digits.count) + digits
  }

  /// Flags that are set, and of those that count those that are clear.
  private static func names(of flags: UInt64, _ live: UInt64) -> String {
    [(0, "CF"), (2, "PF"), (4, "AF"), (6, "ZF"), (7, "SF"), (11, "OF")].compactMap { bit, name in
      live >> UInt64(bit) & 1 == 0 ? nil : "\(name)=\(flags >> UInt64(bit) & 1)"
    }.joined(separator: " ")
  }
}
