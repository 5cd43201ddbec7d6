package import ArchitectureX86

/// What of a PC its guest can tell, and what a saved one must be restored into.
package struct PCShape: Codable, Sendable, Equatable {
  package var processors: Int
  package var memory: UInt64
  /// The name of the processor model.
  package var model: String
  package var romSize: UInt64
  package var debugExitPort: UInt16?
  /// Ticks of the time-stamp counter in a second; `nil` in machines saved before it could be chosen.
  package var tscFrequency: UInt64?
  /// What it has beside what every PC has, as the user asked for it; `nil` in machines saved before there was any.
  package var devices: [DeviceRequest]?
  /// What each is called, where that does not follow from their order: some have come and gone.
  package var deviceNames: [String]?
  /// The ports and switches that devices are behind; `nil` in machines saved before there were any.
  package var pci: PCITopology?

  package static let schema = "pc-shape/1"
  package static let maximumProcessors = 64
  package static let tscFrequencies: ClosedRange<UInt64> = 10_000_000...10_000_000_000

  /// Checks what the user asks for.
  package init(_ configuration: VMConfiguration) throws(ConfigurationError) {
    processors = configuration.processors
    memory = configuration.memory.bytes
    model = configuration.model.name
    debugExitPort = configuration.debugExitPort
    tscFrequency = configuration.model.tscFrequency
    devices = configuration.devices
    pci = configuration.pci.isEmpty ? nil : configuration.pci
    romSize = if case .rom(let bytes) = configuration.boot { UInt64(bytes.count) } else { 0 }
    if let problem { throw problem }
  }

  /// What no PC can be, if it is that. A shape from a file is checked like one from the user.
  package var problem: ConfigurationError? {
    if !(1...Self.maximumProcessors).contains(processors) {
      return ConfigurationError(
        "--cpus \(processors)", "Write a number from 1 to \(Self.maximumProcessors).")
    }
    let size = MemorySize(bytes: memory)
    if memory < PCAddressMap.minimumMemory || memory > PCAddressMap.maximumMemory {
      return ConfigurationError(
        "--memory \(size)",
        "Write an amount from \(MemorySize(bytes: PCAddressMap.minimumMemory)) to "
          + "\(MemorySize(bytes: PCAddressMap.maximumMemory)).")
    }
    if memory % 4096 != 0 {
      return ConfigurationError("--memory \(size)", "Write whole pages: a multiple of 4K.")
    }
    if romSize % 4096 != 0 || romSize > 16 << 20 {
      return ConfigurationError("--rom", "The file must be whole pages of 4 KiB, at most 16 MiB.")
    }
    do throws(ConfigurationError) {
      _ = try ProcessorModel.parse(model)
    } catch {
      return ConfigurationError("--cpu \(error.subject)", error.reason)
    }
    if let tscFrequency, !Self.tscFrequencies.contains(tscFrequency) {
      return ConfigurationError(
        "A time-stamp counter of \(tscFrequency) Hz", "A machine's counts at 10 MHz to 10 GHz.")
    }
    if let problem = pci?.problem ?? devices?.problem(among: pci ?? PCITopology()) {
      return problem
    }
    let names = deviceNames ?? []
    if let problem = persistentMemoryProblem { return problem }
    guard deviceNames == nil || names.count == devices?.count && Set(names).count == names.count
    else {
      return ConfigurationError("A saved machine's devices", "Their names are not theirs alone.")
    }
    return nil
  }

  /// The machine has these devices now.
  mutating func have(_ present: [OpenedDevice]) {
    let requests = present.map(\.request), names = present.map(\.name)
    devices = requests
    deviceNames = names == requests.names ? nil : names
  }

  package var map: PCAddressMap {
    PCAddressMap(
      memory: memory, romSize: romSize, addressBits: processorModel.physicalAddressBits,
      persistent: persistent)
  }

  /// Persistent memory, as far as its files are open.
  private var persistent: [PCAddressMap.PersistentMemory] {
    (devices ?? []).compactMap { request in
      guard case .pmem(let pmem) = request, let size = pmem.size else { return nil }
      return .init(size: size, isReadOnly: pmem.isReadOnly)
    }
  }

  private var persistentMemoryProblem: ConfigurationError? {
    let limit = PCAddressMap.persistentMemoryLimit
    let isSound = persistent.allSatisfy {
      $0.size > 0 && $0.size <= limit && $0.size.isMultiple(of: PmemRequest.granularity)
    }
    guard isSound, (map.persistentMemory.last?.upperBound ?? 0) <= limit else {
      return ConfigurationError(
        "--pmem",
        "RAM and persistent memory reach beyond \(MemorySize(bytes: limit)): take less of them.")
    }
    return nil
  }

  package var processorModel: X86.CPUModel {
    var processor = X86.CPUModel.all.first { $0.name == model } ?? .x86_64v2
    if let tscFrequency { processor.tscFrequency = tscFrequency }
    return processor
  }
}
