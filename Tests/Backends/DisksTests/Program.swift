import Glibc
import Testing

/// Programs of the host that tests ask for a second opinion.
enum Program {
  /// This process's number.
  static var number: Int32 { getpid() }

  static func exists(_ name: String) -> Bool {
    find(name) != nil
  }

  private static func find(_ name: String) -> String? {
    let folders = getenv("PATH").map { String(cString: $0) } ?? "/usr/bin"
    return folders.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
  }

  /// Runs a program to its end, with what it wrote to both of its outputs.
  static func run(_ name: String, _ arguments: [String]) throws -> (status: Int32, output: String) {
    let path = try #require(find(name))
    var pipes: [Int32] = [0, 0]
    try #require(pipe2(&pipes) == 0)
    var actions = posix_spawn_file_actions_t()
    posix_spawn_file_actions_init(&actions)
    defer { posix_spawn_file_actions_destroy(&actions) }
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1)
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 2)
    var words: [UnsafeMutablePointer<CChar>?] = ([path] + arguments).map { strdup($0) } + [nil]
    defer { for word in words { free(word) } }
    var process = pid_t()
    try #require(posix_spawn(&process, path, &actions, nil, &words, environ) == 0)
    close(pipes[1])
    var output: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 4096)
    while true {
      let count = read(pipes[0], &buffer, buffer.count)
      if count <= 0 { break }
      output += buffer[..<count]
    }
    close(pipes[0])
    var status: Int32 = 0
    waitpid(process, &status, 0)
    return (status >> 8 & 0xff, String(decoding: output, as: UTF8.self))
  }

  /// A pipe whose ends no other program that is started meanwhile keeps open.
  private static func pipe2(_ ends: inout [Int32]) -> Int32 {
    guard pipe(&ends) == 0 else { return -1 }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    return 0
  }
}
