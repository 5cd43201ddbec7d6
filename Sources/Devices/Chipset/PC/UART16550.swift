package import Board
package import Inspection
package import SavedState
package import Streams
import Synchronization
package import Work

/// The 16550A UART of a PC's COM ports: eight byte-wide registers, two 16-byte FIFOs, one interrupt.
///
/// The line has no speed: a byte leaves as soon as the stream behind the port takes it, and four
/// character times, after which the receiver complains of bytes left lying, take no time at all.
/// While the stream takes nothing the transmitter stays full, and nothing of a guest that looks is lost.
///
/// - SeeAlso: National Semiconductor *PC16550D* data sheet (June 1995), §8.0 "Registers".
/// - Note: as on a PC, the interrupt reaches its wire only while the modem control output OUT 2 is on.
package final class UART16550 {
  // Wiring: fixed for the life of the device.
  private let interrupt: InterruptLine
  private let stream: any ByteStream
  package let loop: any Loop
  /// Rung when the guest has made room for bytes that wait in the stream.
  private let roomMade: any Doorbell
  // State: everything the guest can change.
  private let state = Mutex(State())

  package init(interrupt: consuming InterruptLine, stream: any ByteStream, loop: any Loop) {
    let backlink = Backlink<UART16550>()
    self.interrupt = interrupt
    self.stream = stream
    self.loop = loop
    roomMade = loop.makeDoorbell { backlink.device?.streamReady(.mayReceive) }
    backlink.connect(to: self)
    stream.attach(self)
  }

  /// Changes the chip, drives the wire to what follows, and then carries out what the chip asks for.
  private func with<Result>(
    _ change: (inout State) throws(IOError) -> Result
  ) throws(IOError) -> Result {
    let (result, errands) = try state.withLock { (state) throws(IOError) in
      let result = try change(&state)
      interrupt.set(state.interruptPending)
      return (result, state.takeErrands())
    }
    if errands.contains(.askForMore) { roomMade.ring() }
    if errands.contains(.transmit) { transmit() }
    return result
  }

  /// Offers the stream what waits in the transmitter, one caller at a time, until it is empty or the
  /// stream full.
  private func transmit() {
    while let bytes = state.withLock({ $0.beginTransmission() }) {
      let sent = stream.send(bytes)
      state.withLock { state in
        state.endTransmission(offered: bytes.count, sent: sent)
        interrupt.set(state.interruptPending)
      }
    }
  }
}

// MARK: - What the guest sees

extension UART16550: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    let register = try Register(access)
    return UInt64(try with { (state) throws(IOError) in state.read(register) })
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    let register = try Register(access)
    try with { (state) throws(IOError) in
      state.write(UInt8(truncatingIfNeeded: value), to: register)
    }
  }
}

// MARK: - What the line brings

extension UART16550: ByteStreamUser {
  package func streamReady(_ events: StreamEvents) {
    if events.contains(.maySend) {
      state.withLock { $0.streamHasRoom() }
      transmit()
    }
    guard events.contains(.mayReceive) else { return }
    while true {
      let room = state.withLock { $0.beginReception() }
      guard room > 0 else { return }
      let bytes = stream.receive(upTo: room)
      guard !bytes.isEmpty else { return }  // `.mayReceive` follows
      state.withLock { state in
        state.receive(bytes)
        interrupt.set(state.interruptPending)
      }
    }
  }
}

// MARK: - What the machine sees

extension UART16550: Component {
  package static let schema = "uart16550/1"

  package struct Saved: Codable, Sendable {
    var receiver: [UInt8]
    var transmitter: [UInt8]
    var interruptEnable: UInt8
    var fifoControl: UInt8
    var lineControl: UInt8
    var modemControl: UInt8
    var modemChanges: UInt8
    var scratch: UInt8
    var divisor: UInt16
    var overrun: Bool
    var transmitterInterrupt: Bool
  }

  package func start() {
    state.withLock { $0.isRunning = true }
    loop.post { [weak self] in self?.streamReady([.mayReceive, .maySend]) }
  }

  package func stop(_ rest: Barrier) {
    rest.enter()
    loop.post { [self] in
      // The last words before a power-off may still be here: the processor gave them, the loop was sending others.
      transmit()
      state.withLock { $0.isRunning = false }
      rest.leave()
    }
  }

  package func reset() {
    state.withLock { state in
      state = State()
      interrupt.set(false)
    }
  }

  package func save() -> Saved { state.withLock { $0.saved } }

  package func restore(_ saved: Saved) throws(RestoreError) {
    let restored = try State(saved)
    state.withLock { state in
      state = restored
      interrupt.set(state.interruptPending)
    }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.field("interrupt", state.interruptPending)
    node.reflect(state)
  }
}
