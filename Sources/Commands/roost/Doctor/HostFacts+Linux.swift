import ArchitectureX86
import FoundationEssentials
import HostOS
import KVM

extension HostFacts {
  /// Looks at this host. Takes a few milliseconds.
  static func gather() -> HostFacts {
    var facts = HostFacts()
    facts.processor = Processor(cpuinfo: text("/proc/cpuinfo"))
    facts.kvm = KVMSurvey(for: .x86_64v2)
    facts.kvmModules = Set(
      ["kvm", "kvm_intel", "kvm_amd", "kvm_pvm"].filter { exists("/sys/module/\($0)") })
    facts.hasMSHV = exists("/dev/mshv")
    facts.isContainer = exists("/.dockerenv") || exists("/run/.containerenv")
    facts.memory = Memory(
      meminfo: text("/proc/meminfo"), overcommit: text("/proc/sys/vm/overcommit_memory"))
    facts.isAtTerminal =
      Descriptor.standardInput.isTerminal && Descriptor.standardOutput.isTerminal
    facts.handleLimit = handleLimit(in: text("/proc/self/limits"))
    return facts
  }

  private static func exists(_ path: String) -> Bool {
    FileManager.default.fileExists(atPath: path)
  }

  /// A file's content; nothing if it cannot be read.
  private static func text(_ path: String) -> String {
    (try? HostFile.contents(of: path, limit: 16 << 20)).map { String(decoding: $0, as: UTF8.self) }
      ?? ""
  }
}
