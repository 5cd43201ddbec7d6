import Disks
import HostOS
import Kit
import Memory
import Synchronization
import Testing

struct QCOW2ConcurrencyTests {
  /// Each thread has every fourth sector to itself, so that all clusters are shared and no request overlaps.
  final class Lane: @unchecked Sendable {
    let image: QCOW2Image
    let lane: Int
    let wrong = Mutex<String?>(nil)
    private var chance: Chance
    private(set) var content: [Int: UInt8] = [:]

    init(_ image: QCOW2Image, _ lane: Int, seed: UInt64) {
      self.image = image
      self.lane = lane
      chance = Chance(seed: seed &* 16 &+ UInt64(lane))
    }

    func live(steps: Int) {
      do {
        for _ in 0..<steps {
          let sector = Int(chance.number(below: image.size / 2048)) * 4 + lane
          let offset = sector * 512
          switch chance.number(below: 10) {
          case 0...4:
            let value = UInt8(truncatingIfNeeded: chance.next())
            try ModelDisk.write([UInt8](repeating: value, count: 512), to: image, at: offset)
            content[sector] = value
          case 5:
            try image.writeZeroes(UInt64(offset)..<UInt64(offset + 512), mayUnmap: true)
            content[sector] = 0
          case 6: try image.discard(UInt64(offset)..<UInt64(offset + 512))
          case 7 where chance.number(below: 8) == 0: try image.flush()
          default:
            let expected = content[sector] ?? 0
            let buffer = HostBuffer(count: 512)
            if try !image.readAtOnce(into: buffer.buffers, at: UInt64(offset)) {
              try image.read(into: buffer.buffers, at: UInt64(offset))
            }
            if image.clusterSize == 512 && content[sector] == nil { continue }
            if !buffer.bytes.allSatisfy({ $0 == expected }) {
              // A whole cluster may have been discarded.
              if image.clusterSize == 512 && buffer.bytes.allSatisfy({ $0 == 0 }) {
                content[sector] = 0
                continue
              }
              wrong.withLock { $0 = "sector \(sector): \(buffer.bytes[0]), not \(expected)" }
              return
            }
          }
        }
      } catch {
        wrong.withLock { $0 = "\(error)" }
      }
    }
  }

