import Foundation
import Monitor
import Testing

/// Whole machines, one after another: each is as many threads as it has processors, and some watch the
/// clock.
@Suite(.serialized) struct MachineTests {
  @Suite struct SystemGuestTests {}
  @Suite struct SavedGuestTests {}
  @Suite struct LinuxBootTests {}
}

/// Boots each program of Tests/Guests/Programs on our own processor. A program checks the machine
/// itself, against the manuals; the test reads its report. See README.md beside this file.
extension MachineTests.SystemGuestTests {
  @Test(arguments: [
    "hello", "memory", "paging", "exceptions", "user", "self-modifying", "interrupts", "timers",
    "rtc",
    "pci", "acpi", "processors", "atomics",
  ])
  func `a guest on one processor finds what the manuals say`(_ program: String) async throws {
    try await check(program)
  }

  @Test(arguments: [
    ("self-modifying", 2), ("interrupts", 2), ("interrupts", 4), ("acpi", 2), ("processors", 2),
    ("processors", 4), ("atomics", 2), ("atomics", 4), ("ordering", 2), ("ordering", 4),
  ])
  func `a guest on several processors finds what the manuals say`(
    _ program: String, processors: Int
  ) async throws {
    let run = try await check(program, processors: processors)
    #expect(!run.text.contains("skip no second processor"))
  }

  @Test func `RAM above the PCI hole is a guest's own, and the hole is empty`() async throws {
    let run = try await check("memory", memory: 4 << 30)
    #expect(run.text.contains("ok   memory above 4 GiB is its own"))
    #expect(run.text.contains("note a hole reads as: 0xffffffff"))
  }

  @Test(arguments: [
    ("power-off", ExitReason.poweredOff), ("reset-cf9", .reset), ("reset-8042", .reset),
    ("triple-fault", .tripleFault(processor: 0)),
  ])
  func `a guest ends its machine in each way there is`(
    _ program: String, reason: ExitReason
  ) async throws {
    let run = try await GuestMachine().run(.program(program))
    #expect(run.reason == reason, "\(run.text)")
    #expect(run.lines.last?.hasPrefix("end  by ") == true, "\(run.text)")
  }

  @discardableResult
  private func check(
    _ program: String, processors: Int = 1, memory: UInt64 = 64 << 20
  ) async throws -> GuestMachine.Run {
    let machine = GuestMachine(processors: processors, memory: memory)
    let run = try await machine.run(.program(program))
    #expect(run.reason == .debugExit(0x10), "\(run.text)")
    #expect(run.lines.last?.hasPrefix("end ") == true, "\(run.text)")
    #expect(!run.lines.contains { $0.hasPrefix("FAIL") }, "\(run.text)")
    return run
  }
}

extension VMConfiguration.Kernel {
  /// The image of all programs, told to run one of them.
  static func program(_ name: String) throws -> Self {
    let image = try #require(Bundle.module.url(forResource: "guests", withExtension: "elf"))
    return Self(image: [UInt8](try Data(contentsOf: image)), commandLine: name)
  }
}
