import ArgumentParser
import Disks
import Foundation
import HostOS
import Kit
import Memory
import Monitor
import Testing

@testable import roost

/// `roost image`: what is refused, and an image's life from making to committing.
final class ImageCommandTests {
  private let folder = FileManager.default.temporaryDirectory.appending(
    path: "images-\(UUID().uuidString)")

  init() throws {
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  private func path(_ name: String) -> String { folder.appending(path: name).path }

  /// Runs a command; answers its exit code.
  private func run(_ arguments: String...) throws -> Int32 {
    do {
      var command = try RoostCommand.parseAsRoot(["image"] + arguments)
      try command.run()
      return 0
    } catch {
      return RoostCommand.exitCode(for: error).rawValue
    }
  }

  private func fill(_ name: String, _ value: UInt8, at offset: UInt64) throws {
    let image = try ImageOpener(format: ImageFormat(named: name), writable: true).open(path(name))
    let buffer = HostBuffer(count: 4096)
    buffer.bytes.initializeMemory(as: UInt8.self, repeating: value)
    try image.write(buffer.buffers, at: offset)
    try image.flush()
  }

  private func byte(_ name: String, at offset: UInt64) throws -> UInt8 {
    let image = try ImageOpener(format: ImageFormat(named: name)).open(path(name))
    let buffer = HostBuffer(count: 512)
    try image.read(into: buffer.buffers, at: offset)
    return buffer.bytes[0]
  }

  private var files: [String] {
    get throws { try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted() }
  }

  // MARK: - What is refused

  @Test(arguments: [
    ["create"], ["create", "a.qcow2", "12"], ["create", "a.qcow2", "4X"],
    ["create", "a.qcow2", "4M", "--format", "vmdk"], ["create", "a.qcow2", "4M", "--compat", "v4"],
    ["resize", "a.qcow2"], ["resize", "a.qcow2", "+"], ["resize", "a.qcow2", "1G", "2G"],
    ["rebase", "a.qcow2"], ["check", "a.qcow2", "--repair", "some"],
    ["bench", "a.qcow2", "--pattern", "256"], ["info", "a.qcow2", "--format", "xml"],
  ])
  func `arguments that make no sense are refused before anything is touched`(
    arguments: [String]
  ) {
    #expect(throws: (any Error).self) {
      _ = try RoostCommand.parseAsRoot(["image"] + arguments)
    }
  }

