import Disks
import Kit
import Memory
import Testing

/// Power is lost at any moment: the image opens, its check finds leaks at most, and what was flushed is there.
struct QCOW2CrashTests {
  /// What was done to the disk, and which of the file's events it made.
  struct Step {
    var events: Range<Int>
    var kind: Kind
    enum Kind {
      case write(at: Int, [UInt8])
      case zero(Range<Int>)
      case flushed([UInt8])
    }
  }

  struct Recording {
    var before: [UInt8]
    var content: [UInt8]
    var events: [MemoryFile.Event]
    var steps: [Step]
    var resolver: Images?
  }

  static func record(_ chance: inout Chance) throws -> Recording {
    var options = QCOW2ModelTests.options(&chance)
    options.size = (100 + chance.number(below: 900)) * 512
    var content = [UInt8](repeating: 0, count: Int(options.size))
    var resolver: Images?
    if chance.number(below: 2) == 0 {
      let base = try QCOW2Image.create(QCOW2Options(size: options.size), in: MemoryFile())
      for start in stride(from: 0, to: content.count - 4096, by: 9216) {
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: start >> 9) | 1, count: 4096)
        try ModelDisk.write(bytes, to: base, at: start)
        content.replaceSubrange(start..<start + 4096, with: bytes)
      }
      try base.flush()
      options.backingName = "base"
      resolver = Images(images: ["base": base])
    }
    let first = MemoryFile()
    _ = try QCOW2Image.create(options, in: first, backing: resolver)
    let file = MemoryFile(first.bytes, records: true)
    let image = try QCOW2Image.open(file, readOnly: false, backing: resolver)
    var recording = Recording(
      before: first.bytes, content: content, events: [], steps: [], resolver: resolver)
    var now = content
    for _ in 0..<60 {
      let start = Int(chance.number(below: UInt64(now.count / 512))) * 512
      let most = min(UInt64(now.count - start) / 512, UInt64(options.clusterSize / 512 * 3 + 3))
      let range = start..<start + 512 * Int(1 + chance.number(below: most))
      let begin = file.events.count
      let kind: Step.Kind
      switch chance.number(below: 8) {
      case 0...3:
        let value = UInt8(truncatingIfNeeded: chance.next()) | 1
        let bytes = [UInt8](repeating: value, count: range.count)
        try ModelDisk.write(bytes, to: image, at: start)
        now.replaceSubrange(range, with: bytes)
        kind = .write(at: start, bytes)
      case 4:
        try image.writeZeroes(
          UInt64(start)..<UInt64(range.upperBound), mayUnmap: chance.next() & 1 == 0)
        now.replaceSubrange(range, with: [UInt8](repeating: 0, count: range.count))
        kind = .zero(range)
      case 5:
        try image.discard(UInt64(start)..<UInt64(range.upperBound))
        now = try ModelDisk.all(image)
        kind = .zero(range)
      default:
        try image.flush()
        kind = .flushed(now)
      }
      recording.steps.append(Step(events: begin..<file.events.count, kind: kind))
    }
    recording.events = file.events
    return recording
  }

  /// The file as it may be found when power is lost before event `end`.
  static func remains(
    _ recording: Recording, _ end: Int, _ chance: inout Chance, all: Bool
  ) -> [UInt8] {
    var bytes = recording.before
    var lastFlush = 0
    for index in 0..<end {
      if case .flush = recording.events[index] { lastFlush = index }
    }
    for index in 0..<end {
      let event = recording.events[index]
      guard index > lastFlush && !all else {
        MemoryFile.apply(event, to: &bytes)
        continue
      }
      if case .write(let offset, let new) = event {
        // Sectors arrive one by one.
        for start in stride(from: 0, to: new.count, by: 512) where chance.next() & 1 == 0 {
          let part = Array(new[start..<min(new.count, start + 512)])
          MemoryFile.apply(.write(offset + UInt64(start), part), to: &bytes)
        }
      } else if chance.next() & 1 == 0 {
        MemoryFile.apply(event, to: &bytes)
      }
    }
    return bytes
  }

  static func examine(_ recording: Recording, _ bytes: [UInt8], _ end: Int) throws -> String? {
    let file = MemoryFile(bytes)
    let report = try QCOW2Image.check(file)
    guard report.corruptions == 0, report.checkErrors == 0 else {
      return "\(report.findings.filter { !$0.contains("used 0 times") }.prefix(4))"
    }
    let image = try QCOW2Image.open(file, readOnly: false, backing: recording.resolver)
    let found = try ModelDisk.all(image)
    var base = recording.content
    var later: [Step] = []
    for step in recording.steps {
      if case .flushed(let content) = step.kind, step.events.upperBound <= end {
        base = content
        later = []
      } else if step.events.lowerBound < end {
        later.append(step)
      }
    }
    sectors: for start in stride(from: 0, to: found.count, by: 512) {
      let sector = found[start..<start + 512]
      if sector.elementsEqual(base[start..<start + 512]) { continue }
      for step in later {
        switch step.kind {
        case .write(let at, let bytes) where at <= start && start < at + bytes.count:
          if sector.elementsEqual(bytes[start - at..<start - at + 512]) { continue sectors }
        case .zero(let range) where range.contains(start):
          if sector.allSatisfy({ $0 == 0 }) { continue sectors }
        default: break
        }
      }
      return "sector \(start / 512) holds \(sector.first!), flushed was \(base[start])"
    }
    // Leaks can be taken back, and the image is then as good as new.
    let repaired = try QCOW2Image.check(file, repair: .all)
    guard repaired.isClean else { return "after repair: \(repaired.findings.prefix(4))" }
    return nil
  }

  static func losePower(seed: UInt64, moments: Int) throws -> String? {
    var chance = Chance(seed: seed)
    let recording = try record(&chance)
    for _ in 0..<moments {
      let end = Int(chance.number(below: UInt64(recording.events.count + 1)))
      let all = chance.number(below: 4) == 0
      let bytes = remains(recording, end, &chance, all: all)
      if let wrong = try examine(recording, bytes, end) {
        return "seed \(seed), before event \(end), \(all ? "killed" : "torn"): \(wrong)"
      }
    }
    return nil
  }

  @Test(arguments: Effort.scripts(24))
  func `power lost at any moment leaves a whole image`(seed: UInt64) throws {
    #expect(try Self.losePower(seed: seed, moments: 25) == nil)
  }

  @Test func `a flush of data in place is one sync, and none is answered early`() throws {
    let file = MemoryFile()
    let image = try QCOW2Image.create(QCOW2Options(size: 1 << 20), in: file)
    try ModelDisk.write([UInt8](repeating: 1, count: 4096), to: image, at: 0)
    try image.flush()
    let before = file.flushes
    try ModelDisk.write([UInt8](repeating: 2, count: 4096), to: image, at: 0)
    try image.flush()
    #expect(file.flushes == before + 1)
  }

  @Test func `a sync that failed is never followed by one that succeeds`() throws {
    let file = MemoryFile()
    let image = try QCOW2Image.create(QCOW2Options(size: 1 << 20), in: file)
    try ModelDisk.write([UInt8](repeating: 1, count: 4096), to: image, at: 0)
    try image.flush()
    let error = DiskError.host(operation: "flush the file", code: 5)
    file.fail(after: 0, with: error)
    #expect(throws: error) { try image.flush() }
    file.fail(after: nil)
    #expect(throws: error) { try image.flush() }
    #expect(throws: error) { try ModelDisk.write([1], to: image, at: 500_000) }
    #expect(try QCOW2Image.check(file).isClean)
  }

  @Test(arguments: Effort.scripts(20))
  func `nothing is lost when there is no room, and it goes on when there is`(seed: UInt64) throws {
    var chance = Chance(seed: seed)
    let file = MemoryFile()
    var options = QCOW2Options(size: 1 << 20)
    options.clusterSize = 512 << Int(chance.number(below: 5))
    let image = try QCOW2Image.create(options, in: file)
    var content = [UInt8](repeating: 0, count: 1 << 20)
    for round in 0..<30 {
      let start = Int(chance.number(below: 2000)) * 512
      let bytes = [UInt8](
        repeating: UInt8(round + 1), count: 512 * Int(1 + chance.number(below: 40)))
      let fails = round % 3 == 1
      if fails { file.fail(after: Int(chance.number(below: 3))) }
      do {
        try ModelDisk.write(bytes, to: image, at: start)
        content.replaceSubrange(start..<start + bytes.count, with: bytes)
      } catch DiskError.noSpace {
        #expect(fails)
        file.fail(after: nil)
        // What a failed write covered is open; all else is as it was.
        let now = try ModelDisk.all(image)
        content.replaceSubrange(start..<start + bytes.count, with: now[start..<start + bytes.count])
      }
      file.fail(after: nil)
      #expect(try ModelDisk.all(image) == content)
    }
    try image.flush()
    #expect(try QCOW2Image.check(file).isClean)
  }
}
