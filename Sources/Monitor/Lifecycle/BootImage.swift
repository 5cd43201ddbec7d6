package import ArchitectureX86
import HostOS
import KVM
import LinuxBoot
package import Memory
import Synchronization

/// What is in memory when a machine powers on, and how its processors start. Applied again at each reset.
///
/// Of a kernel it keeps no bytes: what was read and unpacked is let go once it is in memory, and the files, which stay open,
/// are read again at a reset. Who writes a new kernel into the file restarts into that.
package final class BootImage: Sendable {
  /// What was recognised, for the log.
  package let description: String
  package let firmware: PCFirmware?
  private let makePlan: @Sendable () throws -> BootPlan
  private let plans: Mutex<Plans>
  private let startsWithHostCounter: Bool

  private struct Plans {
    /// The plan made at first, until it is used.
    var first: BootPlan?
    /// How the processors start in what is in memory.
    var start: BootPlan.Start
  }

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
      let memoryMap = map.memoryMap
      makePlan = {
        try BootPlan(
          BootRequest(
            kernel: kernel.image.contents(), initrd: kernel.initrd?.contents(),
            modules: kernel.modules.map {
              .init(try $0.file.contents(), commandLine: $0.commandLine)
            },
            commandLine: kernel.commandLine, memoryMap: memoryMap,
            rsdp: PCAddressMap.rootPointer, bootProtocol: kernel.bootProtocol))
      }
      firmware = PCFirmware(
        map, processors: configuration.processors, model: configuration.model,
        windows: devices.count { $0.bus == .mmio })
    }
    let plan = try makePlan()
    description = plan.description
    plans = Mutex(Plans(first: plan, start: plan.start))
  }

  /// Puts everything into memory. Memory that the image says nothing of stays as it is.
  package func load(into memory: GuestMemory) throws {
    let plan = try plans.withLock { $0.first.take() } ?? makePlan()
    plans.withLock { $0.start = plan.start }
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
    if case .entry(let entry) = plans.withLock({ $0.start }), let first = states.first {
      states[0] = X86.State(entering: entry, from: first)
    }
    if startsWithHostCounter {
      let counter = KVMCounter.host
      for index in states.indices { states[index].tsc = counter }
    }
    return states
  }
}
