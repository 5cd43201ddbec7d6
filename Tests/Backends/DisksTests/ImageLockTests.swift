import Disks
import HostOS
import Kit
import Testing

struct ImageLockTests {
  let folder: TemporaryFolder
  let path: String

  init() throws {
    folder = try TemporaryFolder()
    path = try folder.file("disk.img", holding: [UInt8](repeating: 0, count: 4096))
  }

  @Test func `an image has many readers`() throws {
    let readers = try (0..<3).map { _ in try RawImage.open(path, writable: false) }
    #expect(readers.count == 3)
  }

  @Test func `an image that is written has nobody else`() throws {
    var writer: RawImage? = try RawImage.open(path, writable: true)
    for writable in [false, true] {
      let error = #expect(throws: ImageError.self) { try RawImage.open(path, writable: writable) }
      let sentence = try #require(error).description
      #expect(sentence.contains("process \(Program.number) ("), "\(sentence)")
      #expect(sentence.contains(path))
    }
    withExtendedLifetime(writer) {}
    writer = nil
    // Whoever was refused has left no lock behind. A program that another test is starting at this moment may have
    // our locks until it runs.
    #expect((0..<100_000).contains { _ in (try? RawImage.open(path, writable: true)) != nil })
  }

  @Test func `an image that is read is not opened to be written`() throws {
    let reader = try RawImage.open(path, writable: false)
    #expect(throws: ImageError.self) { try RawImage.open(path, writable: true) }
    withExtendedLifetime(reader) {}
  }

  @Test func `who asks for no guard gets none`() throws {
    let writer = try RawImage.open(path, writable: true)
    _ = try RawImage.open(path, writable: false, sharing: .unguarded)
    withExtendedLifetime(writer) {}
  }

  @Test(.enabled(if: Program.exists("qemu-img"), "qemu-img is not installed"))
  func `QEMU's programs keep off what we write`() throws {
    let other = try folder.file("other.img", holding: [UInt8](repeating: 0, count: 4096))
    let compare = ["compare", "-f", "raw", "-F", "raw", path, other]
    let resize = ["resize", "-f", "raw", path, "8192"]
    #expect(try Program.run("qemu-img", compare).status == 0)
    let writer = try RawImage.open(path, writable: true)
    for arguments in [compare, resize] {
      let refused = try Program.run("qemu-img", arguments)
      #expect(refused.status != 0)
      #expect(refused.output.contains("lock"), "\(refused.output)")
    }
    withExtendedLifetime(writer) {}
  }

  @Test(.enabled(if: Program.exists("qemu-img"), "qemu-img is not installed"))
  func `QEMU's programs may read what we read, and not write it`() throws {
    let reader = try RawImage.open(path, writable: false)
    let compare = ["compare", "-f", "raw", "-F", "raw", path, path]
    #expect(try Program.run("qemu-img", compare).status == 0)
    #expect(try Program.run("qemu-img", ["resize", "-f", "raw", path, "8192"]).status != 0)
    withExtendedLifetime(reader) {}
  }
}
