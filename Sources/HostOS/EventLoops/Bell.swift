import Synchronization
import Work

/// A bell with a handle, by which an engine can ring it without calling us.
final class Bell: Doorbell {
  private let counter: Counter
  private let source: HandleSource

  init(on loop: EventLoop, _ answer: @escaping @Sendable () -> Void) throws(HostError) {
    counter = try Counter()
    // Told of each ring, the loop need not set the count back, which is a call of the host's for each.
    source = try loop.watch(counter.handle, for: [.readable, .eachTime]) { _ in answer() }
  }

  deinit { source.cancel() }

  func ring() { counter.add() }
  var hostHandle: Int32? { counter.handle }
}

/// A bell for when the host has no more handles.
final class PostingBell: Doorbell {
  private let loop: any Loop
  private let answer: @Sendable () -> Void
  private let isRung = Atomic<Bool>(false)

  init(on loop: any Loop, _ answer: @escaping @Sendable () -> Void) {
    self.loop = loop
    self.answer = answer
  }

  func ring() {
    guard !isRung.exchange(true, ordering: .acquiringAndReleasing) else { return }
    loop.post {
      self.isRung.store(false, ordering: .releasing)
      self.answer()
    }
  }

  var hostHandle: Int32? { nil }
}
