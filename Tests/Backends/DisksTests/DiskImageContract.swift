import Disks
import HostOS
import Kit
import Memory
import Synchronization
import Testing

/// What every image promises, tried on one. An image's tests make images and call these; none needs to know how the
/// image works.
///
///     try DiskImageContract(image).live(seed: 1, steps: 500)
///
/// The image reads as `content` at first, and need not be flushed or closed by the caller.
struct DiskImageContract {
  let image: any DiskImage
  /// What its bytes are to be.
  private(set) var content: [UInt8]

  /// - Parameter content: what the image holds; zeroes if not given.
  init(_ image: any DiskImage, content: [UInt8]? = nil) {
    self.image = image
    self.content = content ?? [UInt8](repeating: 0, count: Int(image.size))
  }

  /// All that can be asked of a writable image, in an order that does not matter.
  mutating func keep(seed: UInt64 = 1, steps: Int = 300) throws {
    try refuseRanges()
    try takeNothing()
    try tellExtents()
    try live(seed: seed, steps: steps)
    try crossThreads(seed: seed)
    try readAll()
  }
}

// MARK: - A life by chance

extension DiskImageContract {
  /// Operations as chance has it, each beside the same on an array of bytes. The same seed gives the same life.
  mutating func live(seed: UInt64, steps: Int) throws {
    var chance = Chance(seed: seed)
    for step in 0..<steps {
      let range = somewhere(&chance)
      let offset = UInt64(range.lowerBound)
      let bytes = UInt64(range.lowerBound)..<UInt64(range.upperBound)
      switch chance.number(below: 20) {
      case 0...5: try expectContent(range, &chance, "step \(step)")
      case 6: try expectContentAtOnce(range, &chance, "step \(step)")
      case 7...12:
        let scattered = write(range, &chance)
        try image.write(scattered.buffers, at: offset)
      case 13:
        let scattered = write(range, &chance)
        try image.writeDurably(scattered.buffers, at: offset)
      case 14:
        let scattered = write(range, &chance)
        if try !image.writeAtOnce(scattered.buffers, at: offset) {
          try image.write(scattered.buffers, at: offset)
        }
      case 15...16:
        try image.writeZeroes(bytes, mayUnmap: chance.number(below: 2) == 0)
        for index in range { content[index] = 0 }
        try expectContent(range, &chance, "step \(step), zeroes")
      case 17: try discard(range, &chance, "step \(step)")
      case 18: try image.flush()
      default: try tellExtents()
      }
    }
    try readAll()
  }

  /// A piece of the image, at borders that it takes: short, or long, or up to the end.
  private func somewhere(_ chance: inout Chance) -> Range<Int> {
    let unit = image.alignment
    let units = content.count / unit
    guard units > 0 else { return 0..<0 }
    let start = Int(chance.number(below: UInt64(units)))
    let longest =
      switch chance.number(below: 8) {
      case 0...3: min(units - start, max(1, 5000 / unit))
      case 4...6: min(units - start, max(1, 70_000 / unit))
      default: units - start
      }
    let count = 1 + Int(chance.number(below: UInt64(longest)))
    return start * unit..<(start + count) * unit
  }

  /// New bytes for a piece, in memory in several parts, and in the model.
  private mutating func write(_ range: Range<Int>, _ chance: inout Chance) -> Scattered {
    let scattered = Scattered(count: range.count, unit: image.alignment, &chance)
    let isPlain = chance.number(below: 4) == 0
    let value = UInt8(truncatingIfNeeded: chance.next())
    for index in range {
      content[index] = isPlain ? value : UInt8(truncatingIfNeeded: chance.next())
    }
    scattered.bytes = Array(content[range])
    return scattered
  }

  private func expectContent(
    _ range: Range<Int>, _ chance: inout Chance, _ comment: String
  ) throws {
    let scattered = Scattered(count: range.count, unit: image.alignment, &chance)
    try image.read(into: scattered.buffers, at: UInt64(range.lowerBound))
    let isSame = scattered.bytes.elementsEqual(content[range])
    #expect(isSame, "\(comment): reading \(range)")
  }

  private func expectContentAtOnce(
    _ range: Range<Int>, _ chance: inout Chance, _ comment: String
  ) throws {
    let scattered = Scattered(count: range.count, unit: image.alignment, &chance)
    guard try image.readAtOnce(into: scattered.buffers, at: UInt64(range.lowerBound)) else {
      return
    }
    let isSame = scattered.bytes.elementsEqual(content[range])
    #expect(isSame, "\(comment): reading \(range) at once")
  }

