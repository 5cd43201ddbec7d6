import KVM

/// What Roost wants to know of the host, as it was found.
struct HostFacts: Sendable {
  var processor = Processor()
  var kvm = KVMSurvey(unavailable: .absent)
  /// The modules of KVM's that the kernel has, built in or loaded: `kvm`, `kvm_intel` …
  var kvmModules: Set<String> = []
  var hasMSHV = false
  var isContainer = false
  var memory = Memory()
  /// Whether standard input and output are a terminal.
  var isAtTerminal = false
  /// How many handles the process may have open.
  var handleLimit: UInt64?

  /// The host's processors, by the first of them.
  struct Processor: Sendable, Equatable {
    var name = ""
    var flags: Set<String> = []
  }

  struct Memory: Sendable, Equatable {
    /// Bytes that can be had without swapping.
    var available: UInt64?
    /// `vm.overcommit_memory`.
    var overcommit: Int?
  }
}

// MARK: - What the kernel's files say

extension HostFacts.Processor {
  /// Reads `/proc/cpuinfo`.
  init(cpuinfo: String) {
    for line in cpuinfo.split(separator: "\n") {
      let (key, value) = line.field(before: ":")
      switch key {
      case "model name" where name.isEmpty: name = String(value)
      case "flags" where flags.isEmpty: flags = Set(value.split(separator: " ").map(String.init))
      default: break
      }
    }
  }
}

extension HostFacts.Memory {
  /// Reads `/proc/meminfo` and `/proc/sys/vm/overcommit_memory`.
  init(meminfo: String, overcommit: String) {
    let line = meminfo.split(separator: "\n").first { $0.hasPrefix("MemAvailable:") }
    if let kibibytes = line?.field(before: ":").value.split(separator: " ").first.flatMap({
      UInt64($0)
    }), kibibytes < 1 << 50 {
      available = kibibytes * 1024
    }
    self.overcommit = Int(overcommit.filter { !$0.isWhitespace })
  }
}

extension HostFacts {
  /// The soft limit of open files in `/proc/self/limits`; `nil` if there is none.
  static func handleLimit(in limits: String) -> UInt64? {
    limits.split(separator: "\n").first { $0.hasPrefix("Max open files") }
      .flatMap { $0.dropFirst("Max open files".count).split(separator: " ").first }
      .flatMap { UInt64($0) }
  }
}

extension Substring {
  /// What stands before and behind the first `separator`, without the blanks around it.
  fileprivate func field(before separator: Character) -> (key: Substring, value: Substring) {
    let parts = split(separator: separator, maxSplits: 1, omittingEmptySubsequences: false)
    return (parts[0].trimmed, parts.count > 1 ? parts[1].trimmed : "")
  }

  private var trimmed: Substring {
    guard let last = lastIndex(where: { !$0.isWhitespace }) else { return "" }
    return self[...last].drop { $0.isWhitespace }
  }
}
