import Disks
import Glibc
import Synchronization

/// A file in memory, which can remember how it came to be and fail when told to.
final class MemoryFile: ImageFile {
  enum Event: Sendable {
    case write(UInt64, [UInt8])
    case setLength(UInt64)
    case punch(Range<UInt64>)
    case flush
  }

  struct State {
    var bytes: [UInt8] = []
    var events: [Event] = []
    var flushes = 0
    /// Writes and flushes that still succeed; nil: all.
    var successes: Int?
    var error = DiskError.noSpace
  }

  let state: Mutex<State>
  let isReadOnly: Bool
  let alignment: Int
  private let records: Bool
  /// Lets other threads go first, often.
  private let yields: Bool

  init(
    _ bytes: [UInt8] = [], isReadOnly: Bool = false, alignment: Int = 1, records: Bool = false,
    yields: Bool = false
  ) {
    state = Mutex(State(bytes: bytes))
    self.isReadOnly = isReadOnly
    self.alignment = alignment
    self.records = records
    self.yields = yields
  }

  var bytes: [UInt8] { state.withLock { $0.bytes } }
  var events: [Event] { state.withLock { $0.events } }
  var flushes: Int { state.withLock { $0.flushes } }

  /// From now on `successes` writes and flushes succeed and the others fail.
  func fail(after successes: Int?, with error: DiskError = .noSpace) {
    state.withLock {
      $0.successes = successes
      $0.error = error
    }
  }

  func length() throws(DiskError) -> UInt64 {
    let length = state.withLock { UInt64($0.bytes.count) }
    yield()  // what is known of the length may be old by the time it is used
    return length
  }

  func read(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) throws(DiskError) {
    yield()
    state.withLock { state in
      var position = offset
      for part in parts {
        let there =
          position < UInt64(state.bytes.count)
          ? min(part.count, state.bytes.count - Int(position)) : 0
        if there > 0 {
          state.bytes.withUnsafeBytes {
            part.copyMemory(
              from: UnsafeRawBufferPointer(rebasing: $0[Int(position)..<Int(position) + there]))
          }
        }
        if there < part.count {
          UnsafeMutableRawBufferPointer(rebasing: part[there...])
            .initializeMemory(as: UInt8.self, repeating: 0)
        }
        position += UInt64(part.count)
      }
    }
  }

  func readAtOnce(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool {
    (try? read(parts, at: offset)) != nil
  }

  func write(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) throws(DiskError) {
    yield()
    var bytes: [UInt8] = []
    for part in parts { bytes += part }
    try change(.write(offset, bytes))
  }

  func flush() throws(DiskError) { try change(.flush) }

  func setLength(_ length: UInt64) throws(DiskError) { try change(.setLength(length)) }

  func punch(_ range: Range<UInt64>) -> Bool { (try? change(.punch(range))) != nil }

  private func yield() {
    guard yields else { return }
    for _ in 0..<rand() % 8 { sched_yield() }
    if rand() % 16 == 0 { usleep(200) }
  }

  private func change(_ event: Event) throws(DiskError) {
    let error = state.withLock { state -> DiskError? in
      if let left = state.successes {
        if left == 0 { return state.error }
        state.successes = left - 1
      }
      if case .write(let offset, let bytes) = event, offset + UInt64(bytes.count) > 1 << 26 {
        return .noSpace
      }
      if case .flush = event { state.flushes += 1 }
      Self.apply(event, to: &state.bytes)
      if records { state.events.append(event) }
      return nil
    }
    if let error { throw error }
  }

  static func apply(_ event: Event, to bytes: inout [UInt8]) {
    switch event {
    case .write(let offset, let new):
      let end = Int(offset) + new.count
      if bytes.count < end { bytes += [UInt8](repeating: 0, count: end - bytes.count) }
      bytes.withUnsafeMutableBytes { target in
        new.withUnsafeBytes {
          target.baseAddress!.advanced(by: Int(offset)).copyMemory(
            from: $0.baseAddress!, byteCount: new.count)
        }
      }
    case .setLength(let length):
      if bytes.count > Int(length) {
        bytes.removeLast(bytes.count - Int(length))
      } else {
        bytes += [UInt8](repeating: 0, count: Int(length) - bytes.count)
      }
    case .punch(let range):
      let inside = range.clamped(to: 0..<UInt64(bytes.count))
      for index in inside { bytes[Int(index)] = 0 }
    case .flush: break
    }
  }
}
