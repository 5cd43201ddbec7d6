import Monitor
import Testing

/// A guest that is saved at any moment and goes on in a new machine notices nothing.
extension MachineTests.SavedGuestTests {
  @Test(arguments: [
    ("timers", 1), ("rtc", 1), ("interrupts", 2), ("atomics", 4), ("ordering", 2), ("paging", 1),
  ])
  func `a guest goes on where it was saved`(_ program: String, processors: Int) async throws {
    for _ in 0..<2 {
      let machine = GuestMachine(processors: processors)
      let moments = (0..<3).map { _ in Duration.milliseconds(Int.random(in: 1...150)) }
      let run = try await machine.run(.program(program), savedAfter: moments)
      #expect(run.reason == .debugExit(0x10), "saved after \(moments):\n\(run.text)")
      #expect(run.lines.last?.hasPrefix("end ") == true, "saved after \(moments):\n\(run.text)")
    }
  }

  /// Its numbers are right after 50 saves into files, and as many lives on one engine and the other.
  @Test(.onEngine(.kvm)) func `a guest goes from engine to engine 50 times`() async throws {
    let machine = GuestMachine(engines: [.kvm, .software])
    let moments = (0..<50).map { _ in Duration.milliseconds(Int.random(in: 5...40)) }
    let run = try await machine.run(.program("checksum"), savedAfter: moments, word: [13])
    #expect(run.lives == 51)
    #expect(run.reason == .debugExit(0x10), "\(run.text)")
    #expect(run.text.contains("end  3 passed, 0 failed"), "\(run.text)")
  }

  @Test(.enabled(if: LinuxFiles.arePresent, LinuxFiles.missing), arguments: [1, 2])
  func `Linux boots on from any moment`(processors: Int) async throws {
    let machine = GuestMachine(processors: processors, memory: 512 << 20)
    let moments = (0..<2).map { _ in Duration.milliseconds(Int.random(in: 50...2500)) }
    let run = try await machine.run(LinuxFiles.kernel("roost.test=hello"), savedAfter: moments)
    #expect(run.reason == .poweredOff, "saved after \(moments):\n\(run.end)")
    #expect(run.text.contains("ROOST-TEST: hello ends with status 0"), "\(run.end)")
    #expect(!run.text.contains("Call Trace"), "saved after \(moments):\n\(run.text)")
  }
}
