package import ArchitectureX86
package import HostOS
package import LinuxBoot

/// What the user asks for: a pure value, checked when the machine is built from it.
package struct VMConfiguration: Sendable {
  package var memory: MemorySize
  package var processors: Int
  package var model: X86.CPUModel
  /// Whether the time-stamp counters start with what the host's shows; otherwise at zero.
  package var startsWithHostCounter = false
  package var boot: Boot
  /// The ISA debug exit device's first port; `nil`: the machine has none.
  package var debugExitPort: UInt16?
  package var devices: [DeviceRequest] = []
  package var pci = PCITopology()
  /// Whether a reset that the guest asks for starts it again; otherwise it ends the run.
  package var restartsOnReset: Bool

  /// What the first processor runs.
  package enum Boot: Sendable {
    case kernel(Kernel)
    /// A firmware image at the top of 4 GiB, started from its reset vector.
    case rom([UInt8])
  }

  /// Files that were opened when the user named them, and are read at each start.
  package struct Kernel: Sendable {
    package var image: WholeFile
    package var initrd: WholeFile?
    package var commandLine: String
    package var modules: [Module]
    /// `nil`: as suits the kernel best.
    package var bootProtocol: BootProtocol?

    package init(
      image: WholeFile, initrd: WholeFile? = nil, commandLine: String = "", modules: [Module] = [],
      bootProtocol: BootProtocol? = nil
    ) {
      self.bootProtocol = bootProtocol
      self.image = image
      self.initrd = initrd
      self.commandLine = commandLine
      self.modules = modules
    }
  }

  /// A further file for kernels that take them.
  package struct Module: Sendable {
    package var file: WholeFile
    package var commandLine: String

    package init(file: WholeFile, commandLine: String = "") {
      self.file = file
      self.commandLine = commandLine
    }
  }

  package init(
    memory: MemorySize, processors: Int = 1, model: X86.CPUModel = .x86_64v2, boot: Boot,
    debugExitPort: UInt16? = nil, restartsOnReset: Bool = true
  ) {
    self.memory = memory
    self.processors = processors
    self.model = model
    self.boot = boot
    self.debugExitPort = debugExitPort
    self.restartsOnReset = restartsOnReset
  }
}
