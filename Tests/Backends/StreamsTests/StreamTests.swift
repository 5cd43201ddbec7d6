import Glibc
import HostOS
import Streams
import Testing
import Work

struct StreamTests {
  private let text = (0..<300_000).map { UInt8(truncatingIfNeeded: $0 &* 7) }

  @Test func `a file holds everything in order once the stream is closed`() throws {
    let path = temporaryPath("file")
    defer { unlink(path) }
    let loop = try EventLoop(name: "test")
    let stream = try FileStream(path: path)
    Collector(stream, on: loop).sendAll(text)
    #expect(stream.close() == nil)
    #expect(try HostFile.contents(of: path, limit: 1 << 20) == text)
    loop.stop()
  }

  @Test func `closing says why output was lost`() throws {
    let full = try FileStream(path: "/dev/full")
    #expect(full.send([1]) == 1)
    #expect(full.close()?.description == "cannot write: No space left on device")
    let fine = try FileStream(path: "/dev/null")
    #expect(fine.send([1]) == 1)
    #expect(fine.close() == nil)
  }

  @Test func `a slow reader of a pipe slows the sender and loses nothing`() throws {
    let loop = try EventLoop(name: "test")
    let (input, _) = makePipe()
    let (reading, writing) = makePipe()
    let stream = try PipeStream(input: input, output: writing)
    let collector = Collector(stream, on: loop)
    // Without a reader the sender soon sees that there is no room, and is not held up.
    var accepted = 0
    while true {
      let count = stream.send(Array(text[accepted...].prefix(1000)))
      accepted += count
      if count < 1000 { break }
    }
    #expect(accepted < text.count)
    let rest = Array(text[accepted...])
    let sender = try Thread(name: "sender") { collector.sendAll(rest) }
    #expect(read(text.count, from: reading) == text)
    sender.join()
    #expect(stream.close() == nil)
    loop.stop()
  }

  @Test func `input from a pipe waits until the device takes it`() throws {
    let loop = try EventLoop(name: "test")
    let (input, typing) = makePipe()
    let (_, writing) = makePipe()
    let stream = try PipeStream(input: input, output: writing)
    let writer = try Thread(name: "writer") { try? typing.writeAll(text) }
    let collector = Collector(stream, on: loop)
    #expect(collector.wait { $0.received.count == text.count })
    #expect(collector.received == text)
    writer.join()
    #expect(stream.close() == nil)
    loop.stop()
  }

  @Test func `a reader that is gone does not hold up the sender`() throws {
    SignalSource.ignoreFailedWrites()
    let (input, _) = makePipe()
    let stream: PipeStream
    do {
      let (_, writing) = makePipe()
      stream = try PipeStream(input: input, output: writing)
    }
    #expect(eventually { stream.send(text) == text.count })
    #expect(stream.close() == nil)
  }

  @Test func `a socket serves one client after another`() throws {
    let path = temporaryPath("socket")
    defer { unlink(path) }
    let loop = try EventLoop(name: "test")
    let stream = try SocketStream(path: path, on: loop)
    let collector = Collector(stream, on: loop)
    #expect(stream.send(Array("before".utf8)) == 6)
    for greeting in ["first", "second"] {
      let client = try #require(connectClient(path))
      if greeting == "first" { #expect(read(6, from: client) == Array("before".utf8)) }
      try client.writeAll(Array(greeting.utf8))
      #expect(
        collector.wait { $0.received.suffix(greeting.utf8.count).elementsEqual(greeting.utf8) })
      let sender = try Thread(name: "sender") { collector.sendAll(text) }
      #expect(read(text.count, from: client) == text)
      sender.join()
    }
    #expect(stream.close() == nil)
    loop.stop()
  }

  @Test func `a second client waits until the first has left`() throws {
    let path = temporaryPath("socket")
    defer { unlink(path) }
    let loop = try EventLoop(name: "test")
    let stream = try SocketStream(path: path, on: loop)
    let collector = Collector(stream, on: loop)
    var first = try #require(connectClient(path))
    try first.writeAll([1])
    #expect(collector.wait { $0.received == [1] })
    let second = try #require(connectClient(path))
    try second.writeAll([3])
    try first.writeAll([2])
    #expect(collector.wait { $0.received == [1, 2] })
    first = second
    #expect(collector.wait { $0.received == [1, 2, 3] })
    #expect(stream.close() == nil)
    loop.stop()
  }

  @Test func `a live socket is not taken over, an abandoned one is`() throws {
    let path = temporaryPath("socket")
    defer { unlink(path) }
    let loop = try EventLoop(name: "test")
    let stream = try SocketStream(path: path, on: loop)
    #expect(throws: HostError.self) { try SocketStream(path: path, on: loop) }
    #expect(stream.close() == nil)
    let abandoned = temporaryPath("socket")
    defer { unlink(abandoned) }
    leaveSocketBehind(abandoned)
    #expect(try SocketStream(path: abandoned, on: loop).close() == nil)
    loop.stop()
  }

  @Test func `a terminal is raw while the stream lives and restored afterwards`() throws {
    let (person, terminal) = makeTerminal()
    let loop = try EventLoop(name: "test")
    let commands = CommandLog()
    #expect(!isRaw(terminal))
    let stream = try TerminalStream(input: terminal, output: terminal) { commands.add($0) }
    let collector = Collector(stream, on: loop)
    #expect(isRaw(terminal))
    try person.writeAll(Array("ab\u{1d}pc".utf8))
    #expect(collector.wait { $0.received == Array("abc".utf8) })
    #expect(eventually { commands.all == [.pause] })
    stream.show("hello\n")
    #expect(read(7, from: person) == Array("hello\r\n".utf8))
    #expect(stream.close() == nil)
    #expect(!isRaw(terminal))
    loop.stop()
  }
}
