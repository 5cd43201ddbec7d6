import Memory
import Synchronization

/// Buffers of one size that are used again and again: a new one would cost its pages and their zeroing each time.
final class ScratchBuffers: Sendable {
  private let count: Int
  private let spare = Mutex<[HostBuffer]>([])
  private static let most = 4

  init(count: Int) { self.count = count }

  /// A buffer with anything in it.
  func take() -> HostBuffer { spare.withLock { $0.popLast() } ?? HostBuffer(count: count) }

  func give(_ buffer: HostBuffer) {
    spare.withLock { if $0.count < Self.most { $0.append(buffer) } }
  }
}
