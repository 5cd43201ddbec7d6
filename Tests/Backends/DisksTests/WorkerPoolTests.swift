import HostOS
import Synchronization
import Testing

/// Does nothing but count, and waits where the test says so.
private final class Counting: Worker {
  let done = Mutex<[Int]>([])
  let gate = Mutex<Event?>(nil)
  let atWork = Atomic<Int>(0)
  let mostAtWork = Atomic<Int>(0)

  func work(on item: Int) {
    let now = atWork.add(1, ordering: .sequentiallyConsistent).newValue
    mostAtWork.max(now, ordering: .sequentiallyConsistent)
    gate.withLock { $0 }?.wait()
    done.withLock { $0.append(item) }
    atWork.subtract(1, ordering: .sequentiallyConsistent)
  }
}

struct WorkerPoolTests {
  @Test(arguments: [1, 2, 8])
  func `every piece is done once`(_ limit: Int) throws {
    let pool = try WorkerPool(name: "test", limit: limit)
    let worker = Counting()
    for item in 0..<5000 { pool.post(item, to: worker) }
    pool.stop()
    #expect(worker.done.withLock { $0.sorted() } == Array(0..<5000))
    #expect(worker.mostAtWork.load(ordering: .relaxed) <= limit)
  }

  @Test func `one thread keeps the order`() throws {
    let pool = try WorkerPool(name: "test", limit: 1)
    let worker = Counting()
    for item in 0..<2000 { pool.post(item, to: worker) }
    pool.stop()
    #expect(worker.done.withLock { $0 } == Array(0..<2000))
  }

  @Test func `work that blocks gets all threads`() throws {
    let pool = try WorkerPool(name: "test", limit: 6)
    let worker = Counting()
    let gate = Event()
    worker.gate.withLock { $0 = gate }
    for item in 0..<6 { pool.post(item, to: worker) }
    while worker.atWork.load(ordering: .sequentiallyConsistent) < 6 {}
    for _ in 0..<6 {
      let before = worker.done.withLock { $0.count }
      gate.signal()
      while worker.done.withLock({ $0.count }) == before {}
    }
    pool.stop()
  }

  @Test func `pools come and go, whatever their threads are doing`() throws {
    for round in 0..<200 {
      let pool = try WorkerPool(name: "test", limit: 1 + round % 9)
      let worker = Counting()
      for item in 0..<round % 50 { pool.post(item, to: worker) }
      pool.stop()
      #expect(worker.done.withLock { $0.count } == round % 50)
    }
  }

  @Test func `many threads post at once`() throws {
    let pool = try WorkerPool(name: "test", limit: 3)
    let worker = Counting()
    let posters = try (0..<4).map { number in
      try Thread(name: "poster") {
        for item in 0..<1000 { pool.post(number * 1000 + item, to: worker) }
      }
    }
    for poster in posters { poster.join() }
    pool.stop()
    #expect(worker.done.withLock { $0.sorted() } == Array(0..<4000))
  }
}
