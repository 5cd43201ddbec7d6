import ArchitectureX86
import CProcessor

/// What the host's processor has: nothing is run on it that it does not have.
enum HostProcessor {
  /// `nil` where the host is no x86-64 processor.
  static let features: X86.Features? = read()

  private static func read() -> X86.Features? {
    var leaf1 = Registers()
    guard leaf1.read(1) else { return nil }
    var leaf7 = Registers()
    _ = leaf7.read(7)
    var extended = Registers()
    _ = extended.read(0x8000_0001)
    var features = X86.CPUModel.max.features
    (features.leaf1ECX, features.leaf1EDX) = (leaf1.ecx, leaf1.edx)
    (features.leaf7EBX, features.leaf7ECX, features.leaf7EDX) = (leaf7.ebx, leaf7.ecx, leaf7.edx)
    (features.extendedECX, features.extendedEDX) = (extended.ecx, extended.edx)
    if x86_host_xcr0() & 6 != 6 {
      // AVX, FMA, F16C; AVX2; VAES and VPCLMULQDQ. SDM Vol. 1 §14.3 "Detection of Intel AVX Instructions".
      features.leaf1ECX &= ~(1 << 28 | 1 << 12 | 1 << 29)
      features.leaf7EBX &= ~(1 << 5)
      features.leaf7ECX &= ~(1 << 9 | 1 << 10)
    }
    return features
  }

  private struct Registers {
    var values: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)

    var ebx: UInt32 { values.1 }
    var ecx: UInt32 { values.2 }
    var edx: UInt32 { values.3 }

    mutating func read(_ leaf: UInt32) -> Bool {
      withUnsafeMutablePointer(to: &values) {
        $0.withMemoryRebound(to: UInt32.self, capacity: 4) { x86_host_cpuid(leaf, 0, $0) }
      }
    }
  }
}
