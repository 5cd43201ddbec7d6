// swift-tools-version: 6.2
import PackageDescription

// Scripts/fuzz.sh names the libFuzzer of the toolchain here, a library without a `main`: then everything notes for it
// which of its branches an input has taken. With ROOST_FUZZ_ADDRESS the address sanitizer watches too.
let libFuzzer = Context.environment["ROOST_FUZZ"]
let sanitizers = Context.environment["ROOST_FUZZ_ADDRESS"] == nil ? "fuzzer" : "fuzzer,address"
let coverage: [SwiftSetting] =
  libFuzzer == nil ? [] : [.unsafeFlags(["-sanitize=" + sanitizers])]

// Settings, named once. `safe` is for whatever reads what a guest, a file or a peer wrote;
// `hot` is for engines, which are useless without optimisation even in debug builds.
let common: [SwiftSetting] =
  coverage + [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
    .enableUpcomingFeature("InferIsolatedConformances"),
  ]
let safe =
  common + [.strictMemorySafety(), .treatWarning("StrictMemorySafety", as: .error)]
let optimised: [SwiftSetting] = [.unsafeFlags(["-O"], .when(configuration: .debug))]
let hot =
  common + [
    .unsafeFlags(["-enforce-exclusivity=unchecked", "-Xcc", "-fno-omit-frame-pointer"]),
    // Handlers that look alike must not be merged into one with more parameters: it is reached by a
    // call and not by a jump, and the stack grows.
    .unsafeFlags(["-Xllvm", "-swiftmergefunc-threshold=0"]),
    // A handler's C entry point holds its body, instead of jumping to it; and a function that only jumps
    // on needs no frame.
    .unsafeFlags(["-Xllvm", "-sil-inline-trivial-function-threshold=200"]),
    .unsafeFlags(["-Xcc", "-momit-leaf-frame-pointer"]),
    .unsafeFlags(["-O", "-wmo", "-num-threads", "2"], .when(configuration: .debug)),
  ]

let log: Target.Dependency = .product(name: "Logging", package: "swift-log")
let arguments: Target.Dependency =
  .product(name: "ArgumentParser", package: "swift-argument-parser")

/// A target of the product. `folder` is its place in the tree, without its own name unless they
/// differ.
func part(
  _ name: String, in folder: String, _ dependencies: [Target.Dependency] = [],
  _ settings: [SwiftSetting]
) -> Target {
  .target(
    name: name, dependencies: dependencies, path: "Sources/" + folder, swiftSettings: settings)
}

/// A test target; its folder mirrors that of what it tests.
func tests(
  _ name: String, in folder: String, _ dependencies: [Target.Dependency],
  excluding excluded: [String] = [], plugins: [Target.PluginUsage]? = nil,
  settings: [SwiftSetting] = common
) -> Target {
  .testTarget(
    name: name, dependencies: dependencies, path: "Tests/" + folder, exclude: excluded,
    swiftSettings: settings, plugins: plugins)
}

/// `PART=Disks swift test` builds and tests one part and what it stands on, in seconds.
func chosen(_ targets: [Target]) -> [Target] {
  guard let part = Context.environment["PART"] else { return targets }
  let byName = Dictionary(uniqueKeysWithValues: targets.map { ($0.name, $0) })
  var names: Set<String> = []
  var waiting = [part, part + "Tests"]
  while let name = waiting.popLast() {
    guard let target = byName[name], names.insert(name).inserted else { continue }
    for case .byNameItem(let needed, _) in target.dependencies { waiting.append(needed) }
  }
  return targets.filter { names.contains($0.name) }
}

/// The program that fuzzes: only where there is a libFuzzer to link.
let fuzzer: [Target] =
  libFuzzer.map { library in
    [
      .target(name: "CLibFuzzer", path: "Tests/Fuzz/CLibFuzzer"),
      .executableTarget(
        name: "Fuzzer", dependencies: ["FuzzTargets", "CLibFuzzer"], path: "Tests/Fuzz/Fuzzer",
        swiftSettings: common,
        linkerSettings: [
          .unsafeFlags(
            [library, "-lstdc++", "-lm"]
              + (sanitizers == "fuzzer" ? [] : ["-sanitize=address"]))
        ]),
    ]
  } ?? []