  @Test func `a new image does not take the place of a file, and leaves nothing if it fails`()
    throws
  {
    #expect(try run("create", path("a.qcow2"), "4M") == 0)
    #expect(try run("create", path("a.qcow2"), "8M") == 64)
    #expect(try run("create", path("a.qcow2"), "8M", "--force") == 0)
    #expect(try run("create", path("b"), "8M") == 64)
    #expect(try run("create", path("b.img"), "1000B") == 64)
    #expect(try run("create", path("b.img")) == 64)
    #expect(try run("create", path("b.img"), "8M", "--cluster-size", "64K") == 64)
    #expect(try run("create", path("b.qcow2"), "8M", "--cluster-size", "3K") == 64)
    #expect(try run("create", path("b.qcow2"), "8M", "--compat", "v2", "--extended-l2") == 64)
    #expect(try run("create", path("b.qcow2"), "--backing", "nowhere.img") == 64)
    #expect(
      try run("create", path("b.qcow2"), "--backing", "a.qcow2", "--backing-format", "raw") == 0)
    #expect(try files == ["a.qcow2", "b.qcow2"])
  }

  @Test func `an image in use is neither replaced nor changed`() throws {
    #expect(try run("create", path("a.qcow2"), "4M") == 0)
    let image = try ImageOpener(format: .qcow2, writable: true).open(path("a.qcow2"))
    #expect(try run("create", path("a.qcow2"), "4M", "--force") == 64)
    #expect(try run("resize", path("a.qcow2"), "+1M") == 64)
    #expect(try run("check", path("a.qcow2")) == 64)
    #expect(try run("convert", path("a.qcow2"), path("b.img")) == 64)
    // It may be looked at.
    #expect(try run("info", path("a.qcow2")) == 0)
    #expect(try files == ["a.qcow2"])
    _ = image
  }

  @Test func `the format of an image that is written is said by its name or an option`() throws {
    #expect(try run("create", path("disk"), "4M", "--format", "qcow2") == 0)
    #expect(try run("info", path("disk")) == 0)
    #expect(try run("resize", path("disk"), "8M") == 64)
    #expect(try run("resize", path("disk"), "8M", "--image-format", "qcow2") == 0)
    #expect(try run("check", path("disk"), "--image-format", "raw") == 64)
    #expect(try ImageOpener().open(path("disk")).size == 8 << 20)
  }

  @Test func `a smaller disk is asked for twice`() throws {
    for name in ["a.qcow2", "a.img"] {
      #expect(try run("create", path(name), "4M") == 0)
      #expect(try run("resize", path(name), "-1M") == 64)
      #expect(try run("resize", path(name), "-5M", "--shrink") == 64)
      #expect(try run("resize", path(name), "-1M", "--shrink") == 0)
      #expect(try ImageOpener().open(path(name)).size == 3 << 20)
    }
  }

  // MARK: - What is done

  @Test(arguments: ["below.img", "below.qcow2"])
  func `an image is made over another, written, compared, committed and taken off it`(
    below: String
  ) throws {
    #expect(try run("create", path(below), "4M") == 0)
    try fill(below, 1, at: 0)
    #expect(try run("create", path("top.qcow2"), "8M", "--backing", below) == 0)
    #expect(try run("compare", path("top.qcow2"), path(below)) == 0)
    #expect(try run("compare", path("top.qcow2"), path(below), "--strict") == 2)
    try fill("top.qcow2", 2, at: 6 << 20)
    #expect(try run("compare", path("top.qcow2"), path(below)) == 2)
    #expect(try run("map", path("top.qcow2")) == 0)
    #expect(try run("convert", path("top.qcow2"), path("copy.img")) == 0)
    #expect(try run("commit", path("top.qcow2")) == 0)
    #expect(try byte(below, at: 6 << 20) == 2)
    #expect(try run("compare", path("copy.img"), path(below), "--strict") == 0)
    #expect(try run("rebase", path("top.qcow2"), "--backing", "") == 0)
    #expect(try byte("top.qcow2", at: 0) == 1)
    #expect(try run("compare", path("top.qcow2"), path("copy.img"), "--strict") == 0)
    #expect(try run("rebase", path("top.qcow2"), "--backing", "copy.img", "--unsafe") == 0)
    #expect(try run("check", path("top.qcow2")) == 0)
    #expect(try run("snapshots", path("top.qcow2"), "--format", "json") == 0)
  }

  @Test func `a copy is small where the disk is empty, compressed, or like its backing file`()
    throws
  {
    #expect(try run("create", path("a.img"), "16M") == 0)
    for place in stride(from: UInt64(0), to: 8 << 20, by: 4096) {
      try fill("a.img", UInt8(place / 4096 % 255 + 1), at: place)
    }
    // A file may be longer than what is stored in it.
    func storage(_ name: String) throws -> UInt64 {
      try StorageFile.open(path(name)).storage()
    }
    #expect(try run("convert", path("a.img"), path("b.qcow2")) == 0)
    #expect(try run("convert", path("a.img"), path("c.qcow2"), "--compress") == 0)
    #expect(try run("create", path("d.qcow2"), "--backing", "b.qcow2") == 0)
    try fill("d.qcow2", 7, at: 12 << 20)
    #expect(try run("convert", path("d.qcow2"), path("e.qcow2"), "--backing", "b.qcow2") == 0)
    #expect(try (8 << 20..<9 << 20).contains(storage("b.qcow2")))
    #expect(try storage("c.qcow2") < 1 << 20)
    #expect(try storage("e.qcow2") < 1 << 20)
    #expect(try run("compare", path("a.img"), path("c.qcow2")) == 0)
    #expect(try run("compare", path("d.qcow2"), path("e.qcow2")) == 0)
    #expect(try run("convert", path("a.img"), path("x.img"), "--compress") == 64)
  }

  // As a process of its own: signals are a process's.
  @Test(arguments: [SIGINT, SIGTERM, SIGHUP])
  func `a copy that is interrupted leaves what was there before`(signal: Int32) throws {
    let noise = try FileHandle(forReadingFrom: URL(filePath: "/dev/urandom"))
    try noise.read(upToCount: 96 << 20)?.write(to: URL(filePath: path("a.img")))
    #expect(try run("create", path("b.qcow2"), "1M") == 0)
    let before = try Data(contentsOf: URL(filePath: path("b.qcow2")))

    let command = URL(filePath: CommandLine.arguments[0])
      .deletingLastPathComponent().appending(path: "roost").path
    let roost = try Program.start(
      command, ["image", "convert", "--compress", "--force", path("a.img"), path("b.qcow2")])
    // When the new file is there it will be at it for a second.
    while try files.count < 3, roost.isRunning { usleep(1000) }
    #expect(roost.send(signal))
    #expect(roost.wait() == Int32(Ending(.stopped).code))
    #expect(try files == ["a.img", "b.qcow2"])
    #expect(try Data(contentsOf: URL(filePath: path("b.qcow2"))) == before)
  }

  @Test func `a check says what is wrong by its exit code`() throws {
    #expect(try run("create", path("a.qcow2"), "4M") == 0)
    let file = try FileHandle(forUpdating: folder.appending(path: "a.qcow2"))
    // Counts lie in the third cluster: the seventh is counted and not used, then the first is used and not counted.
    try file.truncate(atOffset: 7 * 65536)
    try file.seek(toOffset: 2 * 65536 + 12)
    try file.write(contentsOf: [0, 1])
    #expect(try run("check", path("a.qcow2")) == 4)
    #expect(try run("check", path("a.qcow2"), "--repair", "leaks") == 0)
    try file.seek(toOffset: 2 * 65536)
    try file.write(contentsOf: [0, 0])
    #expect(try run("check", path("a.qcow2"), "--format", "json") == 2)
    #expect(try run("check", path("a.qcow2"), "--repair", "all") == 0)
    #expect(try run("check", path("a.qcow2")) == 0)
    try file.close()
  }

  @Test func `a benchmark reads and writes images of both formats`() throws {
    for name in ["a.qcow2", "a.img"] {
      #expect(try run("create", path(name), "4M") == 0)
      #expect(
        try run(
          "bench", path(name), "--write", "--count", "64", "--pattern", "9", "--flush-interval",
          "8",
          "--random") == 0)
      #expect(
        try run("bench", path(name), "--count", "100", "--depth", "4", "--format", "json") == 0)
      #expect(try run("bench", path(name), "--size", "1000B") == 64)
      #expect(try run("bench", path(name), "--step", "8K", "--random") == 64)
    }
  }

  @Test func `sizes are read with a unit, and changes with a sign`() throws {
    #expect(DiskSize(argument: "4G")?.bytes == 4 << 30)
    #expect(DiskSize(argument: "1000448B")?.bytes == 1_000_448)
    for text in ["", "4", "B", "-4G", "4.5G", "99999999999T"] {
      #expect(DiskSize(argument: text) == nil, "\(text)")
    }
    #expect(try DiskSizeChange(argument: "+1M")?.applied(to: 1 << 20) == 2 << 20)
    #expect(try DiskSizeChange(argument: "3M")?.applied(to: 1 << 20) == 3 << 20)
    #expect(throws: (any Error).self) {
      try DiskSizeChange(argument: "-2M")?.applied(to: 1 << 20)
    }
  }
}