  /// Discarded bytes are zeroes or what they were, and stay so.
  private mutating func discard(
    _ range: Range<Int>, _ chance: inout Chance, _ comment: String
  ) throws {
    try image.discard(UInt64(range.lowerBound)..<UInt64(range.upperBound))
    let scattered = Scattered(count: range.count, unit: image.alignment, &chance)
    try image.read(into: scattered.buffers, at: UInt64(range.lowerBound))
    let left = scattered.bytes
    let isLeft = zip(left, content[range]).allSatisfy { $0 == 0 || $0 == $1 }
    #expect(isLeft, "\(comment): \(range) after a discard")
    content.replaceSubrange(range, with: left)
  }

  /// The whole image, in one read.
  func readAll(_ comment: String = "the whole image") throws {
    guard !content.isEmpty else { return }
    let buffer = HostBuffer(count: content.count)
    try image.read(into: buffer.buffers, at: 0)
    // A failure that showed both in full would take longer than the test.
    let isSame = buffer.bytes.elementsEqual(content)
    #expect(isSame, "\(comment)")
  }
}

// MARK: - What is refused

extension DiskImageContract {
  /// Whatever lies beyond the end, by a little or by all that numbers allow, is refused and changes nothing.
  func refuseRanges() throws {
    let unit = image.alignment
    let buffer = HostBuffer(count: 2 * unit)
    let hostile: [UInt64] = [
      image.size - min(image.size, UInt64(unit)), image.size, image.size + UInt64(unit), 1 << 62,
      UInt64(Int64.max) - UInt64(unit) + 1, 1 << 63, .max - 2 * UInt64(unit) + 1,
      .max - UInt64(unit) + 1, .max,
    ]
    for offset in hostile where offset > image.size || image.size - offset < 2 * unit {
      expectOutOfRange("read at \(offset)") { () throws(DiskError) in
        try image.read(into: buffer.buffers, at: offset)
      }
      expectOutOfRange("read at once at \(offset)") { () throws(DiskError) in
        _ = try image.readAtOnce(into: buffer.buffers, at: offset)
        // Answering that it cannot be done at once is a way to refuse it.
        throw .outOfRange
      }
      let (end, overflow) = offset.addingReportingOverflow(2 * UInt64(unit))
      if !image.isReadOnly {
        expectOutOfRange("write at \(offset)") { () throws(DiskError) in
          try image.write(buffer.buffers, at: offset)
        }
        expectOutOfRange("durable write at \(offset)") { () throws(DiskError) in
          try image.writeDurably(buffer.buffers, at: offset)
        }
        for range in overflow ? [offset..<UInt64.max] : [offset..<end, offset..<UInt64.max]
        where range.upperBound > image.size {
          expectOutOfRange("discard of \(range)") { () throws(DiskError) in
            try image.discard(range)
          }
          expectOutOfRange("zeroes in \(range)") { () throws(DiskError) in
            try image.writeZeroes(range, mayUnmap: true)
          }
          expectOutOfRange("zeroes in \(range)") { () throws(DiskError) in
            try image.writeZeroes(range, mayUnmap: false)
          }
        }
      }
    }
    expectOutOfRange("extent at the end") { () throws(DiskError) in
      _ = try image.extent(at: image.size)
    }
    expectOutOfRange("extent at the end of numbers") { () throws(DiskError) in
      _ = try image.extent(at: .max)
    }
    try readAll("after what was refused")
  }

  private func expectOutOfRange(_ what: String, _ body: () throws(DiskError) -> Void) {
    do throws(DiskError) {
      try body()
      Issue.record("\(what) was not refused")
    } catch {
      #expect(error == .outOfRange, "\(what)")
    }
  }

  /// Requests for no bytes succeed wherever the image is, its end included, and do nothing.
  func takeNothing() throws {
    let nothing = HostBuffer(count: 1).buffers.slice(0..<0)
    for offset in [0, image.size] {
      try image.read(into: nothing, at: offset)
      _ = try image.readAtOnce(into: nothing, at: offset)
      if !image.isReadOnly {
        try image.write(nothing, at: offset)
        try image.writeZeroes(offset..<offset, mayUnmap: true)
        try image.discard(offset..<offset)
      }
    }
    try readAll("after requests for nothing")
  }

  /// An image that is read-only refuses to be changed, in these words, and may be flushed.
  func refuseChanges() throws {
    #expect(image.isReadOnly)
    let buffer = HostBuffer(count: image.alignment)
    #expect(throws: DiskError.readOnly) { try image.write(buffer.buffers, at: 0) }
    #expect(throws: DiskError.readOnly) { try image.writeDurably(buffer.buffers, at: 0) }
    #expect(throws: DiskError.readOnly) { try image.writeAtOnce(buffer.buffers, at: 0) }
    #expect(throws: DiskError.readOnly) { try image.discard(0..<UInt64(image.alignment)) }
    #expect(throws: DiskError.readOnly) {
      try image.writeZeroes(0..<UInt64(image.alignment), mayUnmap: false)
    }
    try image.flush()
    try readAll("after changes were refused")
  }

  /// Once a flush has failed, none succeeds.
  ///
  /// - Parameters:
  ///   - breaking: makes the next flush of the host fail.
  ///   - mending: lets the host's flushes succeed again.
  func failFlushesForEver(breaking: () -> Void, mending: () -> Void) throws {
    let buffer = HostBuffer(count: image.alignment)
    try image.write(buffer.buffers, at: 0)
    breaking()
    #expect(throws: DiskError.self) { try image.flush() }
    mending()
    #expect(throws: DiskError.self, "the second flush") { try image.flush() }
    try image.write(buffer.buffers, at: 0)
    #expect(throws: DiskError.self, "a flush after another write") { try image.flush() }
  }
}

