import Inspection
import Kit
import Memory
import Synchronization
import Testing
import Work

@testable import Virtio

/// A chain that `Echo` copies: the bytes to read, and room for as many.
private struct Exchange {
  let bytes: [UInt8]
  let answerAt: UInt64
  let buffers: [GuestQueue.Buffer]

  /// Cut into pieces, whose places are chance's.
  init(_ chance: inout Chance, _ driver: GuestDriver, at place: UInt64) {
    let count = 1 + Int(chance.number(below: 100))
    bytes = (0..<count).map { _ in UInt8(truncatingIfNeeded: chance.next()) }
    answerAt = place + 256
    driver.put(bytes, at: place)
    driver.put([UInt8](repeating: 0, count: 128), at: answerAt)
    var buffers: [GuestQueue.Buffer] = []
    for (start, isWritable) in [(place, false), (place + 256, true)] {
      let cut = Int(chance.number(below: UInt64(count)))
      if cut > 0 { buffers.append(.init(start, cut, writable: isWritable)) }
      buffers.append(.init(start + UInt64(cut), count - cut, writable: isWritable))
    }
    self.buffers = buffers
  }
}

/// VIRTIO 1.3 §2.7 and §2.8, from both sides.
@Suite struct VirtQueueTests {
  /// Whatever the order of offering, holding, finishing and looking, each chain comes back once, with its bytes.
  @Test(arguments: Dialect.all, [0, GuestDriver.inOrder])
  func `every chain is answered exactly once`(dialect: Dialect, order: UInt64) {
    for seed in 0..<30 as Range<UInt64> {
      let bench = Bench({ Echo($0) }, rings: .inOrder)
      #expect(bench.begin(dialect.features | order, queueSize: 16, count: 1))
      let queue = bench.driver.queues[0]
      let area = bench.driver.allocate(64 * 512)
      var chance = Chance(seed: seed)
      var waiting: [UInt16: Exchange] = [:]
      var sent: [UInt16] = []
      var places = Array(0..<64 as Range<UInt64>)
      var answered = 0
      queue.wantInterrupts(true)
      for step in 0..<600 {
        switch chance.number(below: 10) {
        case 0...3:
          guard places.count > 1 else { break }
          let place = places.removeFirst()
          let exchange = Exchange(&chance, bench.driver, at: area + 512 * place)
          let indirect = chance.number(below: 2) == 0
          guard let token = queue.add(exchange.buffers, indirect: indirect) else {
            places.append(place)
            break
          }
          #expect(waiting[token] == nil)
          waiting[token] = exchange
          sent.append(token)
        case 4: queue.kick()
        case 5: bench.device.holds.with { $0.toggle() }
        case 6:
          let count = bench.device.held.with { $0.count }
          if count > 0 { bench.device.finish(Int(chance.number(below: UInt64(count)))) }
        case 7:
          _ = bench.registers.takeInterruptStatus()
          for used in queue.takeAll() {
            guard let exchange = waiting.removeValue(forKey: used.token) else {
              Issue.record("step \(step): it was given back twice, or never offered")
              continue
            }
            #expect(used.written == exchange.bytes.count)
            #expect(
              bench.driver.bytes(at: exchange.answerAt, count: exchange.bytes.count)
                == exchange.bytes)
            if order != 0 { #expect(sent.first == used.token) }
            sent.removeAll { $0 == used.token }
            places.append((exchange.answerAt - area) / 512)
            answered += 1
          }
          queue.wantInterrupts(true)
        default: bench.loop.run()
        }
      }
      // In the end nothing is left, and nobody had to ask twice.
      queue.kick()
      bench.loop.run()
      bench.device.holds.with { $0 = false }
      while bench.device.held.with({ !$0.isEmpty }) { bench.device.finish() }
      answered += queue.takeAll().count
      #expect(queue.inFlight == 0)
      #expect(answered > 20)
      #expect(bench.function.signals.registers.withLock { $0.queues[0].fault } == nil)
    }
  }

