/// What to boot, and the machine it will find: everything a boot plan is made from.
package struct BootRequest: Sendable {
  /// The kernel file, whole; a gzip file is unpacked.
  package var kernel: [UInt8]
  /// The initial RAM disk, whole; `nil` for none.
  package var initrd: [UInt8]?
  /// Further files for kernels that take them (PVH, Multiboot), in order, after `initrd`.
  package var modules: [Module]
  /// The kernel's command line.
  package var commandLine: String
  /// The machine's memory as the guest is to see it. Segments go only into usable ranges.
  package var memoryMap: [MemoryRange]
  /// Where the ACPI root pointer (RSDP) was put; `nil` if the guest must search or there is none.
  package var rsdp: UInt64?
  /// Where small structures (boot parameters, tables, strings) may be put, as far as it is RAM
  /// below 4 GiB.
  package var scratch: Range<UInt64>
  /// The boot protocol to use; `nil` takes the best one the image offers.
  package var bootProtocol: BootProtocol?

  /// A request for `kernel`, with nothing else given yet.
  package init(
    kernel: [UInt8], initrd: [UInt8]? = nil, modules: [Module] = [], commandLine: String = "",
    memoryMap: [MemoryRange], rsdp: UInt64? = nil, scratch: Range<UInt64> = 0x1000..<0x9_F000,
    bootProtocol: BootProtocol? = nil
  ) {
    self.kernel = kernel
    self.initrd = initrd
    self.modules = modules
    self.commandLine = commandLine
    self.memoryMap = memoryMap
    self.rsdp = rsdp
    self.scratch = scratch
    self.bootProtocol = bootProtocol
  }

  /// A file handed to the kernel beside itself, with a command line of its own.
  package struct Module: Sendable {
    /// The file, whole.
    package var bytes: [UInt8]
    /// What the kernel is told about it.
    package var commandLine: String

    /// A module of `bytes`.
    package init(_ bytes: [UInt8], commandLine: String = "") {
      self.bytes = bytes
      self.commandLine = commandLine
    }
  }
}

/// A way to hand a machine to a kernel.
package enum BootProtocol: String, CaseIterable, Sendable {
  /// Linux/x86 boot protocol, "32-bit Boot Protocol": protected mode without paging.
  case linux32
  /// Linux/x86 boot protocol, "64-bit Boot Protocol": long mode on an identity map.
  case linux64
  /// Xen's x86/HVM direct boot ABI: protected mode without paging, `hvm_start_info` in EBX.
  case pvh
  /// Multiboot Specification 0.6.96: protected mode without paging, information in EBX.
  case multiboot
}

/// A range of the machine's physical addresses and what is there: one line of the memory map that
/// firmware calls E820 (ACPI 6.5 §15).
package struct MemoryRange: Sendable, Equatable {
  /// The first address.
  package var start: UInt64
  /// The number of bytes.
  package var size: UInt64
  /// What is there.
  package var kind: Kind

  /// A range of `size` bytes from `start`.
  package init(start: UInt64, size: UInt64, kind: Kind) {
    self.start = start
    self.size = size
    self.kind = kind
  }

  /// What is in a memory range, by its number in ACPI 6.5 Table 15.1.
  package struct Kind: RawRepresentable, Sendable, Equatable {
    /// The number.
    package let rawValue: UInt32
    /// The kind with this number.
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// RAM, free for the guest.
    package static let usable = Kind(rawValue: 1)
    /// Not to be touched.
    package static let reserved = Kind(rawValue: 2)
    /// ACPI tables; RAM once they have been read.
    package static let acpiReclaimable = Kind(rawValue: 3)
    /// RAM that must survive ACPI sleep states.
    package static let acpiNonVolatile = Kind(rawValue: 4)
    /// RAM found faulty.
    package static let unusable = Kind(rawValue: 5)
  }
}
