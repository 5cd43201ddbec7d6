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
    /// The last basic leaf of CPUID.
    let lastLeaf: UInt32
    /// Whether CPUID has leaves from 0x80000000 on.
    let hasExtendedLeaves: Bool

    init(
      name: String, vendor: String, family: UInt32, model: UInt32, stepping: UInt32, brand: String,
      features: Features, physicalAddressBits: UInt32, linearAddressBits: UInt32 = 48,
      lastLeaf: UInt32 = 0xd, hasExtendedLeaves: Bool = true
    ) {
      self.name = name
      self.vendor = vendor
      self.family = family
      self.model = model
      self.stepping = stepping
      self.brand = brand
      self.features = features
      self.physicalAddressBits = physicalAddressBits
      self.linearAddressBits = linearAddressBits
      self.lastLeaf = lastLeaf
      self.hasExtendedLeaves = hasExtendedLeaves
      tscFrequency = 1_000_000_000
    }

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
    /// Leaf 0xD subleaf 1.
    package var extendedStateEAX: UInt32
    /// Leaf 0x80000007 EDX: bit 8, the time-stamp counter runs at one rate in every state.
    package var powerEDX: UInt32

    static func bits(_ indices: Int...) -> UInt32 {
      indices.reduce(0) { $0 | 1 &<< UInt32($1) }
    }
  }
}

extension X86.CPUModel {
  /// What CPUID answers, but for what depends on the processor's number and mode.
  ///
  /// - Returns: `nil` beyond the last leaf.
  package func leaf(_ leaf: UInt32, _ subleaf: UInt32) -> X86.CPUIDLeaf? {
    switch leaf {
    case 0:
      return .init(
        eax: lastLeaf, ebx: word(vendor, 0), ecx: word(vendor, 8), edx: word(vendor, 4))
    case lastLeaf &+ 1..<0x4000_0000: return nil
    case 0x8000_0000... where !hasExtendedLeaves: return nil
    case 1:
      return .init(
        eax: signature, ebx: features.hasCLFLUSH ? 8 << 8 : 0,  // CLFLUSH lines of 64 bytes
        ecx: features.leaf1ECX, edx: features.leaf1EDX)
    case 7 where subleaf == 0:
      return .init(ebx: features.leaf7EBX, ecx: features.leaf7ECX, edx: features.leaf7EDX)
    case 0xd: return extendedState(subleaf)
    // TLBs and caches of an Intel processor of that time: SDM Vol. 2A, CPUID, Table 3-12.
    case 2 where lastLeaf == 2:
      return .init(eax: 0x0302_0101, edx: 0x0c04_0843)
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
    case 1:
      return .init(
        eax: features.extendedStateEAX,
        ebx: features.hasXSAVEC ? X86.StateComponents.compactedAreaSize(components) : 0)
    case 2 where features.hasAVX:
      return .init(eax: X86.StateComponents.avxSize, ebx: X86.StateComponents.avxOffset)
    case 9 where features.hasPKU:
      return .init(
        eax: X86.StateComponents.protectionKeysSize, ebx: X86.StateComponents.protectionKeysOffset)
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
