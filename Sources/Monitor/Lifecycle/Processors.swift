package import ArchitectureX86
package import Board
package import Execution
package import HostOS
package import Inspection
import Synchronization
import Work

/// The processors' threads: one each, for life, running guest code or at rest.
package final class Processors: Sendable {
  package typealias Processor = any VirtualProcessor<X86>

  let partition: any Partition<X86>
  private let seats: [Seat]
  private let threads: [Thread]

  /// Starts a thread for each processor, at rest. `report` runs on the processor's thread.
  package init(
    of partition: any Partition<X86>, count: Int, ports: IOBus, registers: IOBus,
    report: @escaping @Sendable (MachineEvent) -> Void
  ) throws(HostError) {
    self.partition = partition
    let seats = (0..<count).map { _ in Seat() }
    var threads: [Thread] = []
    do throws(HostError) {
      for (index, seat) in seats.enumerated() {
        threads.append(
          try Thread(name: "processor \(index)") {
            seat.occupy(index, of: partition, Buses(ports: ports, registers: registers), report)
          })
      }
    } catch {
      for seat in seats { seat.order(.leave) }
      for thread in threads { thread.join() }
      throw error
    }
    self.seats = seats
    self.threads = threads
  }

  package var count: Int { seats.count }

  package func inspect(_ node: inout Node) { partition.inspect(&node) }

  /// Lets all processors run guest code.
  package func run() { for seat in seats { seat.order(.run) } }

  /// Tells all processors to rest; does not wait. From any thread, a processor's own too.
  package func halt() {
    for (index, seat) in seats.enumerated() {
      seat.order(.rest)
      partition.kick(index)
    }
  }

  /// Brings all processors to rest.
  package func rest() async {
    halt()
    let barrier = Barrier()
    for seat in seats { seat.enterWhileBusy(barrier) }
    await barrier.reached()
  }

  /// Runs `body` with each processor in turn, on its own thread; only at rest.
  package func visit<Result: Sendable>(
    _ body: @escaping @Sendable (Int, Processor) throws(EngineError) -> Result
  ) async throws -> [Result] {
    var results: [Result] = []
    for (index, seat) in seats.enumerated() {
      let result: Swift.Result<Result, EngineError> = await withCheckedContinuation {
        continuation in
        seat.errand { processor in
          continuation.resume(
            returning: Swift.Result { () throws(EngineError) in try body(index, processor.get()) })
        }
      }
      results.append(try result.get())
    }
    return results
  }

  /// Ends the threads; only at rest.
  package func leave() {
    for seat in seats { seat.order(.leave) }
    for thread in threads { thread.join() }
  }
}

// MARK: - One processor's thread

/// Where a processor's thread takes its orders.
private final class Seat: Sendable {
  enum Order: Sendable { case rest, run, leave }
  typealias Errand = @Sendable (Result<Processors.Processor, EngineError>) -> Void

  private struct State {
    var order = Order.rest
    var errands: [Errand] = []
    /// The thread is not at rest.
    var isBusy = true
    var waiting: [Barrier] = []

    mutating func takeWaiting() -> [Barrier] {
      defer { waiting = [] }
      return waiting
    }
  }
  private let state = Mutex(State())
  private let news = Event()

  func order(_ order: Order) {
    state.withLock { if $0.order != .leave { $0.order = order } }
    news.signal()
  }

  func errand(_ errand: @escaping Errand) {
    state.withLock { $0.errands.append(errand) }
    news.signal()
  }

  /// Holds the barrier until the processor rests.
  func enterWhileBusy(_ barrier: Barrier) {
    state.withLock { state in
      guard state.isBusy else { return }
      barrier.enter()
      state.waiting.append(barrier)
    }
  }

  /// Binds the processor to the calling thread and carries out orders until told to leave.
  func occupy(
    _ index: Int, of partition: any Partition<X86>, _ buses: consuming Buses,
    _ report: (MachineEvent) -> Void
  ) {
    let processor: Processors.Processor
    do throws(EngineError) {
      processor = try partition.bindProcessor(index)
    } catch {
      return refuse(index, error, report)
    }
    while true {
      switch next() {
      case .leave: return
      case .errand(let errand): errand(.success(processor))
      case .run:
        buses.refresh()
        do throws(EngineError) {
          switch try processor.run(&buses) {
          case .kicked, .debug: break
          case .tripleFault:
            rest()
            report(.tripleFault(processor: index))
          }
        } catch {
          rest()
          report(.failed(processor: index, error))
        }
      }
    }
  }

  /// Answers every order with the reason why there is no processor.
  private func refuse(_ index: Int, _ error: EngineError, _ report: (MachineEvent) -> Void) {
    while true {
      switch next() {
      case .leave: return
      case .errand(let errand): errand(.failure(error))
      case .run:
        rest()
        report(.failed(processor: index, error))
      }
    }
  }

  private enum Step {
    case run, leave
    case errand(Errand)
  }

  /// The next thing to do, waiting for it at rest.
  private func next() -> Step {
    while true {
      let (step, reached) = state.withLock { state -> (Step?, [Barrier]) in
        if !state.errands.isEmpty { return (.errand(state.errands.removeFirst()), []) }
        state.isBusy = state.order == .run
        switch state.order {
        case .run: return (.run, [])
        case .leave: return (.leave, state.takeWaiting())
        case .rest: return (nil, state.takeWaiting())
        }
      }
      for barrier in reached { barrier.leave() }
      if let step { return step }
      news.wait()
    }
  }

  /// Rests of its own accord.
  private func rest() { state.withLock { if $0.order == .run { $0.order = .rest } } }
}

extension Barrier {
  /// Waits until nothing is in flight.
  func reached() async {
    await withCheckedContinuation { continuation in whenReached { continuation.resume() } }
  }
}

extension Loop {
  /// Runs `body` on the loop, after all that was posted before.
  func run(_ body: @escaping @Sendable () -> Void = {}) async {
    await withCheckedContinuation { continuation in
      post {
        body()
        continuation.resume()
      }
    }
  }
}
