extension X86 {
  /// What CPUID answers for a leaf and a subleaf.
  package struct CPUIDLeaf: Sendable, Equatable {
    package var eax: UInt32
    package var ebx: UInt32
    package var ecx: UInt32
    package var edx: UInt32

    package init(eax: UInt32 = 0, ebx: UInt32 = 0, ecx: UInt32 = 0, edx: UInt32 = 0) {
      self.eax = eax
      self.ebx = ebx
      self.ecx = ecx
      self.edx = edx
    }
  }

  /// A model of processor by name: what CPUID says, and so what a guest may use.
  package struct CPUModel: Sendable, Equatable {
    package let name: String
    /// Twelve ASCII characters.
    package let vendor: String
    package let family: UInt32
    package let model: UInt32
    package let stepping: UInt32
    package let brand: String
    package var features: Features
    /// Bits of a physical and of a linear address.
    package let physicalAddressBits: UInt32
    package let linearAddressBits: UInt32
    /// Ticks of the time-stamp counter in a second of guest time.
    package var tscFrequency: UInt64

    /// The models that can be asked for, by name.
    package static let all: [CPUModel] = [.x86_64v2, .x86_64v3]

    /// The x86-64 psABI's micro-architecture level 2 (x86-64 psABI 1.0 §3.1.1): CMPXCHG16B, LAHF, POPCNT and
    /// SSE up to 4.2.
    ///
    /// It calls itself an AMD processor of the first 64-bit family, as such models customarily do: no guest
    /// then looks for errata of a processor that is not there.
    package static let x86_64v2 = CPUModel(
      name: "x86-64-v2", vendor: "AuthenticAMD", family: 15, model: 107, stepping: 1,
      brand: "Roost x86-64-v2", features: .x86_64v2, physicalAddressBits: 39,
      linearAddressBits: 48, tscFrequency: 1_000_000_000)

    /// Level 3: AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT, MOVBE and XSAVE.
    package static let x86_64v3 = CPUModel(
      name: "x86-64-v3", vendor: "AuthenticAMD", family: 15, model: 107, stepping: 1,
      brand: "Roost x86-64-v3", features: .x86_64v3, physicalAddressBits: 39,
      linearAddressBits: 48, tscFrequency: 1_000_000_000)
  }

  /// CPUID's feature words. A bit that is set here is a promise that the engine keeps.
  package struct Features: Sendable, Equatable {
    /// Leaf 1: SDM Vol. 2A, CPUID, Table 3-10 and 3-11.
    package var leaf1ECX: UInt32
    package var leaf1EDX: UInt32
    /// Leaf 7 subleaf 0.
    package var leaf7EBX: UInt32
    package var leaf7ECX: UInt32
    package var leaf7EDX: UInt32
    /// Leaf 0x80000001: AMD APM Vol. 3 §E.4.2.
    package var extendedECX: UInt32
    package var extendedEDX: UInt32
    /// Leaf 0x80000007 EDX: bit 8, the time-stamp counter runs at one rate in every state.
    package var powerEDX: UInt32

    package static let x86_64v2 = Features(
      leaf1ECX: bits(
        0,  // SSE3
        9,  // SSSE3
        13,  // CMPXCHG16B
        19, 20,  // SSE4.1, SSE4.2
        21,  // x2APIC
        23,  // POPCNT
        24,  // TSC-deadline timer
        31),  // running under a hypervisor
      leaf1EDX: bits(
        0, 1,  // x87, virtual-8086 mode extensions
        2,  // debugging extensions
        3,  // 4 MiB pages
        4, 5, 6,  // TSC, MSRs, PAE
        8, 9,  // CMPXCHG8B, APIC
        11,  // SYSENTER
        12, 13,  // MTRR, global pages
        15, 16,  // CMOV, PAT
        17,  // PSE-36
        19,  // CLFLUSH
        23, 24, 25, 26),  // MMX, FXSR, SSE, SSE2
      leaf7EBX: 0, leaf7ECX: 0, leaf7EDX: 0,
      extendedECX: bits(0),  // LAHF in 64-bit mode
      extendedEDX: bits(
        0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 13, 15, 16, 17, 23, 24,  // as in leaf 1, the AMD way
        11,  // SYSCALL
        20,  // no-execute
        29),  // long mode
      powerEDX: bits(8))

    /// Level 2 and AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT, MOVBE and XSAVE.
    package static let x86_64v3: Features = {
      var features = x86_64v2
      features.leaf1ECX |= bits(
        12,  // FMA
        22,  // MOVBE
        26,  // XSAVE
        28, 29)  // AVX, F16C
      features.leaf7EBX |= bits(3, 5, 8)  // BMI1, AVX2, BMI2
      features.extendedECX |= bits(5)  // LZCNT
      return features
    }()

    private static func bits(_ indices: Int...) -> UInt32 {
      indices.reduce(0) { $0 | 1 &<< UInt32($1) }
    }
  }
}

