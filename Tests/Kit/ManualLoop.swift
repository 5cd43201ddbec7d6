import Synchronization
package import Work

/// A loop that turns when a test says so, on the test's own thread.
package final class ManualLoop: Loop {
  private let queue = Mutex<[@Sendable () -> Void]>([])

  package init() {}

  package var isCurrent: Bool { true }

  package func post(_ work: @escaping @Sendable () -> Void) { queue.withLock { $0.append(work) } }

  package func makeDoorbell(_ answer: @escaping @Sendable () -> Void) -> any Doorbell {
    Bell(self, answer)
  }

  /// Runs what was posted, and what that posts, until nothing is left.
  package func run() {
    while true {
      let work = queue.withLock { queue in
        defer { queue = [] }
        return queue
      }
      if work.isEmpty { return }
      for item in work { item() }
    }
  }

  private final class Bell: Doorbell {
    private let loop: ManualLoop
    private let answer: @Sendable () -> Void
    private let rung = Atomic<Bool>(false)
    var hostHandle: Int32? { nil }

    init(_ loop: ManualLoop, _ answer: @escaping @Sendable () -> Void) {
      self.loop = loop
      self.answer = answer
    }

    func ring() {
      guard !rung.exchange(true, ordering: .acquiringAndReleasing) else { return }
      loop.post {
        self.rung.store(false, ordering: .releasing)
        self.answer()
      }
    }
  }
}
