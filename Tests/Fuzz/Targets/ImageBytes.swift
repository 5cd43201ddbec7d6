import Disks
import Synchronization

/// A small file in memory that an image lies in; told so, it fails.
final class ImageBytes: ImageFile {
  private struct State {
    var bytes: [UInt8]
    /// Changes that still succeed; `nil`: all.
    var successes: Int?
  }
  private let state: Mutex<State>
  let isReadOnly: Bool
  let alignment = 1

  /// More the file system does not hold.
  private static let limit: UInt64 = 4 << 20

  init(_ bytes: [UInt8] = [], isReadOnly: Bool = false) {
    state = Mutex(State(bytes: bytes))
    self.isReadOnly = isReadOnly
  }

  var bytes: [UInt8] { state.withLock { $0.bytes } }

  func fail(after successes: Int?) { state.withLock { $0.successes = successes } }

  func length() throws(DiskError) -> UInt64 { state.withLock { UInt64($0.bytes.count) } }

  func read(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) throws(DiskError) {
    state.withLock { state in
      var position = Int(clamping: offset)
      for part in parts {
        let start = min(position, state.bytes.count)
        let there = min(part.count, state.bytes.count - start)
        part.copyBytes(from: state.bytes[start..<start + there])
        UnsafeMutableRawBufferPointer(rebasing: part[there...])
          .initializeMemory(as: UInt8.self, repeating: 0)
        position = Int(clamping: UInt64(position) + UInt64(part.count))
      }
    }
  }

  func readAtOnce(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool {
    (try? read(parts, at: offset)) != nil
  }

  /// Whether this change succeeds, growing the file to `end` at most.
  private func change(
    to end: UInt64, _ body: (inout [UInt8]) -> Void
  ) throws(DiskError) {
    let error = state.withLock { state -> DiskError? in
      if let left = state.successes {
        if left == 0 { return .noSpace }
        state.successes = left - 1
      }
      if end > Self.limit { return .noSpace }
      body(&state.bytes)
      return nil
    }
    if let error { throw error }
  }

  func write(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) throws(DiskError) {
    let count = parts.reduce(0) { $0 + $1.count }
    let (end, overflow) = offset.addingReportingOverflow(UInt64(count))
    try change(to: overflow ? .max : end) { bytes in
      if bytes.count < Int(end) {
        bytes += [UInt8](repeating: 0, count: Int(end) - bytes.count)
      }
      var position = Int(offset)
      for part in parts {
        bytes.replaceSubrange(position..<position + part.count, with: part)
        position += part.count
      }
    }
  }

  func flush() throws(DiskError) { try change(to: 0) { _ in } }

  func setLength(_ length: UInt64) throws(DiskError) {
    try change(to: length) { bytes in
      let count = Int(length)
      if bytes.count > count {
        bytes.removeLast(bytes.count - count)
      } else {
        bytes += [UInt8](repeating: 0, count: count - bytes.count)
      }
    }
  }

  func punch(_ range: Range<UInt64>) -> Bool {
    do throws(DiskError) {
      try change(to: 0) { bytes in
        for index in range.clamped(to: 0..<UInt64(bytes.count)) { bytes[Int(index)] = 0 }
      }
      return true
    } catch {
      return false
    }
  }
}