/// Features that decide which instructions there are.
extension X86.Features {
  package var hasFMA: Bool { leaf1ECX & 1 << 12 != 0 }
  package var hasMOVBE: Bool { leaf1ECX & 1 << 22 != 0 }
  package var hasXSAVE: Bool { leaf1ECX & 1 << 26 != 0 }
  package var hasAVX: Bool { leaf1ECX & 1 << 28 != 0 }
  package var hasF16C: Bool { leaf1ECX & 1 << 29 != 0 }
  package var hasBMI1: Bool { leaf7EBX & 1 << 3 != 0 }
  package var hasAVX2: Bool { leaf7EBX & 1 << 5 != 0 }
  package var hasBMI2: Bool { leaf7EBX & 1 << 8 != 0 }
  package var hasLZCNT: Bool { extendedECX & 1 << 5 != 0 }
  package var hasVME: Bool { leaf1EDX & 1 << 1 != 0 }
  package var hasPCID: Bool { leaf1ECX & 1 << 17 != 0 }
  package var hasSMEP: Bool { leaf7EBX & 1 << 7 != 0 }
  package var hasINVPCID: Bool { leaf7EBX & 1 << 10 != 0 }
  package var hasSMAP: Bool { leaf7EBX & 1 << 20 != 0 }
  package var hasUMIP: Bool { leaf7ECX & 1 << 2 != 0 }
  package var hasLA57: Bool { leaf7ECX & 1 << 16 != 0 }
  package var hasRDTSCP: Bool { extendedEDX & 1 << 27 != 0 }

  /// The state components that XCR0 may enable: SDM Vol. 1 §13.3.
  package var stateComponents: UInt64 {
    guard hasXSAVE else { return X86.StateComponents.x87 }
    return X86.StateComponents.x87 | X86.StateComponents.sse
      | (hasAVX ? X86.StateComponents.avx : 0)
  }
}

extension X86.CPUModel {
  /// What CPUID answers, but for what depends on the processor's number and mode.
  ///
  /// - Returns: `nil` beyond the last leaf.
  package func leaf(_ leaf: UInt32, _ subleaf: UInt32) -> X86.CPUIDLeaf? {
    switch leaf {
    case 0: return .init(eax: 0xd, ebx: word(vendor, 0), ecx: word(vendor, 8), edx: word(vendor, 4))
    case 1:
      return .init(
        eax: signature, ebx: 8 << 8,  // CLFLUSH lines of 64 bytes
        ecx: features.leaf1ECX, edx: features.leaf1EDX)
    case 7 where subleaf == 0:
      return .init(ebx: features.leaf7EBX, ecx: features.leaf7ECX, edx: features.leaf7EDX)
    case 0xd: return extendedState(subleaf)
    case 2...0xc: return .init()
    // Hypervisors' leaves, which the SDM leaves to software: first ours, which guests need not know.
    case 0x4000_0000:
      return .init(
        eax: 0x4000_0001, ebx: word("RoostRoostRo", 0), ecx: word("RoostRoostRo", 4),
        edx: word("RoostRoostRo", 8))
    case 0x4000_0001: return .init()
    // Then KVM's interface, found by looking at every 0x100th leaf, with the one feature that asks for nothing:
    // Linux need not wait behind I/O. It also keeps Linux from a trial that fails where the host is so busy that
    // timer ticks merge, and in which it would panic ("IO-APIC + timer doesn't work!").
    // Linux kernel documentation, Virtualization Support, "KVM CPUID bits".
    case 0x4000_0100:
      return .init(
        eax: 0x4000_0101, ebx: word(kvmSignature, 0), ecx: word(kvmSignature, 4),
        edx: word(kvmSignature, 8))
    case 0x4000_0101: return .init(eax: 1 << 1)  // KVM_FEATURE_NOP_IO_DELAY
    case 0x8000_0000:
      return .init(
        eax: 0x8000_0008, ebx: word(vendor, 0), ecx: word(vendor, 8), edx: word(vendor, 4))
    case 0x8000_0001:
      return .init(eax: signature, ecx: features.extendedECX, edx: features.extendedEDX)
    case 0x8000_0002...0x8000_0004:
      let at = Int(leaf - 0x8000_0002) * 16
      return .init(
        eax: word(brand, at), ebx: word(brand, at + 4), ecx: word(brand, at + 8),
        edx: word(brand, at + 12))
    case 0x8000_0007: return .init(edx: features.powerEDX)
    case 0x8000_0008: return .init(eax: physicalAddressBits | linearAddressBits << 8)
    case 0x8000_0005, 0x8000_0006: return .init()
    default: return nil
    }
  }

  private var kvmSignature: String { "KVMKVMKVM\0\0\0" }

  /// Leaf 0xD, as after power-on: SDM Vol. 2A, CPUID, Table 3-8.
  private func extendedState(_ subleaf: UInt32) -> X86.CPUIDLeaf {
    guard features.hasXSAVE else { return .init() }
    let components = features.stateComponents
    switch subleaf {
    case 0:
      return .init(
        eax: UInt32(truncatingIfNeeded: components),
        ebx: X86.StateComponents.areaSize(X86.StateComponents.x87),
        ecx: X86.StateComponents.areaSize(components))
    case 1: return .init(eax: 1 << 0 | 1 << 2)  // XSAVEOPT, XGETBV of what is in use
    case 2 where features.hasAVX:
      return .init(eax: X86.StateComponents.avxSize, ebx: X86.StateComponents.avxOffset)
    default: return .init()
    }
  }

  /// Leaf 1 EAX: SDM Vol. 2A, CPUID, Figure 3-6 "Version Information".
  private var signature: UInt32 {
    let base = min(family, 0xf)
    return stepping & 0xf | (model & 0xf) << 4 | base << 8 | (model >> 4) << 16
      | (family - base) << 20
  }

  /// Four characters of a text, as a register holds them.
  private func word(_ text: String, _ offset: Int) -> UInt32 {
    text.utf8.dropFirst(offset).prefix(4).enumerated().reduce(0) {
      $0 | UInt32($1.element) << UInt32($1.offset * 8)
    }
  }
}
