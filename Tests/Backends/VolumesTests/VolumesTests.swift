import Bits
import Testing
import Volumes

struct GUIDPartitionTableTests {
  private let table = GUIDPartitionTable(
    disk: GUID(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff), sectorCount: 8192,
    partitions: [
      .init(
        type: GUIDPartitionTable.Kind.linuxRootX86_64, id: GUID(1), name: "root",
        sectors: 2048...8000)
    ])

  // UEFI 2.10 §5.3.2
  @Test func `both headers carry checksums that fit`() throws {
    for (bytes, start) in [(table.primary, 512), (table.backup.bytes, 32 * 512)] {
      var header = Array(bytes[start..<start + 92])
      #expect(Array(header[..<8]) == Array("EFI PART".utf8))
      let checksum = header.integer(UInt32.self, littleEndianAt: 16)
      header.replaceSubrange(16..<20, with: [0, 0, 0, 0])
      #expect(checksum == CRC32.checksum(of: header))
    }
  }

  @Test func `the headers point at each other and at their entries`() {
    let first = Array(table.primary[512..<1024])
    let last = Array(table.backup.bytes.suffix(512))
    #expect(first.integer(UInt64.self, littleEndianAt: 24) == 1)
    #expect(first.integer(UInt64.self, littleEndianAt: 32) == 8191)
    #expect(first.integer(UInt64.self, littleEndianAt: 72) == 2)
    #expect(last.integer(UInt64.self, littleEndianAt: 24) == 8191)
    #expect(last.integer(UInt64.self, littleEndianAt: 32) == 1)
    #expect(last.integer(UInt64.self, littleEndianAt: 72) == table.backup.sector)
  }

  // Appendix A: the first three fields are little-endian.
  @Test func `identifiers lie on the disk in mixed byte order`() {
    let stored = Array(table.primary[512 + 56..<512 + 72])
    #expect(
      stored == [
        0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee,
        0xff,
      ])
    #expect(
      GUID(0x0011_2233_4455_6677_8899_aabb_ccdd_eeff).description
        == "00112233-4455-6677-8899-aabbccddeeff")
  }

  @Test func `a random identifier says that it is one`() {
    let text = Array(GUID.random().description)
    #expect(text[14] == "4")
    #expect("89ab".contains(text[19]))
  }
}

struct FATVolumeTests {
  /// The file's bytes, found as a guest would: by its long name, then along its chain.
  private func content(of name: String, in volume: [UInt8]) throws -> [UInt8]? {
    var units: [UInt16] = []
    for start in stride(from: 13 * 512, to: 45 * 512, by: 32) {
      let entry = Array(volume[start..<start + 32])
      if entry[11] == 0x0f {
        let piece = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30].compactMap {
          entry.integer(UInt16.self, littleEndianAt: $0)
        }
        units = piece + units
        continue
      }
      let long = String(decoding: units.prefix { $0 != 0 && $0 != 0xffff }, as: UTF16.self)
      units = []
      guard long == name else { continue }
      let size = try #require(entry.integer(UInt32.self, littleEndianAt: 28))
      var cluster = Int(try #require(entry.integer(UInt16.self, littleEndianAt: 26)))
      var bytes: [UInt8] = []
      while cluster >= 2, cluster < 0xff8 {
        let data = 45 * 512 + (cluster - 2) * 1024
        bytes += volume[data..<data + 1024]
        let pair = try #require(volume.integer(UInt16.self, littleEndianAt: 512 + cluster * 3 / 2))
        cluster = Int(cluster.isMultiple(of: 2) ? pair & 0xfff : pair >> 4)
      }
      return Array(bytes.prefix(Int(size)))
    }
    return nil
  }

  @Test func `files are found by their long names, whole`() throws {
    let long = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    let volume = try FATVolume(
      label: "cidata", serial: 1,
      files: [
        .init(name: "meta-data", content: [1, 2, 3]), .init(name: "empty", content: []),
        .init(name: "a rather long name.with.dots", content: long),
        .init(name: "thirteenunits", content: [9]),
      ]
    ).bytes
    #expect(volume.count == 2 << 20)
    #expect(try content(of: "meta-data", in: volume) == [1, 2, 3])
    #expect(try content(of: "empty", in: volume) == [])
    #expect(try content(of: "a rather long name.with.dots", in: volume) == long)
    #expect(try content(of: "thirteenunits", in: volume) == [9])
  }

  @Test func `what does not fit is refused`() {
    #expect(throws: FATVolume.Full.self) {
      _ = try FATVolume(
        label: "x", serial: 0,
        files: [.init(name: "big", content: [UInt8](repeating: 1, count: 2 << 20))])
    }
  }
}

struct NoCloudSeedTests {
  @Test func `text in the seed cannot end its quotes`() {
    let seed = NoCloudSeed(
      instanceID: "i", hostName: "a\"\nusers: []\\",
      user: .init(name: "me", passwordHash: "$6$x", sshKeys: ["ssh-ed25519 AAAA me@\"host\""]))
    #expect(seed.metaData.contains(#"local-hostname: "a\"\x0ausers: []\\""#))
    #expect(seed.userData.contains(#"      - "ssh-ed25519 AAAA me@\"host\"""#))
    #expect(seed.userData.contains("lock_passwd: false"))
  }
}
