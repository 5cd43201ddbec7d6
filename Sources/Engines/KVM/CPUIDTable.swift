package import ArchitectureX86
import CKVM
import Execution
import Glibc
import HostOS

/// What CPUID answers on KVM's processors: the model's leaves, and nothing else.
struct CPUIDTable {
  private var entries: [kvm_cpuid_entry2] = []

  /// The leaves of `model` for processor `index`. What follows from the processor's mode KVM adds itself.
  init(_ model: X86.CPUModel, processor index: Int) {
    for range in Self.ranges {
      guard let last = model.leaf(range, 0)?.eax, last >= range, last - range < 256 else {
        continue
      }
      for leaf in range...last { addLeaf(leaf, of: model, index) }
    }
  }

  /// Where leaves start: basic, the hypervisors', extended.
  private static let ranges: [UInt32] = [0, 0x4000_0000, 0x4000_0100, 0x8000_0000]

  /// Leaves whose answer depends on ECX, and how many subleaves are asked for: SDM Vol. 2A, CPUID.
  private static let subleaves: [UInt32: UInt32] = [4: 8, 7: 2, 0xb: 3, 0xd: 20]

  private mutating func addLeaf(_ leaf: UInt32, of model: X86.CPUModel, _ index: Int) {
    let count = Self.subleaves[leaf]
    for subleaf in 0..<(count ?? 1) {
      guard var answer = model.leaf(leaf, subleaf) else { continue }
      if leaf == 1 { answer.ebx |= UInt32(truncatingIfNeeded: index) << 24 }
      var entry = kvm_cpuid_entry2()
      entry.function = leaf
      entry.index = subleaf
      entry.flags = count == nil ? 0 : UInt32(KVM_CPUID_FLAG_SIGNIFCANT_INDEX)
      entry.eax = answer.eax
      entry.ebx = answer.ebx
      entry.ecx = answer.ecx
      entry.edx = answer.edx
      entries.append(entry)
    }
  }

  /// Makes `processor` answer so.
  func install(on processor: KVMHandle) throws(EngineError) {
    try Self.withTable(entries) { (table) throws(EngineError) in
      _ = try processor.request(KVM_REQUEST_SET_CPUID2, at: table, "take the processor's model")
    }
  }

  /// Lays the entries out as KVM reads them: a header, and the entries behind it.
  private static func withTable(
    _ entries: [kvm_cpuid_entry2],
    _ body: (UnsafeMutableRawPointer) throws(EngineError) -> Void
  ) throws(EngineError) {
    let header = MemoryLayout<kvm_cpuid2>.size
    let stride = MemoryLayout<kvm_cpuid_entry2>.stride
    let table = UnsafeMutableRawPointer.allocate(
      byteCount: header + entries.count * stride, alignment: 8)
    defer { table.deallocate() }
    table.storeBytes(of: UInt32(entries.count), as: UInt32.self)
    table.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
    for (index, entry) in entries.enumerated() {
      table.storeBytes(of: entry, toByteOffset: header + index * stride, as: kvm_cpuid_entry2.self)
    }
    try body(table)
  }
}

// MARK: - What KVM can offer

extension KVMHost {
  /// KVM_GET_SUPPORTED_CPUID, by leaf and subleaf.
  func supportedLeaves() throws(EngineError) -> [CPUIDKey: X86.CPUIDLeaf] {
    let limit = 256
    let header = MemoryLayout<kvm_cpuid2>.size
    let stride = MemoryLayout<kvm_cpuid_entry2>.stride
    let table = UnsafeMutableRawPointer.allocate(byteCount: header + limit * stride, alignment: 8)
    defer { table.deallocate() }
    table.initializeMemory(as: UInt8.self, repeating: 0, count: header + limit * stride)
    table.storeBytes(of: UInt32(limit), as: UInt32.self)
    try handle.request(
      KVM_REQUEST_GET_SUPPORTED_CPUID, at: table, "say which processor features it supports")
    var leaves: [CPUIDKey: X86.CPUIDLeaf] = [:]
    for index in 0..<min(Int(table.load(as: UInt32.self)), limit) {
      let entry = table.load(
        fromByteOffset: header + index * stride, as: kvm_cpuid_entry2.self)
      leaves[CPUIDKey(leaf: entry.function, subleaf: entry.index)] = X86.CPUIDLeaf(
        eax: entry.eax, ebx: entry.ebx, ecx: entry.ecx, edx: entry.edx)
    }
    return leaves
  }

