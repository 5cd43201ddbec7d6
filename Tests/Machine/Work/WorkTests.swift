import HostOS
import Kit
import Synchronization
import Testing
import Work

@Suite struct BarrierTests {
  @Test func `a barrier is reached while nothing is in flight`() {
    let barrier = Barrier()
    #expect(barrier.isReached)
    barrier.enter()
    barrier.enter()
    barrier.leave()
    #expect(!barrier.isReached)
    barrier.leave()
    #expect(barrier.isReached)
  }

  @Test func `what waits runs once, when the last has left, or at once`() {
    let barrier = Barrier()
    let runs = Atomic<Int>(0)
    barrier.whenReached { runs.add(1, ordering: .relaxed) }
    #expect(runs.load(ordering: .relaxed) == 1)
    barrier.enter()
    barrier.whenReached { runs.add(10, ordering: .relaxed) }
    barrier.whenReached {
      // What waits may use the barrier again: no lock is held.
      barrier.enter()
      barrier.leave()
      runs.add(100, ordering: .relaxed)
    }
    #expect(runs.load(ordering: .relaxed) == 1)
    barrier.leave()
    #expect(runs.load(ordering: .relaxed) == 111)
    barrier.enter()
    barrier.leave()
    #expect(runs.load(ordering: .relaxed) == 111)
  }

  @Test func `work of several threads is waited for to the last`() throws {
    for _ in 0..<20 {
      let barrier = Barrier()
      let left = Atomic<Int>(0)
      let seen = Atomic<Int>(-1)
      for _ in 0..<3 * 100 { barrier.enter() }
      barrier.whenReached { seen.store(left.load(ordering: .acquiring), ordering: .releasing) }
      let threads = try (0..<3).map { index in
        try Thread(name: "worker \(index)") {
          for _ in 0..<100 {
            left.add(1, ordering: .acquiringAndReleasing)
            barrier.leave()
          }
        }
      }
      for thread in threads { thread.join() }
      #expect(seen.load(ordering: .acquiring) == 300)
    }
  }

  @Test func `more leaving than entered stops the process`() async {
    await #expect(processExitsWith: .failure) { Barrier().leave() }
  }
}

@Suite struct LoopBoundTests {
  @Test func `a loop-bound value is at hand on its loop`() throws {
    let loop = try EventLoop(name: "test")
    let counter = LoopBound(0, on: loop)
    let last = Atomic<Int>(0)
    for _ in 0..<100 {
      loop.post { counter.with { $0 += 1 } }
    }
    loop.post { last.store(counter.with { $0 }, ordering: .releasing) }
    loop.stop()
    #expect(last.load(ordering: .acquiring) == 100)
  }

  @Test func `an error passes through with its type`() {
    struct Refused: Error, Equatable {}
    let value = LoopBound(1, on: ManualLoop())
    #expect(throws: Refused()) {
      try value.with { (value) throws(Refused) in
        value = 2
        throw Refused()
      }
    }
    #expect(value.with { $0 } == 2)
  }

  @Test func `a loop-bound value touched off its loop stops the process`() async {
    await #expect(processExitsWith: .failure) {
      let loop = try EventLoop(name: "test")
      LoopBound(0, on: loop).with { $0 += 1 }
    }
  }
}

@Suite struct VMInstantTests {
  @Test func `guest time neither wraps at its end nor runs below zero`() {
    let start = VMInstant(nanoseconds: 5)
    let end = VMInstant(nanoseconds: .max)
    #expect(start.advanced(by: 10) == VMInstant(nanoseconds: 15))
    #expect(start.advanced(by: .max) == end)
    #expect(end.advanced(by: 0) == end)
    #expect(end.advanced(by: 1) == end)
    #expect(end.nanoseconds(since: start) == UInt64.max - 5)
    #expect(start.nanoseconds(since: end) == 0)
    #expect(start.nanoseconds(since: start) == 0)
    #expect(start < end)
    #expect(!(end < start))
  }
}

@Suite struct RequestTagTests {
  @Test func `a request of an earlier life of the device is another request`() {
    let tag = RequestTag(queue: 1, slot: 2, generation: 3)
    #expect(tag == RequestTag(queue: 1, slot: 2, generation: 3))
    let others = [
      RequestTag(queue: 1, slot: 2, generation: 4), RequestTag(queue: 2, slot: 1, generation: 3),
      RequestTag(queue: 1, slot: 3, generation: 3),
    ]
    #expect(!others.contains(tag))
    #expect(Set(others + others + [tag]).count == 4)
  }
}