  /// A driver that sleeps until it is told, and tells only when it must, gets everything done.
  @Test(arguments: Dialect.all)
  func `no wake-up is lost, either way`(dialect: Dialect) {
    let bench = Bench { Echo($0) }
    #expect(bench.begin(dialect.features, queueSize: 8, count: 1))
    let queue = bench.driver.queues[0]
    let data = bench.driver.allocate(4096)
    var chance = Chance(seed: 7)
    var answered = 0
    var offered = 0
    for _ in 0..<5000 {
      let count = Int(chance.number(below: 5))
      for _ in 0..<count
      where queue.add([.init(data, 8), .init(data + 64, 8, writable: true)]) != nil {
        offered += 1
      }
      queue.kick()
      if !queue.wantInterrupts(true) {
        // Asleep until the interrupt.
        bench.loop.run()
        if queue.inFlight > 0 { #expect(bench.interrupted) }
      }
      _ = bench.registers.takeInterruptStatus()
      if chance.number(below: 3) == 0 { queue.wantInterrupts(false) }
      answered += queue.takeAll().count
    }
    bench.loop.run()
    answered += queue.takeAll().count
    #expect(answered == offered)
    #expect(offered > 5000)
  }

  @Test(arguments: Dialect.all)
  func `while the device is busy the driver need not ring`(dialect: Dialect) {
    let bench = Bench { Echo($0) }
    #expect(bench.begin(dialect.features, count: 1))
    let queue = bench.driver.queues[0]
    let data = bench.driver.allocate(4096)
    _ = queue.add([.init(data, 8)])
    #expect(queue.kick())
    // Not served yet: more may be added without a word with the event index, and with rings without.
    bench.loop.run()
    _ = queue.add([.init(data, 8)])
    #expect(queue.kick(), "an idle device wants to be told")
    bench.loop.run()
    #expect(queue.takeAll().count == 2)
  }

  @Test(arguments: Dialect.all)
  func `interrupts that the driver does not want do not come`(dialect: Dialect) {
    let bench = Bench { Echo($0) }
    #expect(bench.begin(dialect.features, count: 1))
    let queue = bench.driver.queues[0]
    let data = bench.driver.allocate(4096)
    queue.wantInterrupts(false)
    for _ in 0..<4 { _ = queue.add([.init(data, 8)]) }
    queue.kick()
    bench.loop.run()
    #expect(!bench.interrupted)
    #expect(queue.takeAll().count == 4)
    queue.wantInterrupts(true)
    _ = queue.add([.init(data, 8)])
    queue.kick()
    bench.loop.run()
    #expect(bench.interrupted)
    #expect(bench.registers.takeInterruptStatus() == 1)
    #expect(!bench.interrupted)
  }

  /// The driver sleeps until it is told, in this life of the machine or the next.
  @Test(arguments: Dialect.all, [false, true])
  func `the driver is told of the last chain that a stop waits for`(
    dialect: Dialect, together: Bool
  ) {
    let bench = Bench { Echo($0) }
    #expect(bench.begin(dialect.features, count: 1))
    let queue = bench.driver.queues[0]
    let data = bench.driver.allocate(4096)
    bench.device.holds.with { $0 = true }
    queue.wantInterrupts(true)
    for _ in 0..<2 { _ = queue.add([.init(data, 8), .init(data + 64, 8, writable: true)]) }
    queue.kick()
    bench.loop.run()
    #expect(!bench.stop())
    if together {
      let held = bench.device.held.with { $0 }
      held[0].0.complete(held.map { ($0.1, 0) })
    } else {
      bench.device.finish()
      _ = bench.registers.takeInterruptStatus()
      #expect(queue.takeAll().count == 1)
      queue.wantInterrupts(true)
      bench.device.finish()
    }
    #expect(bench.interrupted)
    #expect(queue.takeAll().count == (together ? 2 : 1))
  }

  @Test(arguments: Dialect.all)
  func `a full queue is served in turns, and others get theirs`(dialect: Dialect) {
    let bench = Bench { Echo($0, sizes: [1024]) }
    #expect(bench.begin(dialect.features, count: 1))
    let queue = bench.driver.queues[0]
    let data = bench.driver.allocate(4096)
    while queue.add([.init(data, 8)]) != nil {}
    queue.kick()
    bench.loop.run()
    #expect(bench.device.served.with { $0 } >= 4)
    #expect(queue.takeAll().count == 1024)
  }

  @Test(arguments: Dialect.all)
  func `a chain that is put back is the next one again`(dialect: Dialect) {
    final class Shy: VirtioDevice {
      static let schema = "shy/1"
      struct Saved: Codable, Sendable {}
      let profile = VirtioProfile(deviceID: .init(rawValue: 42), queueSizes: [4])
      func service(_ queue: VirtQueue) {
        while let chain = queue.pop() {
          let first = chain.readable[0].start
          queue.putBack(chain)
          guard let again = queue.pop() else {
            Issue.record("it is gone")
            return
          }
          #expect(again.readable[0].start == first)
          queue.complete(again, written: 0)
        }
      }
      func save() -> Saved { Saved() }
      func restore(_ saved: Saved) {}
      func inspect(_ node: inout Node) {}
    }
    let bench = Bench { _ in Shy() }
    #expect(bench.begin(dialect.features, count: 1))
    let queue = bench.driver.queues[0]
    let data = bench.driver.allocate(4096)
    for round in 0..<20 as Range<UInt64> {
      #expect(queue.add([.init(data + round, 8), .init(data + 64, 8)]) != nil)
      queue.kick()
      bench.loop.run()
      #expect(queue.takeAll().count == 1)
    }
  }
}