  @Test(arguments: Effort.scripts(12))
  func `threads that share clusters do not disturb each other`(seed: UInt64) throws {
    var chance = Chance(seed: seed)
    var options = QCOW2ModelTests.options(&chance)
    options.size = (64 + chance.number(below: 512)) * 2048
    let file = MemoryFile(yields: true)
    let image = try QCOW2Image.create(options, in: file)
    let lanes = (0..<4).map { Lane(image, $0, seed: seed) }
    let threads = try lanes.map { lane in
      try HostOS.Thread(name: "lane") { lane.live(steps: 300) }
    }
    for thread in threads { thread.join() }
    for lane in lanes { #expect(lane.wrong.withLock { $0 } == nil, "seed \(seed), \(options)") }
    try image.flush()
    #expect(try QCOW2Image.check(file).isClean)
    let all = try ModelDisk.all(image)
    for lane in lanes where image.clusterSize > 512 {
      for (sector, value) in lane.content {
        #expect(all[sector * 512] == value && all[sector * 512 + 511] == value)
      }
    }
  }

  /// Clusters are given up by some threads and taken by others while all of them read and write.
  @Test(arguments: Effort.scripts(12))
  func `clusters that change hands never show another's data`(seed: UInt64) throws {
    var options = QCOW2Options(size: 64 * 4096)
    options.clusterSize = seed % 2 == 0 ? 4096 : 16384
    options.hasExtendedEntries = options.clusterSize == 16384
    let file = MemoryFile(yields: true)
    let image = try QCOW2Image.create(options, in: file)
    let wrong = Mutex<String?>(nil)
    let size = image.clusterSize
    let threads = try (0..<4).map { lane in
      try HostOS.Thread(name: "hand") {
        var chance = Chance(seed: seed &* 8 &+ UInt64(lane))
        for _ in 0..<400 {
          let cluster = Int(chance.number(below: image.size / UInt64(size) / 4)) * 4 + lane
          let range = UInt64(cluster * size)..<UInt64((cluster + 1) * size)
          do {
            switch chance.number(below: 4) {
            case 0: try image.discard(range)
            case 1: if chance.number(below: 4) == 0 { try image.flush() }
            case 2:
              // A thread's data carry its number.
              let bytes = [UInt8](repeating: UInt8(lane + 1), count: size)
              try ModelDisk.write(bytes, to: image, at: cluster * size)
            default:
              let bytes = try ModelDisk.bytes(image, Int(range.lowerBound)..<Int(range.upperBound))
              if let alien = bytes.first(where: { $0 != 0 && $0 != UInt8(lane + 1) }) {
                wrong.withLock { $0 = "thread \(lane + 1) found \(alien)" }
              }
            }
          } catch {
            wrong.withLock { $0 = "\(error)" }
          }
        }
      }
    }
    for thread in threads { thread.join() }
    #expect(wrong.withLock { $0 } == nil)
    try image.flush()
    #expect(try QCOW2Image.check(file).isClean)
  }

  /// A file whose reads of one place wait until they are let go.
  final class GatedFile: ImageFile {
    let file: MemoryFile
    let lock = ConditionLock()
    private struct State {
      var gate: UInt64?
      var isWaiting = false
    }
    private let state = Mutex(State())

    init(_ file: MemoryFile) { self.file = file }

    var isReadOnly: Bool { false }
    var alignment: Int { 1 }

    func close(at offset: UInt64) { state.withLock { $0.gate = offset } }

    func open() {
      lock.withLock {
        state.withLock { $0.gate = nil }
        lock.wakeAll()
      }
    }

    func awaitReader() {
      lock.withLock { while !state.withLock({ $0.isWaiting }) { lock.wait() } }
    }

    func read(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) throws(DiskError) {
      lock.withLock {
        guard state.withLock({ $0.gate == offset }) else { return }
        state.withLock { $0.isWaiting = true }
        lock.wakeAll()
        while state.withLock({ $0.gate == offset }) { lock.wait() }
      }
      try file.read(parts, at: offset)
    }

    func length() throws(DiskError) -> UInt64 { try file.length() }
    func readAtOnce(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool { false }
    func write(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) throws(DiskError) {
      try file.write(parts, at: offset)
    }
    func flush() throws(DiskError) { try file.flush() }
    func setLength(_ length: UInt64) throws(DiskError) { try file.setLength(length) }
    func punch(_ range: Range<UInt64>) -> Bool { file.punch(range) }
  }

  @Test func `a cluster that is still being read is not used for something else`() throws {
    let file = GatedFile(MemoryFile())
    let image = try QCOW2Image.create(QCOW2Options(size: 64 << 20), in: file)
    try ModelDisk.write([UInt8](repeating: 5, count: 65536), to: image, at: 0)
    try image.flush()
    let place = try #require(try image.extent(at: 0).hostOffset)
    file.close(at: place)
    let found = Mutex<[UInt8]>([])
    let reader = try HostOS.Thread(name: "reader") {
      let bytes = (try? ModelDisk.bytes(image, 0..<65536)) ?? []
      found.withLock { $0 = bytes }
    }
    file.awaitReader()
    try image.discard(0..<65536)
    let isFlushed = Atomic<Bool>(false)
    let flusher = try HostOS.Thread(name: "flusher") {
      try? image.flush()
      isFlushed.store(true, ordering: .sequentiallyConsistent)
    }
    // Were the flush to go on, one of these would find the cluster free.
    for round in 1..<200 where !isFlushed.load(ordering: .sequentiallyConsistent) || round < 20 {
      try ModelDisk.write([UInt8](repeating: 9, count: 65536), to: image, at: round * 65536)
    }
    file.open()
    reader.join()
    flusher.join()
    #expect(found.withLock { $0.count == 65536 && $0.allSatisfy { $0 == 5 } })
    #expect(try image.check().isClean)
  }
}