// MARK: - Extents and threads

extension DiskImageContract {
  /// Extents follow each other from the first byte to the last, and those called zero read as zeroes.
  func tellExtents() throws {
    var offset: UInt64 = 0
    while offset < image.size {
      let extent = try image.extent(at: offset)
      let range = extent.range
      try #require(range.contains(offset), "the extent at \(offset) is \(range)")
      try #require(range.upperBound <= image.size)
      if extent.kind == .zero {
        let zeroes = content[Int(offset)..<Int(range.upperBound)]
        let isZero = zeroes.allSatisfy { $0 == 0 }
        #expect(isZero, "\(range) is said to be zero")
      }
      offset = range.upperBound
    }
  }

  /// Threads that write to pieces of their own, side by side, do not disturb each other.
  mutating func crossThreads(seed: UInt64) throws {
    let unit = image.alignment
    let writers = 4
    // Not a multiple of anything that images are made of, unless they ask for it.
    let piece = unit == 1 ? 777 : unit * 3
    let count = min(content.count / piece, 200)
    guard count > 0 else { return }
    let image = image
    let failures = Mutex<[String]>([])
    var threads: [HostOS.Thread] = []
    for writer in 0..<writers {
      threads.append(
        try HostOS.Thread(name: "writer") {
          let buffer = HostBuffer(count: piece)
          for index in stride(from: writer, to: count, by: writers) {
            let value = Self.value(index, seed)
            buffer.bytes.copyBytes(from: [UInt8](repeating: value, count: piece))
            do {
              try image.write(buffer.buffers, at: UInt64(index * piece))
              if index % 16 == 0 { try image.flush() }
              try image.read(into: buffer.buffers, at: UInt64(index * piece))
              if !buffer.bytes.allSatisfy({ $0 == value }) {
                failures.withLock { $0.append("piece \(index) is not what was written") }
              }
            } catch {
              failures.withLock { $0.append("piece \(index): \(error)") }
            }
          }
        })
    }
    for thread in threads { thread.join() }
    #expect(failures.withLock { $0 } == [])
    for index in 0..<count {
      let value = Self.value(index, seed)
      for position in index * piece..<(index + 1) * piece { content[position] = value }
    }
    try readAll("after \(writers) threads")
  }

  private static func value(_ index: Int, _ seed: UInt64) -> UInt8 {
    UInt8(truncatingIfNeeded: UInt64(index) &+ seed)
  }
}

/// Bytes in several parts of memory, in the form in which images take them.
final class Scattered {
  let buffers: GuestBuffers
  private let memory: GuestMemory

  /// Cuts `count` bytes, a multiple of `unit`, into parts of chance lengths.
  init(count: Int, unit: Int, _ chance: inout Chance) {
    // Every part begins in a 64 KiB slot of its own, or where the one before ended.
    var lengths: [Int] = []
    var rest = count / unit
    let most = 1 + Int(chance.number(below: 6))
    while rest > 0, lengths.count < most - 1 {
      let length = 1 + Int(chance.number(below: UInt64(rest)))
      lengths.append(length * unit)
      rest -= length
    }
    if rest > 0 { lengths.append(rest * unit) }
    var ranges: [GPARange] = []
    var start: UInt64 = 0
    for length in lengths {
      // Borders that direct transfers take, and others where the image takes any.
      let skew = unit == 1 ? chance.number(below: 3) * 513 : 0
      ranges.append(GPARange(start: GPA(start + skew), count: UInt64(length))!)
      start = (start + skew + UInt64(length) + 4095) & ~4095
    }
    memory = try! GuestMemory([.init(start: GPA(0), count: max(start, 4096))])
    buffers = try! memory.buffers(ranges, writable: true)
    // What a read must replace.
    for part in buffers.parts { part.initializeMemory(as: UInt8.self, repeating: 0xa5) }
  }

  var bytes: [UInt8] {
    get { buffers.parts.flatMap { Array($0) } }
    set {
      var done = 0
      for part in buffers.parts {
        part.copyBytes(from: newValue[done..<done + part.count])
        done += part.count
      }
    }
  }
}
