import Disks
import Kit
import Memory
import Testing

struct QCOW2ModelTests {
  static func options(_ chance: inout Chance) -> QCOW2Options {
    var options = QCOW2Options(size: (1 + chance.number(below: 4000)) * 512)
    options.clusterSize = 512 << Int(chance.number(below: 9))
    if chance.number(below: 4) == 0 {
      options.version = 2
    } else {
      options.refcountBits = 1 << Int(chance.number(below: 7))
      options.hasLazyRefcounts = chance.number(below: 2) == 0
      options.compression = chance.number(below: 2) == 0 ? .zlib : .zstd
      if chance.number(below: 3) == 0 {
        options.clusterSize = max(options.clusterSize, 16384)
        options.hasExtendedEntries = true
      }
    }
    return options
  }

  static func life(seed: UInt64, steps: Int) throws -> String? {
    var chance = Chance(seed: seed)
    var options = Self.options(&chance)
    let file = MemoryFile()
    var content = [UInt8](repeating: 0, count: Int(options.size))
    var resolver: Images?
    if chance.number(below: 3) == 0 {
      // Beneath lies an image that is shorter, longer or as long, with some content.
      let baseFile = MemoryFile()
      let base = try QCOW2Image.create(
        QCOW2Options(size: (1 + chance.number(below: 4000)) * 512), in: baseFile)
      let below = ModelDisk(base, baseFile, content: [UInt8](repeating: 0, count: Int(base.size)))
      for _ in 0..<30 {
        if let wrong = try below.step(&chance, maximum: 100_000) { return "beneath: \(wrong)" }
      }
      try below.image.flush()
      for index in 0..<min(content.count, below.content.count) {
        content[index] = below.content[index]
      }
      options.backingName = "base"
      options.backingFormat = "qcow2"
      resolver = Images(images: ["base": below.image])
    }
    let image = try QCOW2Image.create(options, in: file, backing: resolver)
    let disk = ModelDisk(image, file, content: content, resolver: resolver)
    let maximum = min(disk.content.count, 4 * options.clusterSize + 4096)
    for step in 0..<steps {
      if let wrong = try disk.step(&chance, maximum: maximum) {
        return "seed \(seed), step \(step), \(options): \(wrong)"
      }
    }
    return try disk.reopen().map { "seed \(seed), at the end, \(options): \($0)" }
  }

  @Test(arguments: Effort.scripts(40))
  func `a random life keeps the disk's content and a clean check`(seed: UInt64) throws {
    #expect(try Self.life(seed: seed, steps: 150) == nil)
  }
}
