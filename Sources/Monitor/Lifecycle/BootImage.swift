package import ArchitectureX86
import KVM
import LinuxBoot
package import Memory
import Synchronization

/// What is in memory when a machine powers on, and how its processors start. Applied again at each reset.
///
/// Of a kernel it keeps the files only: what is unpacked from them is let go once it is in memory, and made again at a reset.
package final class BootImage: Sendable {
  /// What was recognised, for the log.
  package let description: String
  package let firmware: PCFirmware?
  private let start: BootPlan.Start
  private let makePlan: @Sendable () throws -> BootPlan
  /// The plan made at first, until it is used.
  private let first: Mutex<BootPlan?>
  private let startsWithHostCounter: Bool

  /// Plans the start of what the user asked for, in the machine of `map` with those devices plugged in.
  package init(
    _ configuration: VMConfiguration, map: PCAddressMap, devices: [OpenedDevice]
  ) throws {
    startsWithHostCounter = configuration.startsWithHostCounter
    switch configuration.boot {
    case .rom(let bytes):
      makePlan = { try BootPlan.rom(bytes) }
      firmware = nil
    case .kernel(let kernel):
      let request = BootRequest(
        kernel: kernel.image, initrd: kernel.initrd,
        modules: kernel.modules.map { .init($0.file, commandLine: $0.commandLine) },
        commandLine: kernel.commandLine, memoryMap: map.memoryMap,
        rsdp: PCAddressMap.rootPointer, bootProtocol: kernel.bootProtocol)
      makePlan = { try BootPlan(request) }
      firmware = PCFirmware(
        map, processors: configuration.processors, model: configuration.model,
        windows: devices.count { $0.bus == .mmio })
    }
    let plan = try makePlan()
    description = plan.description
    start = plan.start
    first = Mutex(plan)
  }

  /// Puts everything into memory. Memory that the image says nothing of stays as it is.
  package func load(into memory: GuestMemory) throws {
    let kept = first.withLock { plan in
      defer { plan = nil }
      return plan
    }
    let plan = try kept ?? makePlan()
    for segment in plan.segments {
      let end = segment.address + UInt64(segment.bytes.count)
      try memory.write(segment.bytes.span, at: GPA(segment.address))
      try memory.fill(0, at: GPA(end), count: segment.zeroFill)
    }
    if case .reset(let rom) = plan.start {
      try memory.install(rom.bytes, at: GPA(rom.address))
      try memory.install(Array(rom.shadow), at: GPA(rom.shadowAddress))
    }
    for table in firmware?.tables ?? [] { try memory.install(table.bytes, at: table.address) }
  }

  /// The states in which the processors start; all but the first as after power-on.
  package func states(powerOn: [X86.State]) -> [X86.State] {
    var states = powerOn
    if case .entry(let entry) = start, let first = states.first {
      states[0] = X86.State(entering: entry, from: first)
    }
    if startsWithHostCounter {
      let counter = KVMCounter.host
      for index in states.indices { states[index].tsc = counter }
    }
    return states
  }
}