let package = Package(
  name: "roost",
  products: Context.environment["PART"] == nil
    ? [.executable(name: "roost", targets: ["roost"])] : [],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
  ],
  targets: chosen(
    [
      // C: header shims, and the state that generated code will touch.
      .target(name: "CHostOS", path: "Sources/C/CHostOS"),
      .target(name: "CProcessor", path: "Sources/C/CProcessor"),
      .target(name: "CFloat", path: "Sources/C/CFloat"),
      .target(name: "CKVM", path: "Sources/C/CKVM"),
      .systemLibrary(
        name: "CZlib", path: "Sources/C/CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]
      ),
      .systemLibrary(
        name: "CZstd", path: "Sources/C/CZstd", pkgConfig: "libzstd",
        providers: [.apt(["libzstd-dev"])]),

      // Architecture: facts from the manuals.
      part("Bits", in: "Architecture/Bits", [], common),
      part("ArchitectureX86", in: "Architecture/X86", ["Bits"], common),

      // Machine: memory, buses, wires.
      part("Work", in: "Machine/Work", [], common),
      part("HostOS", in: "HostOS", ["Bits", "Work", "CHostOS"], common),
      part("Memory", in: "Machine/Memory", ["Bits", "Work", "HostOS", "CHostOS"], common),
      part("SavedState", in: "Machine/SavedState", [], safe + optimised),  // checksums all RAM
      part("Inspection", in: "Machine/Inspection", [], safe),
      part(
        "Board", in: "Machine/Board", ["Bits", "Work", "Memory", "SavedState", "Inspection", log],
        common),

      // Backends: what stands behind the devices.
      part("Streams", in: "Backends/Streams", ["Work", "HostOS"], common),
      part(
        "Disks", in: "Backends/Disks", ["Bits", "Work", "HostOS", "Memory", "CZlib", "CZstd"],
        common + optimised),
      part("Networks", in: "Backends/Networks", ["Bits", "Work", "HostOS"], common + optimised),
      part(
        "UserNetwork", in: "Backends/UserNetwork", ["Bits", "Work", "HostOS", "Networks"],
        safe + optimised),
      part("Volumes", in: "Backends/Volumes", ["Bits"], safe),
      part("Shares", in: "Backends/Shares", ["Bits", "Work", "HostOS"], safe + optimised),

      // Devices: what the guest sees.
      part(
        "Chipset", in: "Devices/Chipset",
        [
          "Bits", "Work", "Memory", "Board", "SavedState",
          "Inspection", "Streams", log,
        ], safe),
      part(
        "PCI", in: "Devices/PCI",
        ["Bits", "Work", "Memory", "Board", "SavedState", "Inspection", log],
        safe),
      part(
        "Virtio", in: "Devices/Virtio",
        [
          "Bits", "Work", "Memory", "Board", "SavedState", "Inspection", "PCI", "Streams", "Disks",
          "Networks", "Shares", log,
        ], safe + optimised),

      // Firmware: how a guest starts.
      part("ACPI", in: "Firmware/ACPI", ["Bits"], safe),
      part("SMBIOS", in: "Firmware/SMBIOS", ["Bits"], safe),
      part("LinuxBoot", in: "Firmware/LinuxBoot", ["Bits"], safe),

      // Engines: what executes the guest.
      part(
        "Execution", in: "Engines/Execution",
        ["Bits", "ArchitectureX86", "Work", "Memory", "Board", "Inspection"], common),
      part(
        "InterruptControllers", in: "Engines/InterruptControllers",
        [
          "Bits", "ArchitectureX86", "Work", "Board", "Execution", "SavedState", "Inspection", log,
        ], common),
      part(
        "X86Processor", in: "Engines/Software/X86Processor",
        [
          "Bits", "ArchitectureX86", "Work", "Memory", "Board", "Execution", "InterruptControllers",
          "Inspection",
          "CProcessor", "CFloat",
        ], hot),
      part(
        "SameISA", in: "Engines/Software/SameISA",
        ["ArchitectureX86", "HostOS", "Inspection", "X86Processor", "CProcessor"], hot),
      part(
        "SoftwareEngine", in: "Engines/Software/SoftwareEngine",
        [
          "Bits", "ArchitectureX86", "Work", "HostOS", "Memory", "Board", "Execution",
          "InterruptControllers", "Inspection", "X86Processor", "SameISA", "CProcessor",
        ], hot),
      part(
        "KVM", in: "Engines/KVM",
        [
          "Bits", "ArchitectureX86", "Work", "HostOS", "Memory", "Board", "Execution",
          "InterruptControllers", "Inspection", "X86Processor", "CKVM",
        ], common + [.unsafeFlags(["-O"], .when(configuration: .debug))]),

      // Monitor: what puts it all together.
      part(
        "Monitor", in: "Monitor",
        [
          "Bits", "ArchitectureX86", "Work", "HostOS", "Memory", "Board", "SavedState",
          "Inspection",
          "Streams", "Disks", "Networks", "UserNetwork", "Shares", "Chipset", "PCI", "Virtio",
          "ACPI",
          "SMBIOS", "LinuxBoot", "Execution",
          "InterruptControllers", "SoftwareEngine", "KVM", log,
        ], common),
      .executableTarget(
        name: "roost",
        dependencies: [
          "Monitor", "HostOS", "Streams", "Disks", "Volumes", "LinuxBoot", "Execution",
          "ArchitectureX86", "KVM", "Work", "Memory", "Board", "X86Processor", "SameISA",
          "SoftwareEngine", arguments, log,
        ],
        path: "Sources/Commands/roost", swiftSettings: common),

      // Benchmarks/user-network: `PART=UserNetworkBenchmark swift build -c release`.
      .executableTarget(
        name: "UserNetworkBenchmark", dependencies: ["UserNetwork", "Networks", "HostOS", "Work"],
        path: "Benchmarks/user-network/roost", swiftSettings: common),
      // Benchmarks/virtio-block: `PART=VirtioBlockBenchmark swift build -c release`.
      .executableTarget(
        name: "VirtioBlockBenchmark",
        dependencies: ["Kit", "Virtio", "Disks", "PCI", "Board", "Memory", "HostOS", "Work"],
        path: "Benchmarks/virtio-block", swiftSettings: common),

      // Tests: the same tree.
      .target(
        name: "Kit",
        dependencies: [
          "Bits", "Work", "Memory", "Board", "SavedState", "Inspection",
          "Streams",
        ], path: "Tests/Kit", swiftSettings: common),
      tests(
        "MachineTests", in: "Machine",
        [
          "Kit", "Bits", "Work", "HostOS", "Memory", "Board", "SavedState", "Inspection",
          "CHostOS",
        ]),
      tests("SavedStateTests", in: "SavedState", ["SavedState", "Inspection"]),
      tests("StreamsTests", in: "Backends/StreamsTests", ["Kit", "Streams", "HostOS", "Work"]),
      tests(
        "DisksTests", in: "Backends/DisksTests", ["Kit", "Disks", "Memory", "HostOS", "Work"],
        // Whole disks are compared byte by byte.
        settings: common + optimised),
      tests(
        "NetworksTests", in: "Backends/NetworksTests", ["Kit", "Networks", "HostOS", "Work"]),
      tests(
        "UserNetworkTests", in: "Backends/UserNetworkTests",
        ["Kit", "UserNetwork", "Networks", "HostOS", "Work"],
        // Megabytes through a TCP of the tests' own, and tens of thousands of hostile frames.
        settings: common + optimised),
      tests("VolumesTests", in: "Backends/VolumesTests", ["Volumes", "Bits"]),
      tests("SharesTests", in: "Backends/SharesTests", ["Kit", "Shares", "HostOS", "Work"]),
      tests(
        "ChipsetTests", in: "Devices/ChipsetTests",
        [
          "Kit", "Chipset", "Board", "Work", "Memory",
          "SavedState", "Inspection", "Streams",
        ]),
      tests(
        "PCITests", in: "Devices/PCITests",
        [
          "Kit", "PCI", "Board", "Work", "Memory", "SavedState",
          "Inspection",
        ]),
      tests(
        "VirtioTests", in: "Devices/VirtioTests",
        [
          "Kit", "Virtio", "PCI", "Board", "Work", "Memory", "SavedState", "Inspection", "Streams",
          "Disks", "Networks", "Shares",
        ]),
      // What is fuzzed, and the stored inputs: Documentation/Fuzzing.md.
      .target(
        name: "FuzzTargets",
        dependencies: [
          "Kit", "Bits", "Work", "HostOS", "Memory", "Board", "SavedState", "Inspection", "Streams",
          "Disks", "Networks", "UserNetwork", "Shares", "PCI", "Virtio", "ArchitectureX86",
          "Execution", "InterruptControllers", "X86Processor", "SameISA",
        ], path: "Tests/Fuzz/Targets", swiftSettings: common + optimised),
      tests(
        "FuzzReplayTests", in: "Fuzz/Replay", ["Kit", "FuzzTargets"], settings: common + optimised),
      tests("FirmwareTests", in: "Firmware", ["Kit", "Bits", "ACPI", "SMBIOS", "LinuxBoot"]),
      tests(
        "InterruptControllersTests", in: "Engines/InterruptControllersTests",
        [
          "Kit",
          "InterruptControllers", "ArchitectureX86", "Board", "Execution", "Work", "SavedState",
          "Inspection",
        ]),
      tests(
        "X86ProcessorTests", in: "Engines/X86ProcessorTests",
        [
          "Kit", "HostOS", "X86Processor", "SameISA",
          "ArchitectureX86", "SoftwareEngine", "InterruptControllers", "Execution", "Memory",
          "Board",
          "Work", "CProcessor", "CFloat",
        ],
        // Hundreds of thousands of samples a run.
        settings: common + [.unsafeFlags(["-O"], .when(configuration: .debug))]),
      tests(
        "SameISATests", in: "Engines/SameISATests",
        [
          "Kit", "HostOS", "SameISA", "X86Processor", "ArchitectureX86", "SoftwareEngine",
          "InterruptControllers", "Execution", "Memory", "Board", "Work", "CProcessor",
        ], settings: common + optimised),
      tests(
        "KVMTests", in: "Engines/KVMTests",
        [
          "Kit", "KVM", "CKVM", "ArchitectureX86", "InterruptControllers", "Execution", "Work",
        ]),
      tests(
        "ConformanceTests", in: "Conformance",
        [
          "Kit", "Monitor", "Board", "Work", "HostOS", "Memory", "Execution", "SoftwareEngine",
          "KVM",
          "ArchitectureX86",
        ]),
      tests(
        "MonitorTests", in: "MonitorTests",
        [
          "Kit", "Monitor", "Board", "Work", "Memory",
          "SavedState", "Inspection", "Execution", "SoftwareEngine", "KVM", "Chipset", "PCI",
          "Streams", "HostOS", "ArchitectureX86", "LinuxBoot", log,
        ]),
      tests(
        "CommandTests", in: "Commands",
        [
          "Kit", "roost", "ArchitectureX86", "Monitor", "HostOS", "Streams", "Disks", "Memory",
          "LinuxBoot",
          "KVM", arguments,
        ]),
      // Programs/ is built by the plugin, for the bare machine, and Floats/, for Linux.
      .plugin(name: "BuildGuests", capability: .buildTool()),
      tests(
        "GuestTests", in: "Guests",
        ["Kit", "Monitor", "HostOS", "Execution", "SoftwareEngine", "KVM", "ArchitectureX86", log],
        excluding: ["Programs", "Floats", "Stress", "README.md"], plugins: ["BuildGuests"]),
    ] + fuzzer),
  cLanguageStandard: .gnu17
)
