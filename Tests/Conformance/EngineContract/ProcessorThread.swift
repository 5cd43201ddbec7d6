import ArchitectureX86
import Board
import Execution
import HostOS
import Synchronization

/// A processor on a thread of its own, which does what it is told.
final class ProcessorThread: Sendable {
  typealias Processor = any VirtualProcessor<X86>
  private typealias Job = @Sendable (Processor, inout Buses) -> Void

  private struct State {
    var jobs: [Job] = []
    var isLeaving = false
  }
  private let state = Mutex(State())
  private let news = HostOS.Event()
  private let failure = Mutex<EngineError?>(nil)
  private let ended = HostOS.Event()

  init(_ index: Int, of partition: any Partition<X86>, ports: IOBus, registers: IOBus) throws {
    let bound = HostOS.Event()
    _ = try Thread(name: "processor \(index)") { [self] in
      var buses = Buses(ports: ports, registers: registers)
      do throws(EngineError) {
        let processor = try partition.bindProcessor(index)
        bound.signal()
        while let job = next() { job(processor, &buses) }
      } catch {
        failure.withLock { $0 = error }
        bound.signal()
      }
      ended.signal()
    }
    bound.wait()
    if let error = failure.withLock({ $0 }) { throw error }
  }

  private func next() -> Job? {
    while true {
      let (job, isLeaving) = state.withLock { state in
        (state.jobs.isEmpty ? nil : state.jobs.removeFirst(), state.isLeaving)
      }
      if let job { return job }
      if isLeaving { return nil }
      news.wait()
    }
  }

  /// Has the processor's thread do something, later.
  func begin<Value: Sendable>(
    _ body: @escaping @Sendable (Processor, inout Buses) throws -> Value
  ) -> Answer<Value> {
    let answer = Answer<Value>()
    state.withLock { state in
      state.jobs.append { processor, buses in
        answer.give(Result { try body(processor, &buses) })
      }
    }
    news.signal()
    return answer
  }

  /// Has the processor's thread do something now.
  @discardableResult
  func perform<Value: Sendable>(
    _ body: @escaping @Sendable (Processor, inout Buses) throws -> Value
  ) throws -> Value {
    try begin(body).get()
  }

  /// Ends the thread, which must not be in the guest.
  func leave() {
    state.withLock { $0.isLeaving = true }
    news.signal()
    _ = ended.wait(until: HostClock.now.advanced(by: 5_000_000_000))
  }
}

/// What a thread will answer.
final class Answer<Value: Sendable>: Sendable {
  private let result = Mutex<Result<Value, any Error>?>(nil)
  private let news = HostOS.Event()

  fileprivate func give(_ result: Result<Value, any Error>) {
    self.result.withLock { $0 = result }
    news.signal()
  }

  /// Waits for the answer, but no longer than anything here takes.
  func get(within seconds: UInt64 = 20) throws -> Value {
    guard let value = try poll(for: seconds * 1_000_000_000) else {
      throw NoAnswer(seconds: seconds)
    }
    return value
  }

  /// The answer, if it comes within so many nanoseconds.
  func poll(for nanoseconds: UInt64) throws -> Value? {
    let deadline = HostClock.now.advanced(by: nanoseconds)
    while true {
      if let result = result.withLock({ $0 }) { return try result.get() }
      guard news.wait(until: deadline) else { return nil }
    }
  }
}

/// A processor does not come back.
struct NoAnswer: Error, CustomStringConvertible {
  let seconds: UInt64
  var description: String { "no answer within \(seconds) seconds" }
}
