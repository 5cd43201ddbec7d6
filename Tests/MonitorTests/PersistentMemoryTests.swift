import Board
import Execution
import Foundation
import HostOS
import Logging
import Memory
import Monitor
import SavedState
import Synchronization
import Testing

/// A file of the host's as the guest's memory, from the option to the saved machine.
struct PersistentMemoryTests {
  /// A folder with a file of 4 MiB, which goes with the test.
  private final class Scratch {
    let folder = "\(FileManager.default.temporaryDirectory.path())/roost-pmem-\(UUID())"
    var path: String { "\(folder)/memory.raw" }
    var saved: String { "\(folder)/saved" }

    init(_ count: Int = 4 << 20) throws {
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
      try Data(repeating: 7, count: count).write(to: URL(filePath: path))
    }
    deinit { try? FileManager.default.removeItem(atPath: folder) }

    func resize(to size: UInt64) throws { try StorageFile.open(path, .writable).resize(to: size) }
    func bytes(_ range: Range<Int>) throws -> [UInt8] {
      [UInt8](try Data(contentsOf: URL(filePath: path))[range])
    }
    var blocks: Int {
      var status = stat()
      return lstat(path, &status) == 0 ? Int(status.st_blocks) : 0
    }
    func request(_ rest: String = "") throws -> DeviceRequest {
      .pmem(try PmemRequest(parsing: "path=\(path)\(rest)"))
    }
  }

