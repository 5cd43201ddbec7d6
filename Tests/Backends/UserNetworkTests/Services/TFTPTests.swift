import Glibc
import HostOS
import Kit
import Testing
import Work

@testable import UserNetwork

/// A folder, and a guest that reads from it.
private final class TFTPBench {
  let clock = ManualClock()
  let loop = ManualLoop()
  let sender = RecordingSender()
  let path = "/tmp/roost-tftp-\(UInt64.random(in: 0...UInt64.max))"
  let server: TFTPServer
  let client = Endpoint(UserNetworkPlan().guestV4, 2000)

  init() throws {
    mkdir(path, 0o755)
    mkdir(path + "/shared", 0o755)
    mkdir(path + "/shared/grub", 0o755)
    server = TFTPServer(
      plan: UserNetworkPlan(), folder: try TFTPFolder(path: path + "/shared"), clock: clock,
      loop: loop)
    try put("/secret", Array("secret".utf8))
  }

  deinit {
    // Everything the tests make lies at most two deep.
    for directory in ["/shared/grub", "/shared", ""] {
      guard let entries = opendir(path + directory) else { continue }
      while let entry = readdir(entries) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) {
          String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        unlink("\(path)\(directory)/\(name)")
      }
      closedir(entries)
      rmdir(path + directory)
    }
  }

  func put(_ name: String, _ bytes: [UInt8]) throws {
    try HostFile.create(path + name).writeAll(bytes)
  }

  func send(_ bytes: [UInt8], to port: UInt16 = 69, from client: Endpoint? = nil) {
    server.receive(
      Datagram(bytes, from: client ?? self.client, to: Endpoint(UserNetworkPlan().gatewayV4, port)),
      sender)
  }

  func ask(_ name: String, mode: String = "octet", _ options: [String] = [], from: Endpoint? = nil)
  {
    send([0, 1] + ([name, mode] + options).flatMap { Array($0.utf8) + [0] }, from: from)
  }

  func acknowledge(_ number: UInt16, to port: UInt16) { send([0, 4] + split(number), to: port) }

  /// Reads a whole file as a boot ROM would. `nil`: an error came.
  func read(_ name: String, mode: String = "octet", _ options: [String] = [], blockSize: Int = 512)
    -> [UInt8]?
  {
    ask(name, mode: mode, options)
    var content: [UInt8] = []
    var next: UInt16 = 1
    while true {
      let packets = sender.take()
      guard let first = packets.first else { return nil }
      for packet in packets {
        switch packet.payload[1] {
        case 6: acknowledge(0, to: first.from.port)
        case 3:
          guard Array(packet.payload[2..<4]) == split(next) else { return nil }
          content += packet.payload[4...]
          if packet.payload.count < blockSize + 4 {
            acknowledge(next, to: first.from.port)
            return content
          }
          next &+= 1
        default: return nil
        }
      }
      if packets[0].payload[1] == 3 { acknowledge(next &- 1, to: first.from.port) }
    }
  }

  /// The code of the error that came last.
  func error() -> UInt8? {
    sender.take().last.flatMap { $0.payload[1] == 5 ? $0.payload[3] : nil }
  }
}

private func content(_ count: Int) -> [UInt8] {
  (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ $0 >> 9) }
}

