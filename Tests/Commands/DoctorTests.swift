import Foundation
import KVM
import Testing

@testable import roost

struct DoctorTests {
  /// A host that has everything.
  private var healthy: HostFacts {
    HostFacts(
      processor: .init(
        name: "A processor", flags: ["vmx", "xsave", "constant_tsc", "nonstop_tsc"]),
      kvm: KVMSurvey(
        scalesTSC: true,
        probe: KVMProbe(
          verdict: .native, instructionsPerSecond: 5e9,
          counter: KVMCounter(frequency: 2_600_000_000),
          time: 1_000_000)),
      kvmModules: ["kvm", "kvm_intel"], memory: .init(available: 16 << 30, overcommit: 0),
      isAtTerminal: true, handleLimit: 1024)
  }

  private func check(_ name: String, _ change: (inout HostFacts) -> Void) throws -> Check {
    var facts = healthy
    change(&facts)
    return try #require(Checkup(facts).checks.first { $0.name == name })
  }

  @Test func `a host that has everything passes every check`() {
    let checkup = Checkup(healthy)
    for check in checkup.checks where check.name != "mshv" {
      #expect(check.state == .ok, "\(check)")
    }
    #expect(checkup.engine == "kvm" && checkup.canRunGuests)
  }

  @Test(arguments: [
    ("kvm device", KVMUnavailable.absent), ("kvm permission", .notPermitted),
    ("kvm permission", .failed("Too many open files")), ("kvm version", .wrongVersion(11)),
  ])
  func `a KVM that cannot be opened fails one check and leaves the others out`(
    _ name: String, reason: KVMUnavailable
  ) {
    var facts = healthy
    facts.kvm = KVMSurvey(unavailable: reason)
    let checkup = Checkup(facts)
    let checks = checkup.checks.filter { $0.name.hasPrefix("kvm") }
    #expect(checks.filter { $0.state == .failed }.map(\.name) == [name])
    #expect(checks.contains { $0.state == .skipped })
    #expect(checkup.engine == "software" && checkup.canRunGuests)
  }

  @Test func `the remedy for a missing device suits the host`() throws {
    func remedy(_ change: (inout HostFacts) -> Void) throws -> String {
      let check = try check("kvm device") {
        $0.kvm = KVMSurvey(unavailable: .absent)
        $0.kvmModules = []
        change(&$0)
      }
      return try #require(check.remedy)
    }
    #expect(try remedy { _ in }.contains("modprobe kvm_intel"))
    #expect(try remedy { $0.processor.flags = ["svm"] }.contains("modprobe kvm_amd"))
    #expect(try remedy { $0.isContainer = true }.contains("--device /dev/kvm"))
    #expect(try remedy { $0.kvmModules = ["kvm_amd"] }.contains("mknod"))
    #expect(try remedy { $0.processor.flags = [] }.contains("virtualization first"))
  }

  @Test func `a processor without virtualization is for the firmware or for the host above`() throws
  {
    let bare = try check("processor") { $0.processor.flags = [] }
    #expect(bare.state == .warning && bare.remedy?.contains("firmware") == true)
    let nested = try check("processor") { $0.processor.flags = ["hypervisor"] }
    #expect(nested.remedy?.contains("nested") == true)
  }

  @Test func `an emulated kernel mode fails with the figures`() throws {
    let check = try check("kvm speed") {
      $0.kvm.probe = KVMProbe(
        verdict: .emulated, instructionsPerSecond: 1.4e6, counter: nil, time: 4_100_000)
    }
    #expect(check.state == .failed)
    #expect(check.finding.contains("1.4 million instructions a second, probed in 4.1 ms"))
    #expect(check.remedy?.contains("software engine") == true)
  }

  @Test func `whatever is not right has a remedy, and only that`() {
    var facts = HostFacts()
    facts.memory = .init(available: 1 << 20, overcommit: 2)
    facts.handleLimit = 64
    facts.hasMSHV = true
    for facts in [facts, healthy] {
      for check in Checkup(facts).checks {
        let isWrong = check.state == .warning || check.state == .failed
        #expect((check.remedy != nil) == isWrong, "\(check)")
        #expect(check.remedy?.hasSuffix(".") != false, "\(check)")
        #expect(!check.finding.hasSuffix("."), "\(check)")
      }
    }
  }

  @Test func `only a host without memory cannot run guests`() {
    var facts = HostFacts()
    #expect(Checkup(facts).canRunGuests)
    facts.memory.available = 1 << 20
    #expect(!Checkup(facts).canRunGuests)
  }

  @Test func `the kernel's files are read, whatever is in them`() {
    let processor = HostFacts.Processor(
      cpuinfo: "processor\t: 0\nmodel name\t: A  processor \nflags\t\t: fpu vmx\n\nflags : svm\n:\n"
    )
    #expect(processor == .init(name: "A  processor", flags: ["fpu", "vmx"]))
    let memory = HostFacts.Memory(
      meminfo: "MemTotal: 9 kB\nMemAvailable:   2048 kB\n", overcommit: "2\n")
    #expect(memory == .init(available: 2 << 20, overcommit: 2))
    #expect(
      HostFacts.Memory(meminfo: "MemAvailable: 18446744073709551615 kB", overcommit: "")
        == .init(available: nil, overcommit: nil))
    let limits = "Limit   Soft Limit  Hard Limit  Units\nMax open files   1024   524288   files\n"
    #expect(HostFacts.handleLimit(in: limits) == 1024)
    #expect(HostFacts.handleLimit(in: "Max open files   unlimited unlimited files") == nil)
    #expect(HostFacts.handleLimit(in: "") == nil)
  }

  @Test func `text has a line for each check and remedy, and says the engine last`() {
    let lines = Checkup(healthy).text(coloured: false).split(separator: "\n")
    #expect(lines.count == Checkup(healthy).checks.count + 1)
    #expect(lines.last?.hasPrefix("--engine auto takes kvm: KVM runs a guest's kernel") == true)
    #expect(!Checkup(healthy).text(coloured: false).contains("\u{1b}"))
    #expect(Checkup(healthy).text(coloured: true).contains("\u{1b}[32mok"))
  }

  @Test func `JSON holds the same`() throws {
    let data = try JSONEncoder().encode(Checkup(healthy))
    let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
    #expect(object["engine"] as? String == "kvm")
    #expect(object["canRunGuests"] as? Bool == true)
    let checks = try #require(object["checks"] as? [[String: Any]])
    #expect(checks.count == Checkup(healthy).checks.count)
    #expect(checks.first?["state"] as? String == "ok")
  }
}
