import ArgumentParser
import Synchronization
import Testing

@testable import roost

/// `roost cpu compare`, as far as it needs no kernel.
struct ComparingCommandTests {
  @Test(arguments: [["--first", "0"], ["--every", "0"], ["--seconds", "0"], ["--memory"]])
  func `options are checked`(_ options: [String]) {
    #expect(throws: (any Error).self) {
      try ComparingCommand.parse(["--kernel", "bzImage"] + options)
    }
  }

  @Test func `a kernel that cannot be read ends it with a code`() async throws {
    let command = try ComparingCommand.parse(["--kernel", "/nonexistent/bzImage"])
    await #expect(throws: ExitCode(64)) { try await command.run() }
  }

  @Test(arguments: [["login: "], ["lo", "gin", ": # "], ["xlologin: "], ["a", "log", "login: "]])
  func `a text is found however it arrives`(_ pieces: [String]) {
    let count = Mutex(0)
    let console = WatchedConsole(isShown: false, until: "login: ") { count.withLock { $0 += 1 } }
    for piece in pieces { #expect(console.send(Array(piece.utf8)) == piece.utf8.count) }
    #expect(count.withLock { $0 } == 1)
  }

  @Test func `nothing is found where it is not`() {
    let console = WatchedConsole(isShown: false, until: "login: ") { Issue.record("found") }
    for _ in 0..<100 { _ = console.send(Array("log in: ".utf8)) }
  }
}