@Suite struct TFTP {
  // RFC 1350 6
  @Test(arguments: [0, 1, 511, 512, 513, 10_240])
  func `a file comes in blocks, the last of them not full`(_ count: Int) throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(count))
    #expect(bench.read("file") == content(count))
    #expect(bench.server.statistics.finished == 1)
  }

  // RFC 2348, RFC 2349, RFC 7440
  @Test func `block size, window, time and size are agreed on`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(100_000))
    bench.ask(
      "file", ["BLKSIZE", "1400", "windowsize", "4", "timeout", "3", "tsize", "0", "odd", "1"])
    let agreed = try #require(bench.sender.sent.first)
    #expect(
      String(decoding: agreed.payload.dropFirst(2), as: UTF8.self)
        == "blksize\u{0}1400\u{0}windowsize\u{0}4\u{0}timeout\u{0}3\u{0}tsize\u{0}100000\u{0}")
    _ = bench.sender.take()
    bench.acknowledge(0, to: agreed.from.port)
    #expect(bench.sender.take().map { $0.payload[3] } == [1, 2, 3, 4])
  }

  @Test func `large blocks and windows are made to fit`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(200_000))
    #expect(
      bench.read("file", ["blksize", "65464", "windowsize", "65535"], blockSize: 1468)
        == content(200_000))
  }

  @Test func `numbers of blocks wrap`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(70_000 * 8 + 3))
    #expect(
      bench.read("file", ["blksize", "8", "windowsize", "16"], blockSize: 8)
        == content(70_000 * 8 + 3))
  }

  // RFC 7440 4
  @Test func `after a loss the window goes on behind the last block that came`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(10_000))
    bench.ask("file", ["windowsize", "4"])
    let port = try #require(bench.sender.take().first).from.port
    bench.acknowledge(0, to: port)
    _ = bench.sender.take()
    bench.acknowledge(2, to: port)
    #expect(bench.sender.take().map { $0.payload[3] } == [3, 4, 5, 6])
  }

  // RFC 1123 4.2.3.1
  @Test func `an acknowledgement that comes twice is answered once`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(10_000))
    bench.ask("file")
    let port = try #require(bench.sender.take().first).from.port
    bench.acknowledge(1, to: port)
    #expect(bench.sender.take().count == 1)
    bench.acknowledge(1, to: port)
    bench.acknowledge(7, to: port)
    bench.acknowledge(0, to: port)
    #expect(bench.sender.take().isEmpty)
  }

  @Test func `a silent guest is sent to again, and given up in the end`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(10_000))
    bench.ask("file", ["timeout", "2"])
    _ = bench.sender.take()
    for _ in 1..<TFTPTransfer.mostFailures {
      bench.clock.advance(by: 1_999_999_999)
      #expect(bench.sender.take().isEmpty)
      bench.clock.advance(by: 1)
      #expect(bench.sender.take().count == 1)
    }
    bench.clock.advance(by: 2_000_000_000)
    #expect(bench.sender.take().isEmpty && bench.server.statistics.abandoned == 1)
  }

  @Test func `transfers are bounded, and a finished one makes room`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(10_000))
    for number in 0..<TFTPServer.transferPorts.count {
      bench.ask("file", from: Endpoint(UserNetworkPlan().guestV4, 3000 + UInt16(number)))
    }
    #expect(Set(bench.sender.take().map(\.from.port)).count == TFTPServer.transferPorts.count)
    bench.ask("file")
    #expect(bench.error() == 0)
    bench.send([0, 5, 0, 0, 0], to: 61_000, from: nil)
    #expect(bench.server.statistics.abandoned == 0)  // from a stranger
    bench.clock.advance(by: 10_000_000_000)
    _ = bench.sender.take()
    bench.ask("file")
    #expect(bench.sender.take().first?.payload[1] == 3)
  }

  @Test func `a repeated request is one transfer`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(10_000))
    bench.ask("file")
    bench.ask("file")
    #expect(bench.sender.take().count == 1)
  }

  // RFC 1350 4
  @Test func `a stranger is told so, and the transfer goes on`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(10_000))
    bench.ask("file")
    let port = try #require(bench.sender.take().first).from.port
    bench.send([0, 4, 0, 1], to: port, from: Endpoint(UserNetworkPlan().guestV4, 2001))
    #expect(bench.error() == 5)
    bench.acknowledge(1, to: port)
    #expect(bench.sender.take().first?.payload[3] == 2)
  }

  @Test func `text has its lines ended as the standard says`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/file", Array("a\nb\r\n".utf8))
    #expect(bench.read("file", mode: "NetASCII") == Array("a\r\nb\r\0\r\n".utf8))
    try bench.put("/shared/lines", [UInt8](repeating: 10, count: 3000))
    #expect(bench.read("lines", mode: "netascii")?.count == 6000)
  }

  @Test func `files are found below the folder, in either notation`() throws {
    let bench = try TFTPBench()
    try bench.put("/shared/grub/x.cfg", [1, 2, 3])
    for name in ["grub/x.cfg", "/grub/x.cfg", "\\grub\\x.cfg", "./grub//x.cfg"] {
      #expect(bench.read(name) == [1, 2, 3], "\(name)")
    }
  }

  @Test func `nothing leads out of the folder`() throws {
    let bench = try TFTPBench()
    symlink("../secret", bench.path + "/shared/link")
    symlink("..", bench.path + "/shared/up")
    symlink(bench.path + "/secret", bench.path + "/shared/grub/absolute")
    mkfifo(bench.path + "/shared/pipe", 0o644)
    for name in [
      "../secret", "/../secret", "grub/../../secret", "..\\secret", "link", "up/secret",
      "grub/absolute", bench.path + "/secret", "grub", "pipe", "missing", "", "/", "..", ".",
      String(repeating: "a/", count: 20) + "a", String(repeating: "x", count: 300),
    ] {
      #expect(bench.read(name) == nil, "\(name)")
    }
  }

  @Test func `writing is refused`() throws {
    let bench = try TFTPBench()
    bench.send([0, 2] + Array("file\0octet\0".utf8))
    #expect(bench.error() == 2)
    bench.ask("file", mode: "mail")
    #expect(bench.error() == 4)
    bench.send([0, 5, 0, 1, 0])
    #expect(bench.sender.take().isEmpty)
  }

  @Test func `nothing that a guest sends makes it trap`() throws {
    var chance = Kit.Chance(seed: 24)
    let bench = try TFTPBench()
    try bench.put("/shared/file", content(3000))
    let request = Array("\u{0}\u{1}file\0octet\0blksize\01000\0windowsize\03\0timeout\01\0".utf8)
    for _ in 0..<5000 {
      let client = Endpoint(
        UserNetworkPlan().guestV4, UInt16(1000 + chance.number(below: 30)))
      if chance.number(below: 3) == 0 {
        bench.send(chance.spoilt(request), from: client)
      } else {
        bench.send(
          chance.spoilt(
            [0, UInt8(chance.number(below: 8))] + split(UInt16(chance.number(below: 8)))),
          to: 61_000 + UInt16(chance.number(below: 16)), from: client)
      }
      if chance.number(below: 10) == 0 {
        bench.clock.advance(by: chance.number(below: 1_000_000_000))
      }
      #expect(bench.sender.take().count <= 16 * 16)
    }
    bench.clock.advance(by: 2_000_000_000_000)
    _ = bench.sender.take()
    #expect(bench.read("file") == content(3000))
  }
}