  private static let log = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }
  private static let start = GPA(0x1_0000_0000)

  /// A machine, what it has opened, and its loop.
  private func machine(
    _ requests: [DeviceRequest], restoring path: String? = nil
  ) throws -> (VirtualMachine, [OpenedDevice], EventLoop) {
    let loop = try EventLoop(name: "pmem")
    var backends = Rig.backends
    backends.devices = try requests.open(HostAccess(loop: loop))
    let machine: VirtualMachine
    if let path {
      machine = try VirtualMachine(
        restoring: path, engine: FakeEngine(), loop: loop, backends: backends, log: Self.log)
    } else {
      var configuration = Rig.configuration()
      configuration.devices = requests
      machine = try VirtualMachine(
        configuration, engine: FakeEngine(), loop: loop, backends: backends, log: Self.log)
    }
    return (machine, backends.devices, loop)
  }

  private func refusal(_ request: DeviceRequest) -> String {
    do {
      let loop = try EventLoop(name: "pmem")
      defer { loop.stop() }
      _ = try [request].open(HostAccess(loop: loop))
      return ""
    } catch {
      return "\(error)"
    }
  }

  @Test func `a file that cannot be memory is refused with a sentence`() throws {
    for (size, sentence) in [(0, "multiple of 2 MiB"), (3 << 20, "multiple of 2 MiB")] {
      let scratch = try Scratch(size)
      #expect(refusal(try scratch.request()).contains(sentence))
    }
    let image = DeviceRequest.pmem(try PmemRequest(parsing: "path=/tmp/a.qcow2"))
    #expect(refusal(image).contains("convert the image to raw"))
    let missing = DeviceRequest.pmem(try PmemRequest(parsing: "path=/nowhere/at/all"))
    #expect(refusal(missing).contains("--pmem path=/nowhere/at/all"))
  }

  @Test func `a file in use is refused with its holder, and one that is read is shared`() throws {
    let scratch = try Scratch()
    let loop = try EventLoop(name: "pmem")
    defer { loop.stop() }
    let host = try HostAccess(loop: loop)
    let first = try [scratch.request()].open(host)
    #expect(refusal(try scratch.request()).contains("process \(getpid())"))
    #expect(refusal(try scratch.request(",readonly=on")).contains("process \(getpid())"))
    #expect(
      refusal(.disk(try DiskRequest(parsing: "path=\(scratch.path)"))).contains("process"))
    withExtendedLifetime(first) {}
    let other = try Scratch()
    let reader = try [other.request(",readonly=on")].open(host)
    #expect(refusal(try other.request(",overlay=memory")) == "")
    #expect(refusal(try other.request()).contains("process"))
    withExtendedLifetime(reader) {}
  }

  /// A write that meets a hole on a full host would have no way to fail.
  @Test func `the holes of a file are filled before the guest can meet them`() throws {
    let scratch = try Scratch(0)
    try scratch.resize(to: 4 << 20)
    #expect(scratch.blocks == 0)
    #expect(refusal(try scratch.request(",overlay=memory")) == "")
    #expect(refusal(try scratch.request(",readonly=on")) == "")
    #expect(scratch.blocks == 0)
    #expect(refusal(try scratch.request()) == "")
    #expect(scratch.blocks >= 8192)
  }

  @Test func `RAM and persistent memory have a limit together`() throws {
    let scratch = try Scratch(0)
    try scratch.resize(to: 512 << 30)
    #expect(throws: ConfigurationError.self) { try machine([scratch.request(",readonly=on")]) }
  }

  @Test func `the machine has the file above its RAM, and says where`() async throws {
    let scratch = try Scratch()
    let (machine, opened, loop) = try machine(
      [scratch.request(), scratch.request(",readonly=on")].dropLast())
    #expect(opened[0].name == "pmem0")
    try await machine.start()
    let text = try #require(await machine.inspect("devices/pmem0/device"))
    #expect(text.contains("0x0000000100000000") && text.contains("0x0000000000400000"))
    await machine.stop()
    loop.stop()
  }

  @Test func `a saved machine leaves the file where it is, and goes on with it as it is`()
    async throws
  {
    let scratch = try Scratch()
    let (first, opened, loop) = try machine([scratch.request()])
    try await first.start()
    try await first.save(to: scratch.saved)
    await first.stop()
    for device in opened { try device.close() }
    loop.stop()
    let shape = try Snapshot(path: scratch.saved).shape
    guard case .pmem(let pmem) = try #require(shape.devices?.first) else { throw Surprise() }
    #expect(pmem.size == 4 << 20)
    // Of 4 MiB of sevens nothing is in the saved machine.
    let size = try FileManager.default.attributesOfItem(atPath: scratch.saved)[.size] as? Int
    #expect(try #require(size) < 1 << 20)
    #expect(try scratch.bytes(0..<4096).allSatisfy { $0 == 7 })
  }

  @Test func `a file of another size than it had is refused`() async throws {
    let scratch = try Scratch()
    let loop = try EventLoop(name: "pmem")
    defer { loop.stop() }
    let request = try [scratch.request(",readonly=on")].open(HostAccess(loop: loop))[0].request
    #expect(refusal(request) == "")
    try scratch.resize(to: 6 << 20)
    #expect(refusal(request).contains("had 4194304 when the machine was saved"))
  }

  @Test func `a machine whose memory is an overlay cannot be saved`() async throws {
    let scratch = try Scratch()
    let (machine, _, loop) = try machine([scratch.request(",overlay=memory")])
    try await machine.start()
    await #expect(throws: CannotSave.self) { try await machine.save(to: scratch.saved) }
    await machine.stop()
    loop.stop()
  }

  @Test func `a file that was cut off is told of at the end`() async throws {
    let scratch = try Scratch()
    let loop = try EventLoop(name: "pmem")
    defer { loop.stop() }
    let opened = try [scratch.request()].open(HostAccess(loop: loop))
    try opened[0].close()
    let mapping = try #require(opened[0].mapping)
    try scratch.resize(to: 1 << 20)
    #expect(mapping.mend())
    let error = #expect(throws: (any Error).self) { try opened[0].close() }
    #expect("\(try #require(error))".contains("cut short"))
    #expect(throws: (any Error).self) { try opened[0].close() }
  }

  struct Surprise: Error {}
}
