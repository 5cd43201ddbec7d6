import Foundation
import HostOS
import Monitor
import Testing

/// Debian's kernel on our own processor, from its first instruction to the end of a first process.
extension MachineTests.LinuxBootTests {
  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing), arguments: [1, 2])
  func `Linux boots to user space and switches itself off`(processors: Int) async throws {
    let run = try await boot("roost.test=hello", processors: processors)
    #expect(run.reason == .poweredOff, "\(run.end)")
    #expect(run.text.contains("ROOST-GUEST: first line of userspace"), "\(run.end)")
    #expect(run.text.contains("ROOST-TEST: hello from userspace"), "\(run.end)")
    #expect(run.text.contains("processors=\(processors) "), "\(run.end)")
    #expect(run.text.contains("ROOST-TEST: hello ends with status 0"), "\(run.end)")
    #expect(!run.text.contains("Kernel panic"), "\(run.end)")
    #expect(!run.text.contains("Call Trace"), "\(run.end)")
  }

  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing))
  func `Linux resets the machine`() async throws {
    let run = try await boot("roost.test=hello roost.then=reboot", processors: 1)
    #expect(run.reason == .reset, "\(run.end)")
    #expect(run.text.contains("ROOST-TEST: hello ends with status 0"), "\(run.end)")
  }

  @Test(.enabled(if: LinuxFiles.vmlinux != nil && LinuxFiles.arePresent, LinuxFiles.missing))
  func `an uncompressed kernel boots through its PVH entry`() async throws {
    let run = try await boot("roost.test=hello", processors: 1, LinuxFiles.vmlinux)
    #expect(run.reason == .poweredOff, "\(run.end)")
    #expect(run.text.contains("ROOST-TEST: hello ends with status 0"), "\(run.end)")
  }

  private func boot(
    _ words: String, processors: Int, _ path: String? = LinuxFiles.bzImage
  ) async throws -> GuestMachine.Run {
    let machine = GuestMachine(processors: processors, memory: 512 << 20)
    return try await machine.run(LinuxFiles.kernel(words, path))
  }
}

/// The files that `make test` prepares and names; a bare `swift test` skips what needs them.
enum LinuxFiles {
  static let bzImage = file("ROOST_TEST_KERNEL")
  static let vmlinux = file("ROOST_TEST_VMLINUX")
  static let initrd = file("ROOST_TEST_INITRD")
  static let arePresent = bzImage != nil && initrd != nil
  static let missing: Comment =
    "ROOST_TEST_KERNEL, ROOST_TEST_VMLINUX or ROOST_TEST_INITRD names no file"

  static func kernel(_ words: String, _ path: String? = bzImage) throws -> VMConfiguration.Kernel {
    let kernel = try Data(contentsOf: URL(filePath: try #require(path)))
    let initrd = try Data(contentsOf: URL(filePath: try #require(Self.initrd)))
    return VMConfiguration.Kernel(
      image: WholeFile([UInt8](kernel)), initrd: WholeFile([UInt8](initrd)),
      commandLine: "console=ttyS0 cryptomgr.notests \(words)")
  }

  private static func file(_ variable: String) -> String? {
    ProcessInfo.processInfo.environment[variable].flatMap {
      FileManager.default.isReadableFile(atPath: $0) ? $0 : nil
    }
  }
}

extension GuestMachine.Run {
  /// The last lines, which are what a failed boot is judged by.
  var end: String { lines.suffix(30).joined(separator: "\n") }
}
