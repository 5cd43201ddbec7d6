import Disks
import HostOS
import Testing

struct ImageFormatTests {
  private static let known: [([UInt8], ImageFormat.Appearance)] = [
    (Array("QFI".utf8) + [0xfb, 0, 0, 0, 2], .qcow2),
    (Array("QFI".utf8) + [0xfb, 0, 0, 0, 3], .qcow2),
    (Array("QFI".utf8) + [0xfb, 0, 0, 0, 1], .foreign("qcow version 1")),
    (Array("QFI".utf8) + [0xfb, 0xff, 0xff, 0xff, 0xff], .foreign("qcow version 4294967295")),
    (Array("QFI".utf8) + [0xfb, 0, 0, 0], .none),
    (Array("vhdxfile".utf8), .foreign("VHDX")), (Array("conectix".utf8), .foreign("VHD")),
    ([UInt8](repeating: 1, count: 64) + [0x7f, 0x10, 0xda, 0xbe], .foreign("VDI")),
    (Array("KDMV".utf8), .foreign("VMDK")),
    (Array("# Disk DescriptorFile\n".utf8), .foreign("VMDK")),
    (Array("QED\0".utf8), .foreign("QED")),
    (Array("LUKS".utf8) + [0xba, 0xbe, 0, 2], .foreign("LUKS encryption")),
    ([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], .packed("xz")), ([0x1f, 0x8b, 8], .packed("gzip")),
    ([], .none), ([0xeb, 0x63, 0x90], .none), (Array("vhdxfil".utf8), .none),
  ]

  @Test func `formats are known by their first bytes`() {
    for (bytes, appearance) in Self.known {
      #expect(ImageFormat.appearance(head: bytes) == appearance)
      let long = bytes + [UInt8](repeating: 0, count: 1024)
      if bytes.count > 7 { #expect(ImageFormat.appearance(head: long) == appearance) }
    }
  }

  @Test func `a fixed VHD is known by its last sector`() throws {
    let folder = try TemporaryFolder()
    var bytes = [UInt8](repeating: 0, count: 10_000)
    bytes.replaceSubrange(10_000 - 512..<10_000 - 504, with: Array("conectix".utf8))
    let file = try StorageFile.open(folder.file("disk.vhd", holding: bytes))
    #expect(try ImageFormat.appearance(of: file) == .foreign("VHD"))
  }

  @Test func `files of all lengths have an appearance`() throws {
    let folder = try TemporaryFolder()
    for count in [0, 1, 7, 511, 512, 513, 1023, 1024, 4096, 5000] {
      let path = try folder.file("\(count).img", holding: [UInt8](repeating: 0, count: count))
      #expect(try ImageFormat.appearance(of: StorageFile.open(path)) == .none)
    }
  }

  @Test func `the format of what will be written is never guessed`() throws {
    for (_, appearance) in Self.known {
      #expect(throws: ImageError.self) {
        try ImageFormat.choose(said: nil, appearance: appearance, writable: true, path: "disk")
      }
      for format in ImageFormat.allCases {
        let chosen = try ImageFormat.choose(
          said: format, appearance: appearance, writable: true, path: "disk")
        #expect(chosen == format)
      }
    }
  }

  @Test func `the format of what is only read is what it looks like, if that can be read`() throws {
    func choose(_ appearance: ImageFormat.Appearance) throws(ImageError) -> ImageFormat {
      try ImageFormat.choose(said: nil, appearance: appearance, writable: false, path: "disk")
    }
    #expect(try choose(.qcow2) == .qcow2)
    #expect(try choose(.none) == .raw)
    #expect(throws: ImageError.self) { try choose(.foreign("VHDX")) }
    #expect(throws: ImageError.self) { try choose(.packed("xz")) }
  }

  @Test func `who is refused hears of the option that says a format`() {
    for (appearance, writable) in [(.qcow2, true), (.none, true), (.foreign("VHDX"), false)]
      as [(ImageFormat.Appearance, Bool)]
    {
      let refusal = #expect(throws: ImageError.self) {
        try ImageFormat.choose(
          said: nil, appearance: appearance, writable: writable, path: "disk",
          option: "--their-format ")
      }
      #expect(
        refusal?.description.contains(
          "say --their-format \(appearance == .qcow2 ? "qcow2" : "raw")")
          == true)
    }
  }
}

struct BackingChainTests {
  let folder: TemporaryFolder

  init() throws { folder = try TemporaryFolder() }

  @Test func `a backing file is looked for beside the image that names it`() throws {
    let top = try StorageFile.open(folder.file("top.img", holding: [1]))
    let base = try folder.file("base.img", holding: [2])
    for name in ["base.img", base, "./base.img"] {
      let (file, chain) = try BackingChain(top).open(name)
      #expect(!file.isWritable)
      #expect(throws: ImageError.self) { try chain.open("top.img") }
      #expect(throws: ImageError.self) { try chain.open("base.img") }
    }
  }

  @Test func `names that are no paths, and files that are not there, are refused`() throws {
    let chain = BackingChain(try StorageFile.open(folder.file("top.img", holding: [1])))
    let long = String(repeating: "a", count: 5000)
    for name in [
      "", "nbd:localhost:10809", "json:{\"driver\":\"raw\"}", "https://example.org/a.img", "a\0b",
      long,
      "missing.img", "/proc/self/mem/x", ".", "/dev/zero",
    ] {
      #expect(throws: ImageError.self, "\(name.prefix(20))") { try chain.open(name) }
    }
  }

  @Test func `a chain has an end`() throws {
    var chain = BackingChain(try StorageFile.open(folder.file("0.img", holding: [1])))
    var length = 1
    for number in 1..<200 {
      _ = try folder.file("\(number).img", holding: [1])
      guard let (_, next) = try? chain.open("\(number).img") else { break }
      chain = next
      length += 1
    }
    #expect(length == BackingChain.limit)
  }
}
