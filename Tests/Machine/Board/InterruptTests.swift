import Board
import HostOS
import Kit
import Synchronization
import Testing

@Suite struct InterruptTests {
  /// Notes every call, repeated or not.
  private final class Calls: InterruptController {
    private let calls = Mutex<[RecordingController.Change]>([])
    func set(_ pin: UInt32, asserted: Bool) {
      calls.withLock { $0.append(.init(pin: pin, asserted: asserted)) }
    }
    var all: [RecordingController.Change] { calls.withLock { $0 } }
  }

  /// What a line, which cannot be copied, belongs to.
  private final class Device: Sendable {
    let line: InterruptLine
    init(line: consuming InterruptLine) { self.line = line }
  }

  @Test func `a line drives its pin only when the level changes`() {
    let calls = Calls()
    let line = InterruptLine(to: calls, pin: 4)
    line.set(false)
    #expect(calls.all.isEmpty)
    line.set(true)
    line.set(true)
    let rose = line.isAsserted
    #expect(rose)
    line.set(false)
    line.set(false)
    let stayed = line.isAsserted
    #expect(!stayed)
    #expect(calls.all == [.init(pin: 4, asserted: true), .init(pin: 4, asserted: false)])
  }

  @Test func `a shared pin is asserted while any of its lines is`() {
    let controller = RecordingController()
    let pin = SharedPin(to: controller, pin: 10)
    let first = pin.line()
    let second = pin.line()
    first.set(true)
    #expect(controller.level(10))
    second.set(true)
    first.set(false)
    #expect(controller.level(10))
    second.set(false)
    #expect(!controller.level(10))
    #expect(controller.rises(10) == 1)
  }

  @Test func `lines driven by several threads leave a shared pin at their sum`() throws {
    let controller = RecordingController()
    let pin = SharedPin(to: controller, pin: 10)
    let devices = (0..<3).map { _ in Device(line: pin.line()) }
    for round in 0..<20 {
      // In every other round, the first device asserts last and for good.
      let stays = round.isMultiple(of: 2)
      let threads = try (0..<3).map { index in
        try Thread(name: "device \(index)") {
          for _ in 0..<200 {
            devices[index].line.set(true)
            devices[index].line.set(false)
          }
          devices[index].line.set(stays && index == 0)
        }
      }
      for thread in threads { thread.join() }
      #expect(controller.level(10) == stays)
    }
  }

  @Test func `a pin fans out to each controller that it reaches, under the number it has there`() {
    let (pic, ioAPIC) = (RecordingController(), RecordingController())
    let fanOut = InterruptFanOut([
      (pic, { @Sendable in $0 < 16 ? $0 : nil }),
      (ioAPIC, { @Sendable in $0 == 0 ? 2 : $0 }),
    ])
    fanOut.set(0, asserted: true)
    fanOut.set(20, asserted: true)
    #expect(pic.changes == [.init(pin: 0, asserted: true)])
    #expect(ioAPIC.changes == [.init(pin: 2, asserted: true), .init(pin: 20, asserted: true)])
    fanOut.set(0, asserted: false)
    #expect(!pic.level(0))
    #expect(!ioAPIC.level(2))
  }
}
