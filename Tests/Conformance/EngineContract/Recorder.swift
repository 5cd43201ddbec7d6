import Board
import Synchronization

/// A device that remembers every access, and is read as what was last written or given there.
final class Recorder: IODevice {
  struct Seen: Equatable, Sendable {
    var isWrite: Bool
    var offset: UInt64
    var width: AccessWidth
    var value: UInt64

    static func read(_ offset: UInt64, _ width: AccessWidth, _ value: UInt64) -> Seen {
      Seen(isWrite: false, offset: offset, width: width, value: value)
    }

    static func write(_ offset: UInt64, _ width: AccessWidth, _ value: UInt64) -> Seen {
      Seen(isWrite: true, offset: offset, width: width, value: value)
    }
  }
  private struct State {
    var bytes: [UInt64: UInt8] = [:]
    var seen: [Seen] = []

    mutating func store(_ value: UInt64, _ access: Access) {
      for index in 0..<access.width.bytes {
        bytes[access.offset + index] = UInt8(truncatingIfNeeded: value >> (index * 8))
      }
    }
  }
  private let state = Mutex(State())
  private let answered: @Sendable (Seen) -> Void

  /// `answered` runs after each access, on the processor's thread.
  init(_ answered: @escaping @Sendable (Seen) -> Void = { _ in }) { self.answered = answered }

  var seen: [Seen] { state.withLock { $0.seen } }
  var writes: [Seen] { seen.filter(\.isWrite) }

  func set(_ value: UInt64, at offset: UInt64) {
    state.withLock { $0.store(value, Access(width: .quadword, offset: offset)) }
  }

  func read(_ access: Access) -> UInt64 {
    let seen = state.withLock { state in
      let value = (0..<access.width.bytes).reduce(UInt64(0)) {
        $0 | UInt64(state.bytes[access.offset + $1, default: 0]) << ($1 * 8)
      }
      state.seen.append(.read(access.offset, access.width, value))
      return Seen.read(access.offset, access.width, value)
    }
    answered(seen)
    return seen.value
  }

  func write(_ value: UInt64, _ access: Access) {
    state.withLock { state in
      state.store(value, access)
      state.seen.append(.write(access.offset, access.width, value))
    }
    answered(.write(access.offset, access.width, value))
  }
}

/// A device that is read as 1, 2, 3 and so on, and counts what is written.
final class Counter: IODevice {
  private let reads = Atomic<UInt64>(0)
  private let writes = Atomic<UInt64>(0)

  var count: UInt64 { reads.load(ordering: .relaxed) }
  var written: UInt64 { writes.load(ordering: .relaxed) }

  func read(_ access: Access) -> UInt64 { reads.add(1, ordering: .relaxed).newValue }
  func write(_ value: UInt64, _ access: Access) { writes.add(1, ordering: .relaxed) }
}
