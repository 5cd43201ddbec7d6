import ArchitectureX86
import ArgumentParser
import HostOS
import LinuxBoot
import Monitor
import Testing

@testable import roost

struct CommandLineTests {
  /// A file that can be read; what is in it does not matter here.
  private static let file = "/proc/self/comm"

  private func plan(_ arguments: String...) throws -> Plan {
    let command = try #require(
      try RoostCommand.parseAsRoot(["run"] + arguments) as? RunCommand)
    return try command.plan()
  }

  private func refusal(_ arguments: String...) -> String {
    do {
      let command = try RoostCommand.parseAsRoot(["run"] + arguments) as? RunCommand
      _ = try command?.plan()
      return ""
    } catch let error as ConfigurationError {
      return error.description
    } catch {
      return RoostCommand.message(for: error)
    }
  }

  @Test func `without further options it is one processor, 512 MiB and this terminal`() throws {
    let plan = try plan("--kernel", Self.file)
    guard case .powerOn(let configuration) = plan.start else {
      Issue.record("not powered on")
      return
    }
    #expect(configuration.processors == 1)
    #expect(configuration.model.name == "x86-64-v2")
    #expect(configuration.memory.bytes == 512 << 20)
    #expect(configuration.restartsOnReset)
    #expect(plan.serial == [.stdio, .null, .null, .null])
    #expect(plan.grace == 30_000_000_000)
    #expect(plan.engine == .auto)
  }

  @Test func `short and long options are read`() throws {
    let plan = try plan(
      "-k", Self.file, "-i", Self.file, "-c", "console=ttyS0", "-m", "2G", "--cpus", "2",
      "--cpu", "x86-64-v3",
      "--serial", "null", "--serial", "stdio", "--debug-exit", "0xf4", "--no-reboot",
      "--module", Self.file + "=a=b", "--boot-protocol", "pvh")
    guard case .powerOn(let configuration) = plan.start,
      case .kernel(let kernel) = configuration.boot
    else {
      Issue.record("no kernel")
      return
    }
    #expect(kernel.commandLine == "console=ttyS0")
    #expect(kernel.modules.map(\.commandLine) == ["a=b"])
    #expect(kernel.bootProtocol == .pvh)
    #expect(try kernel.initrd?.contents().isEmpty == false)
    #expect(configuration.debugExitPort == 0xf4)
    #expect(configuration.model.name == "x86-64-v3")
    #expect(!configuration.restartsOnReset)
    #expect(plan.serial == [.null, .stdio, .null, .null])
  }

  @Test func `refusals name the option, the value and the remedy`() {
    #expect(refusal().contains("--kernel"))
    #expect(refusal("-k", "/nope").contains("--kernel /nope"))
    #expect(refusal("-k", Self.file, "-m", "512").contains("512M"))
    #expect(refusal("-k", Self.file, "--engine", "hvf").contains("--engine hvf"))
    #expect(refusal("-k", Self.file, "--rom", Self.file).contains("not both"))
    #expect(refusal("-k", Self.file, "--debug-exit", "0x10000").contains("--debug-exit 0x10000"))
    #expect(refusal("-k", Self.file, "--serial", "tcp:1").contains("--serial tcp:1"))
    #expect(
      refusal("-k", Self.file, "--cpu", "z80")
        == "--cpu z80: There is no such processor model: write \(ProcessorModel.names).")
    #expect(refusal("--restore", "x", "--cpu", "x86-64-v3").contains("leave those options out"))
    #expect(refusal("--restore", "x", "-m", "1G").contains("leave those options out"))
    #expect(refusal("-k", Self.file, "--snapshot-after", "1").contains("--snapshot FILE"))
    #expect(
      refusal("-k", Self.file, "--serial", "stdio", "--serial", "stdio").contains("one terminal"))
    #expect(refusal("-k", Self.file, "--log", "loud").contains("--log loud"))
  }
}
