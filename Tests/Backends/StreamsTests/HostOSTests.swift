import Glibc
import HostOS
import Synchronization
import Testing
import Work

struct EventLoopTests {
  /// A list that several threads append to.
  private final class Notes: Sendable {
    private let list = Mutex<[Int]>([])
    func add(_ value: Int) { list.withLock { $0.append(value) } }
    var all: [Int] { list.withLock { $0 } }
  }

  @Test func `work runs in the order in which it was posted, on the loop`() throws {
    let loop = try EventLoop(name: "test")
    let notes = Notes()
    for index in 0..<1000 { loop.post { notes.add(loop.isCurrent ? index : -1) } }
    loop.stop()
    #expect(notes.all == Array(0..<1000))
  }

  @Test func `timers ring in the order of their deadlines and not early`() throws {
    let loop = try EventLoop(name: "test")
    let notes = Notes()
    let start = HostClock.now
    let timers = [30, 10, 20].map { delay in
      let deadline = start.advanced(by: UInt64(delay) * 1_000_000)
      let timer = loop.makeTimer { notes.add(HostClock.now >= deadline ? delay : -1) }
      timer.set(deadline)
      return timer
    }
    let silent = loop.makeTimer { notes.add(99) }
    silent.set(start.advanced(by: 15_000_000))
    silent.set(nil)
    #expect(eventually { notes.all == [10, 20, 30] })
    timers[0].set(start)
    #expect(eventually { notes.all == [10, 20, 30, -1] || notes.all == [10, 20, 30, 30] })
    loop.stop()
  }

  @Test func `a bell rung many times is answered at least once, and after the last ring`() throws {
    let loop = try EventLoop(name: "test")
    let rings = Atomic<Int>(0)
    let seen = Atomic<Int>(0)
    let bell = loop.makeDoorbell {
      seen.store(rings.load(ordering: .acquiring), ordering: .releasing)
    }
    #expect(bell.hostHandle != nil)
    for _ in 0..<10_000 {
      rings.add(1, ordering: .releasing)
      bell.ring()
    }
    #expect(eventually { seen.load(ordering: .acquiring) == 10_000 })
    loop.stop()
  }

  @Test func `an event lets exactly one wait pass for each signal that was waited for`() throws {
    let ping = Event()
    let pong = Event()
    let thread = try Thread(name: "pong") {
      for _ in 0..<2000 {
        ping.wait()
        pong.signal()
      }
    }
    for _ in 0..<2000 {
      ping.signal()
      #expect(pong.wait(until: HostClock.now.advanced(by: 10_000_000_000)))
    }
    thread.join()
    #expect(!pong.wait(until: HostClock.now.advanced(by: 1_000_000)))
  }

  @Test func `a handle is answered while it is ready, and not after cancel`() throws {
    let loop = try EventLoop(name: "test")
    let (reading, writing) = makePipe()
    let notes = Notes()
    let source = try loop.watch(reading.handle, for: .readable) { _ in
      for byte in (try? reading.read(upTo: 16)) ?? [] { notes.add(Int(byte)) }
    }
    try writing.writeAll([1, 2])
    #expect(eventually { notes.all == [1, 2] })
    source.cancel()
    try writing.writeAll([3])
    loop.stop()
    #expect(notes.all == [1, 2])
  }
}

struct ChildProcessTests {
  @Test(arguments: [
    (ChildProcess.Stream.output, ["given"]), (.errors, ["VALUE=a b", "last"]),
  ])
  func `a program gets its input and variables, and one of its streams is heard`(
    stream: ChildProcess.Stream, expected: [String]
  ) throws {
    let process = try ChildProcess(
      "/bin/sh", ["-c", "read word; echo $word; echo VALUE=$VALUE >&2; printf last >&2; exit 3"],
      environment: ["VALUE": "a b"], input: Array("given\n".utf8), reading: stream)
    var lines: [String] = []
    try process.lines { lines.append($0) }
    #expect(lines == expected)
    #expect(process.wait() == 3)
  }

  @Test func `a program that a signal ends says so as in a shell`() throws {
    let process = try ChildProcess(
      "/bin/sh", ["-c", "kill -TERM $$"], environment: [:], reading: .output)
    #expect(process.wait() == 128 + SIGTERM)
  }

  @Test func `a program that is not there cannot be started`() {
    let error = #expect(throws: HostError.self) {
      try ChildProcess("/nonexistent/program", [], environment: [:], reading: .output)
    }
    #expect(error?.code == ENOENT)
  }
}

struct FileTests {
  @Test func `a replacement appears whole or not at all`() throws {
    let path = temporaryPath("replaced")
    defer { unlink(path) }
    do {
      let file = try ReplacementFile(path: path)
      try file.descriptor.writeAll([1])
    }
    #expect(throws: HostError.self) { try HostFile.contents(of: path, limit: 10) }
    let file = try ReplacementFile(path: path)
    try file.descriptor.writeAll([1, 2])
    try file.commit()
    #expect(try HostFile.contents(of: path, limit: 10) == [1, 2])
  }

  @Test func `a whole file is read as it is each time`() throws {
    let path = temporaryPath("whole")
    defer { unlink(path) }
    try HostFile.create(path).writeAll([1, 2, 3])
    let file = try WholeFile(path, limit: 4)
    #expect(try file.contents() == [1, 2, 3])
    #expect(try file.contents() == [1, 2, 3])
    try HostFile.create(path, appending: true).writeAll([4])
    #expect(try file.contents() == [1, 2, 3, 4])
    try HostFile.create(path, appending: true).writeAll([5])
    let error = #expect(throws: HostError.self) { try file.contents() }
    #expect(error?.description.contains("read the file \"\(path)\"") == true)
    unlink(path)
    #expect(throws: HostError.self) { try file.contents() }
  }

  @Test func `what came through a pipe is read once and kept`() async throws {
    let path = temporaryPath("pipe")
    defer { unlink(path) }
    try #require(mkfifo(path, 0o600) == 0)
    let writer = try Thread(name: "writer") {
      try? HostFile.create(path).writeAll([1, 2, 3])
    }
    let file = try WholeFile(path, limit: 3)
    writer.join()
    #expect(try file.contents() == [1, 2, 3])
    #expect(try file.contents() == [1, 2, 3])
  }

  @Test func `what has no end or no bytes is no whole file`() {
    #expect(throws: HostError.self) { try WholeFile("/dev/zero", limit: 10) }
    #expect(throws: HostError.self) { try WholeFile("/tmp", limit: 1 << 20) }
  }

  @Test func `a failure says what was attempted, on what, and why`() {
    let error = #expect(throws: HostError.self) {
      try HostFile.contents(of: "/nonexistent/file", limit: 1)
    }
    #expect(
      error?.description == "cannot open the file \"/nonexistent/file\": No such file or directory")
  }
}
