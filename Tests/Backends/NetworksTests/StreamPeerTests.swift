import Glibc
import HostOS
import Kit
import Networks
import Testing
import Work

/// Streams that others speak.
@Suite struct `Stream port beside others` {
  private static let qemu = "/usr/bin/qemu-system-x86_64"

  // RFC 826
  private static let question: [UInt8] =
    [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6]
    + [0, 1, 8, 0, 6, 4, 0, 1, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 10, 0, 2, 15]
    + [0, 0, 0, 0, 0, 0, 10, 0, 2, 2]

  @Test(.enabled(if: access(Self.qemu, X_OK) == 0, "QEMU is not installed"))
  func `QEMU's network answers through its stream`() throws {
    let loop = try EventLoop(name: "stream")
    let path = temporaryPath("qemu")
    let port = try StreamPort(path: path, .listen, on: loop, clock: ManualClock())
    let user = PortTester(port, on: loop)
    let child = try run([
      Self.qemu, "-machine", "none", "-nodefaults", "-display", "none",
      "-netdev", "stream,id=s,server=off,addr.type=unix,addr.path=\(path)",
      "-netdev", "user,id=u",
      "-netdev", "hubport,id=a,hubid=0,netdev=s", "-netdev", "hubport,id=b,hubid=0,netdev=u",
    ])
    defer {
      kill(child, SIGKILL)
      waitpid(child, nil, 0)
    }
    try #require(eventually { port.isConnected })
    #expect(user.sendAll([Frame(Self.question)]))
    #expect(user.wait { $0.received.contains { Self.isAnswer($0.bytes) } })
  }

  /// Whether it is an answer that names the router's card.
  private static func isAnswer(_ bytes: [UInt8]) -> Bool {
    bytes.count >= 42 && bytes[12..<14] == [8, 6] && bytes[20..<22] == [0, 2]
      && bytes[28..<32] == [10, 0, 2, 2]
  }

  /// Starts a program that says nothing.
  private func run(_ parts: [String]) throws -> pid_t {
    var arguments: [UnsafeMutablePointer<CChar>?] = parts.map { strdup($0) } + [nil]
    defer { for argument in arguments { free(argument) } }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    for handle: Int32 in 0...2 {
      posix_spawn_file_actions_addopen(&actions, handle, "/dev/null", O_RDWR, 0)
    }
    var child: pid_t = 0
    try #require(posix_spawn(&child, parts[0], &actions, nil, &arguments, environ) == 0)
    return child
  }
}
