import CHostOS
import Glibc

extension ChildProcess {
  /// A POSIX process.
  struct Handle: Sendable {
    private let process: pid_t

    static func start(
      _ path: String, _ arguments: [String], _ environment: [String: String], _ input: [UInt8],
      _ stream: Stream
    ) throws(HostError) -> (Handle, Descriptor) {
      let (given, giving) = try pipe()
      let (reading, written) = try pipe()
      // A pipe holds 64 KiB: nobody need read yet.
      try giving.writeAll(input)
      var actions = posix_spawn_file_actions_t()
      posix_spawn_file_actions_init(&actions)
      defer { posix_spawn_file_actions_destroy(&actions) }
      posix_spawn_file_actions_adddup2(&actions, given.handle, 0)
      for (handle, its) in [(Int32(1), Stream.output), (2, .errors)] {
        if its == stream {
          posix_spawn_file_actions_adddup2(&actions, written.handle, handle)
        } else {
          posix_spawn_file_actions_addopen(&actions, handle, "/dev/null", O_WRONLY, 0)
        }
      }
      // Signals that this process holds back or ignores are not the program's concern.
      var attributes = posix_spawnattr_t()
      posix_spawnattr_init(&attributes)
      defer { posix_spawnattr_destroy(&attributes) }
      var none = sigset_t()
      sigemptyset(&none)
      posix_spawnattr_setsigmask(&attributes, &none)
      var ordinary = sigset_t()
      sigemptyset(&ordinary)
      for signal in [SIGPIPE, SIGINT, SIGTERM, SIGHUP] { sigaddset(&ordinary, signal) }
      posix_spawnattr_setsigdefault(&attributes, &ordinary)
      posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

      let words = ([path] + arguments).map { strdup($0) } + [nil]
      let variables = environment.map { strdup("\($0)=\($1)") } + [nil]
      defer { for text in words + variables { free(text) } }
      var process: pid_t = 0
      // The program's ends stay open until it has them, and not longer.
      let code = withExtendedLifetime((given, written)) {
        posix_spawn(&process, path, &actions, &attributes, words, variables)
      }
      guard code == 0 else { throw HostError("start the program \"\(path)\"", code: code) }
      return (Handle(process: process), reading)
    }

    func wait() -> Int32 {
      var status: Int32 = 0
      while waitpid(process, &status, 0) < 0, errno == EINTR {}
      let signal = status & 0x7f
      return signal == 0 ? status >> 8 & 0xff : 128 + signal
    }

    /// Both ends of a pipe, to read from and to write to; closed in programs that are started.
    private static func pipe() throws(HostError) -> (Descriptor, Descriptor) {
      var handles: [Int32] = [-1, -1]
      guard roost_pipe(&handles) == 0 else { throw .last("make a pipe") }
      return (Descriptor(owning: handles[0]), Descriptor(owning: handles[1]))
    }
  }
}
