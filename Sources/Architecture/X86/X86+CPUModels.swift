extension X86.CPUModel {
  /// The models that can be asked for by name, from the one with the fewest features on.
  package static let all: [X86.CPUModel] = [
    .i486, .pentium3, .x86_64v1, .x86_64v2, .x86_64v3, .maxWithoutKeys, .max,
  ]

  /// An Intel486 DX4: an FPU, and nothing that CPUID announces beside it.
  package static let i486 = X86.CPUModel(
    name: "486", vendor: "GenuineIntel", family: 4, model: 8, stepping: 0, brand: "",
    features: .i486, physicalAddressBits: 32, linearAddressBits: 32, lastLeaf: 1,
    hasExtendedLeaves: false)

  /// A Pentium III of model 8: CMOV, MMX, SSE, 36-bit physical addresses, SYSENTER.
  package static let pentium3 = X86.CPUModel(
    name: "pentium3", vendor: "GenuineIntel", family: 6, model: 8, stepping: 6, brand: "",
    features: .pentium3, physicalAddressBits: 36, linearAddressBits: 32, lastLeaf: 2,
    hasExtendedLeaves: false)

  /// The x86-64 psABI's base level (x86-64 psABI 1.0 §3.1.1): SSE2, SYSCALL.
  ///
  /// This and the levels above it call themselves an AMD processor of the first 64-bit family, as such models
  /// customarily do: no guest then looks for errata of a processor that is not there.
  package static let x86_64v1 = X86.CPUModel(
    name: "x86-64-v1", vendor: "AuthenticAMD", family: 15, model: 107, stepping: 1,
    brand: "Roost x86-64-v1", features: .x86_64v1, physicalAddressBits: 39)

  /// Level 2: CMPXCHG16B, LAHF, POPCNT and SSE up to 4.2.
  package static let x86_64v2 = X86.CPUModel(
    name: "x86-64-v2", vendor: "AuthenticAMD", family: 15, model: 107, stepping: 1,
    brand: "Roost x86-64-v2", features: .x86_64v2, physicalAddressBits: 39)

  /// Level 3: AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT, MOVBE and XSAVE.
  package static let x86_64v3 = X86.CPUModel(
    name: "x86-64-v3", vendor: "AuthenticAMD", family: 15, model: 107, stepping: 1,
    brand: "Roost x86-64-v3", features: .x86_64v3, physicalAddressBits: 39)

  /// All of `max` but protection keys, which many hosts' processors have not, or with PKRU at another place of an XSAVE
  /// area: what is left of the latest instructions for a guest of theirs.
  package static let maxWithoutKeys = X86.CPUModel(
    name: "max-no-pku", vendor: "AuthenticAMD", family: 15, model: 107, stepping: 1,
    brand: "Roost max-no-pku", features: .maxWithoutKeys, physicalAddressBits: 39)

  /// Whatever the software processor can do.
  package static let max = X86.CPUModel(
    name: "max", vendor: "AuthenticAMD", family: 15, model: 107, stepping: 1,
    brand: "Roost max", features: .max, physicalAddressBits: 39)
}

extension X86.Features {
  package static let i486 = X86.Features(
    leaf1ECX: bits(31), leaf1EDX: bits(0), leaf7EBX: 0, leaf7ECX: 0, leaf7EDX: 0, extendedECX: 0,
    extendedEDX: 0, extendedStateEAX: 0, powerEDX: 0)

  package static let pentium3: X86.Features = {
    var features = i486
    features.leaf1EDX = bits(
      0, 1,  // x87, virtual-8086 mode extensions
      2, 3,  // debugging extensions, 4 MiB pages
      4, 5, 6,  // TSC, MSRs, PAE
      8, 9,  // CMPXCHG8B, APIC
      11,  // SYSENTER
      12, 13,  // MTRR, global pages
      15, 16, 17,  // CMOV, PAT, PSE-36
      23, 24, 25)  // MMX, FXSR, SSE
    return features
  }()

  package static let x86_64v1: X86.Features = {
    var features = pentium3
    features.leaf1ECX = bits(
      21,  // x2APIC
      24,  // TSC-deadline timer
      31)  // running under a hypervisor
    features.leaf1EDX |= bits(19, 26)  // CLFLUSH, SSE2
    features.extendedEDX = bits(
      0, 1, 2, 3, 4, 5, 6, 8, 9, 12, 13, 15, 16, 17, 23, 24,  // as in leaf 1, the AMD way
      11,  // SYSCALL
      20,  // no-execute
      29)  // long mode
    features.powerEDX = bits(8)
    return features
  }()

  package static let x86_64v2: X86.Features = {
    var features = x86_64v1
    features.leaf1ECX |= bits(
      0,  // SSE3
      9,  // SSSE3
      13,  // CMPXCHG16B
      19, 20,  // SSE4.1, SSE4.2
      23)  // POPCNT
    features.extendedECX |= bits(0)  // LAHF in 64-bit mode
    return features
  }()

  package static let x86_64v3: X86.Features = {
    var features = x86_64v2
    features.leaf1ECX |= bits(
      12,  // FMA
      22,  // MOVBE
      26,  // XSAVE
      28, 29)  // AVX, F16C
    features.leaf7EBX |= bits(3, 5, 8)  // BMI1, AVX2, BMI2
    features.extendedECX |= bits(5)  // LZCNT
    features.extendedStateEAX |= bits(0, 2)  // XSAVEOPT, XGETBV of what is in use
    return features
  }()

  package static let max: X86.Features = {
    var features = maxWithoutKeys
    features.leaf7ECX |= bits(3)  // PKU
    return features
  }()

  package static let maxWithoutKeys: X86.Features = {
    var features = x86_64v3
    features.leaf1ECX |= bits(1, 17, 25, 30)  // PCLMULQDQ, PCID, AES, RDRAND
    features.leaf7EBX |= bits(
      0,  // FSGSBASE
      7, 10,  // SMEP, INVPCID
      18, 19, 20,  // RDSEED, ADX, SMAP
      23, 24,  // CLFLUSHOPT, CLWB
      29)  // SHA
    features.leaf7ECX |= bits(2, 9, 10, 22)  // UMIP, VAES, VPCLMULQDQ, RDPID
    features.extendedECX |= bits(8)  // PREFETCHW
    features.extendedEDX |= bits(26, 27)  // pages of 1 GiB, RDTSCP
    features.extendedStateEAX |= bits(1, 3)  // XSAVEC, XSAVES
    return features
  }()
}
