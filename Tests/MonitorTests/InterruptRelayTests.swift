import Board
import Execution
import Kit
import Monitor
import Synchronization
import Testing

struct InterruptRelayTests {
  @Test func `what is connected and asserted reaches new controllers, and nothing else does`() {
    let (first, second) = (Controllers(), Controllers())
    let relay = InterruptRelay(to: first)
    let board = Listener()
    relay.connect(acknowledger: board)
    relay.connect(endOfInterrupt: board)
    relay.set(ProcessorPin.lint0, asserted: true)
    relay.set(ProcessorPin.lint1, asserted: true)
    relay.set(ProcessorPin.lint1, asserted: false)
    relay.signal(MSI(address: 0xfee0_0000, data: 0x41), from: 0)
    relay.connect(to: second)
    #expect(first.heard == ["acknowledger", "listener", "0+", "1+", "1-", "41"])
    #expect(second.heard == ["acknowledger", "listener", "0+"])

    relay.set(ProcessorPin.lint0, asserted: false)
    relay.signal(MSI(address: 0xfee0_0000, data: 0x42), from: 0)
    #expect(first.heard.count == 6)
    #expect(second.heard.suffix(2) == ["0-", "42"])
    withExtendedLifetime(board) {}
  }

  @Test func `the end of interrupts that no processor has under way is told`() {
    let relay = InterruptRelay(to: Controllers())
    let board = Listener()
    relay.endAll(but: [])
    relay.connect(endOfInterrupt: board)
    relay.endAll(but: [0x41, 0xff])
    #expect(board.ended == (UInt8(16)...254).filter { $0 != 0x41 })
  }

  @Test func `neither board nor controllers live on for each other's sake`() {
    weak var forgotten: InterruptRelay?
    do {
      let relay = InterruptRelay(to: Controllers())
      let board = Listener(relay)
      relay.connect(acknowledger: board)
      relay.connect(endOfInterrupt: board)
      forgotten = relay
      withExtendedLifetime(board) {}
    }
    #expect(forgotten == nil)
  }

  @Test func `after the machine's end nothing is relayed`() {
    let controllers = Controllers()
    let relay = InterruptRelay(to: controllers)
    relay.disconnect()
    relay.set(ProcessorPin.lint0, asserted: true)
    relay.signal(MSI(address: 0xfee0_0000, data: 0x41), from: 0)
    #expect(controllers.heard.isEmpty)
  }

  @Test func `a board without listeners leaves new controllers alone`() {
    let second = Controllers()
    let relay = InterruptRelay(to: Controllers())
    relay.connect(to: second)
    #expect(second.heard.isEmpty)
  }
}

/// Writes down what it is told.
private final class Controllers: ProcessorInterrupts {
  private let log = Mutex<[String]>([])
  var heard: [String] { log.withLock { $0 } }
  private func hear(_ word: String) { log.withLock { $0.append(word) } }

  func set(_ pin: UInt32, asserted: Bool) { hear("\(pin)\(asserted ? "+" : "-")") }
  func signal(_ message: MSI, from requester: UInt16) { hear(String(message.data, radix: 16)) }
  func connect(acknowledger: any InterruptAcknowledger) { hear("acknowledger") }
  func connect(endOfInterrupt: any EndOfInterruptListener) { hear("listener") }
}

private final class Listener: InterruptAcknowledger, EndOfInterruptListener {
  private let relay: InterruptRelay?
  private let log = Mutex<[UInt8]>([])
  init(_ relay: InterruptRelay? = nil) { self.relay = relay }

  var ended: [UInt8] { log.withLock { $0 } }
  func acknowledge() -> UInt8 { 0 }
  func endOfInterrupt(vector: UInt8) { log.withLock { $0.append(vector) } }
}