  /// What of `model` guests could not use here; empty if KVM can be that processor.
  ///
  /// A feature is there if KVM says so. One that only adds instructions is also there if the host's
  /// processor has it: where KVM runs guest code itself it runs them, and where it emulates, what its emulator
  /// lacks is finished by ours.
  func missingFeatures(of model: X86.CPUModel) throws(EngineError) -> [String] {
    let supported = try supportedLeaves()
    var missing: [String] = []
    for word in FeatureWord.all {
      let wanted = word.bits(of: model.leaf(word.key.leaf, word.key.subleaf) ?? .init())
      var offered = supported[word.key].map { word.bits(of: $0) } ?? 0
      offered |= word.always
      offered |= word.bits(of: .ofHost(word.key)) & word.instructions
      for bit in 0..<32 where wanted & ~offered & 1 << bit != 0 {
        missing.append("\(word.name) bit \(bit)")
      }
    }
    if model.features.hasPKU {
      // The host's processor lays an XSAVE area out, wherever the model has the component.
      let key = CPUIDKey(leaf: 0xd, subleaf: 9)
      let place = supported[key]?.ebx ?? 0
      if place != X86.StateComponents.protectionKeysOffset {
        missing.append("PKRU at byte \(X86.StateComponents.protectionKeysOffset) of an XSAVE area")
      }
    }
    let addresses = CPUIDKey(leaf: 0x8000_0008, subleaf: 0)
    let bits = (supported[addresses] ?? .ofHost(addresses)).eax & 0xff
    if bits < model.physicalAddressBits {
      missing.append("physical addresses of \(model.physicalAddressBits) bits (it has \(bits))")
    }
    return missing
  }
}

/// Where CPUID's answer stands.
struct CPUIDKey: Hashable {
  let leaf: UInt32
  let subleaf: UInt32
}

/// One of CPUID's words of feature bits.
private struct FeatureWord {
  let key: CPUIDKey
  let name: String
  let register: @Sendable (X86.CPUIDLeaf) -> UInt32
  /// Bits that are not for KVM to have: its local APIC, and being a hypervisor.
  let always: UInt32
  /// Bits that add instructions, and no state but the vector registers.
  let instructions: UInt32

  func bits(of leaf: X86.CPUIDLeaf) -> UInt32 { register(leaf) }

  // SDM Vol. 2A, CPUID, Tables 3-10, 3-11 and 3-8; AMD APM Vol. 3 §E.4.2 for the extended leaf.
  static let all: [FeatureWord] = [
    FeatureWord(
      key: CPUIDKey(leaf: 1, subleaf: 0), name: "CPUID.1:ECX", register: \.ecx,
      always: mask(21, 24, 27, 31),  // x2APIC, TSC-deadline, OSXSAVE, hypervisor
      // SSE3 PCLMULQDQ SSSE3 FMA CMPXCHG16B SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND
      instructions: mask(0, 1, 9, 12, 13, 19, 20, 22, 23, 25, 26, 28, 29, 30)),
    FeatureWord(
      key: CPUIDKey(leaf: 1, subleaf: 0), name: "CPUID.1:EDX", register: \.edx, always: mask(9),
      instructions: mask(15, 19, 23, 24, 25, 26)),  // CMOV CLFLUSH MMX FXSR SSE SSE2
    FeatureWord(
      key: CPUIDKey(leaf: 7, subleaf: 0), name: "CPUID.7:EBX", register: \.ebx, always: 0,
      // BMI1 AVX2 BMI2 ERMS RDSEED ADX CLFLUSHOPT CLWB SHA
      instructions: mask(3, 5, 8, 9, 18, 19, 23, 24, 29)),
    FeatureWord(
      key: CPUIDKey(leaf: 7, subleaf: 0), name: "CPUID.7:ECX", register: \.ecx, always: 0,
      instructions: mask(8, 9, 10, 22)),  // GFNI VAES VPCLMULQDQ RDPID
    FeatureWord(
      key: CPUIDKey(leaf: 0xd, subleaf: 1), name: "CPUID.0DH.1:EAX", register: \.eax, always: 0,
      instructions: mask(0, 1, 2)),  // XSAVEOPT XSAVEC XGETBV with ECX = 1
    FeatureWord(
      key: CPUIDKey(leaf: 0x8000_0001, subleaf: 0), name: "CPUID.80000001:ECX", register: \.ecx,
      always: 0, instructions: mask(0, 5, 8)),  // LAHF LZCNT PREFETCHW
    FeatureWord(
      key: CPUIDKey(leaf: 0x8000_0001, subleaf: 0), name: "CPUID.80000001:EDX", register: \.edx,
      always: mask(9), instructions: mask(27)),  // RDTSCP
  ]

  private static func mask(_ bits: UInt32...) -> UInt32 { bits.reduce(0) { $0 | 1 << $1 } }
}

extension X86.CPUModel {
  /// Whether the host's own processor has all instructions of the model.
  package var isWithinHost: Bool {
    let key = CPUIDKey(leaf: 0xd, subleaf: 9)
    let keysAgree =
      !features.hasPKU
      || X86.CPUIDLeaf.ofHost(key).ebx == X86.StateComponents.protectionKeysOffset
    return keysAgree
      && FeatureWord.all.allSatisfy { word in
        let wanted = word.bits(of: leaf(word.key.leaf, word.key.subleaf) ?? .init())
        return wanted & ~word.always & ~word.bits(of: .ofHost(word.key)) == 0
      }
  }
}

extension X86.CPUIDLeaf {
  /// What the host's own processor answers.
  fileprivate static func ofHost(_ key: CPUIDKey) -> X86.CPUIDLeaf {
    var words: (UInt32, UInt32, UInt32, UInt32) = (0, 0, 0, 0)
    kvm_host_cpuid(key.leaf, key.subleaf, &words.0, &words.1, &words.2, &words.3)
    return X86.CPUIDLeaf(eax: words.0, ebx: words.1, ecx: words.2, edx: words.3)
  }
}
