import Glibc

/// Programs of the host that tests ask for a second opinion.
///
/// Not Foundation's `Process`: that one reads the directory of open files past its end where a thousand are open, as they
/// are while other tests run.
package enum Program {
  /// Why a program was not started.
  package struct Failure: Error, CustomStringConvertible {
    package let description: String
  }

  /// This process's number.
  package static var number: Int32 { getpid() }

  package static func exists(_ name: String) -> Bool {
    find(name) != nil
  }

  /// Looks where a shell does, and where programs for administrators are.
  private static func find(_ name: String) -> String? {
    if name.contains("/") { return name }
    let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin"
    let folders = path.split(separator: ":").map(String.init) + ["/usr/sbin", "/sbin"]
    return folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
  }

  /// Runs a program to its end, with what it wrote to both of its outputs.
  ///
  /// - Parameter folder: where it runs; the test's own if there is none.
  package static func run(
    _ name: String, _ arguments: [String], in folder: String? = nil
  ) throws(Failure) -> (status: Int32, output: String) {
    var pipes: [Int32] = [0, 0]
    guard openPipe(&pipes) else { throw Failure(description: "no pipe for \(name)") }
    defer { close(pipes[0]) }
    let program: RunningProgram
    do {
      defer { close(pipes[1]) }
      program = try start(name, arguments, in: folder, output: pipes[1])
    }
    var output: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(pipes[0], &buffer, buffer.count)
      if count < 0, errno == EINTR { continue }
      if count <= 0 { break }
      output += buffer[..<count]
    }
    return (program.wait() ?? -1, String(decoding: output, as: UTF8.self))
  }

  /// Starts a program whose output nobody reads.
  package static func start(
    _ name: String, _ arguments: [String]
  ) throws(Failure) -> RunningProgram {
    let nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC)
    defer { close(nowhere) }
    return try start(name, arguments, in: nil, output: nowhere)
  }

  private static func start(
    _ name: String, _ arguments: [String], in folder: String?, output: Int32
  ) throws(Failure) -> RunningProgram {
    guard let path = find(name) else { throw Failure(description: "there is no \(name)") }
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, output, 1)
    posix_spawn_file_actions_adddup2(&actions, output, 2)
    let command =
      folder.map { ["/bin/sh", "-c", #"cd "$0" && exec "$@""#, $0, path] + arguments }
      ?? [path] + arguments
    var words: [UnsafeMutablePointer<CChar>?] = command.map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var process = pid_t()
    let error = posix_spawn(&process, command[0], &actions, nil, &words, environ)
    guard error == 0 else {
      throw Failure(description: "\(path) cannot be started: \(String(cString: strerror(error)))")
    }
    return RunningProgram(number: process)
  }

  /// A pipe whose ends no other program that is started meanwhile keeps open.
  private static func openPipe(_ ends: inout [Int32]) -> Bool {
    guard pipe(&ends) == 0 else { return false }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return true
  }
}

/// A program that a test has started and must wait for, once.
package struct RunningProgram: Sendable {
  package let number: Int32

  /// Whether it has not ended; leaves it to be waited for.
  package var isRunning: Bool {
    var info = siginfo_t()
    let answer = waitid(P_PID, id_t(number), &info, WEXITED | WNOHANG | WNOWAIT)
    return answer == 0 && info.si_signo == 0
  }

  package func send(_ signal: Int32) -> Bool { kill(number, signal) == 0 }

  /// Waits for its end. Answers its exit code; `nil`: a signal ended it.
  package func wait() -> Int32? {
    var status: Int32 = 0
    while waitpid(number, &status, 0) < 0, errno == EINTR {}
    return status & 0x7f == 0 ? status >> 8 & 0xff : nil
  }
}
