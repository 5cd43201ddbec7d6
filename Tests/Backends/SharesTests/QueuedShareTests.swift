import HostOS
import Kit
import Synchronization
import Testing
import Work

@testable import Shares

/// A share whose answers a test holds back.
private final class SlowShare: Share {
  let began = Event()
  let mayEnd = Event()
  let log = Mutex<[String]>([])

  func answer(_ request: [UInt8], room: Int) -> [UInt8] {
    log.withLock { $0.append("answer \(request[0])") }
    began.signal()
    mayEnd.wait()
    return request
  }

  func reset() { log.withLock { $0.append("reset") } }
  func save() throws(ShareError) -> [UInt8] { [] }
  func restore(_ saved: [UInt8]) throws(ShareError) {}
}

private final class Answers: ShareCompletion {
  let all = Mutex<[(tag: RequestTag, bytes: [UInt8])]>([])
  let came = Event()

  func answered(_ tag: RequestTag, _ answer: [UInt8]) {
    all.withLock { $0.append((tag, answer)) }
    came.signal()
  }

  func wait(for count: Int) {
    while all.withLock({ $0.count < count }) { came.wait() }
  }
}

@Suite struct QueuedShareTests {
  private func tag(_ slot: UInt16) -> RequestTag { RequestTag(queue: 0, slot: slot, generation: 0) }

  @Test func `requests are answered on the loop, each once`() throws {
    let folder = Folder()
    folder.write("f", "hello")
    let pool = try WorkerPool(name: "share", limit: 4)
    let loop = try EventLoop(name: "device")
    defer {
      pool.stop()
      loop.stop()
    }
    let share = QueuedShare(try NinePServer(SharePlan(path: folder.path)), pool: pool, loop: loop)
    let answers = Answers()
    for slot in 0..<300 as Range<UInt16> {
      // Tversion, with the slot as its tag.
      let name = Array("9P2000.L".utf8)
      let message =
        [21, 0, 0, 0, 100, UInt8(slot & 0xff), UInt8(slot >> 8), 0, 0x20, 0, 0, 8, 0] + name
      share.submit(ShareRequest(message, room: 64, tag: tag(slot)), answers)
    }
    answers.wait(for: 300)
    let all = answers.all.withLock { $0 }
    #expect(Set(all.map(\.tag)).count == 300)
    #expect(all.allSatisfy { $0.bytes.count == 21 && $0.bytes[4] == 101 })
    #expect(all.allSatisfy { UInt16($0.bytes[5]) | UInt16($0.bytes[6]) << 8 == $0.tag.slot })
  }

  @Test func `a reset comes after the request at work, and spares what had not begun`() throws {
    let slow = SlowShare()
    let pool = try WorkerPool(name: "share", limit: 1)
    let loop = try EventLoop(name: "device")
    defer {
      pool.stop()
      loop.stop()
    }
    let share = QueuedShare(slow, pool: pool, loop: loop)
    let answers = Answers()
    share.submit(ShareRequest([1], room: 8, tag: tag(1)), answers)
    slow.began.wait()
    share.submit(ShareRequest([2], room: 8, tag: tag(2)), answers)
    share.reset()
    #expect(slow.log.withLock { $0 } == ["answer 1"])
    slow.mayEnd.signal()
    answers.wait(for: 2)
    #expect(slow.log.withLock { $0 } == ["answer 1", "reset"])
    #expect(answers.all.withLock { $0.map(\.bytes) } == [[1], []])
    share.reset()
    #expect(slow.log.withLock { $0 } == ["answer 1", "reset", "reset"], "at once if idle")
    share.submit(ShareRequest([3], room: 8, tag: tag(3)), answers)
    slow.mayEnd.signal()
    answers.wait(for: 3)
    #expect(answers.all.withLock { $0.last?.bytes } == [3])
  }
}
