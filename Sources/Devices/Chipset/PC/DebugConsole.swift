package import Board
package import Inspection
package import SavedState
package import Streams
import Synchronization
package import Work

/// A port that prints: firmware and small guests write to it before they have a driver for anything.
///
/// A guest is never held up by it. What the stream does not take waits; what does not fit there is lost,
/// and counted.
///
/// - Note: By its guest-visible behaviour the device is the debug port of Bochs (E9h) and of QEMU and OVMF
///   (402h): a read answers E9h, by which guests recognise it.
package final class DebugConsole {
  // Wiring: fixed for the life of the device.
  private let stream: any ByteStream
  package let loop: any Loop
  // State: everything the guest can change.
  private let state = Mutex(State())

  private static let signature: UInt64 = 0xe9

  package init(stream: any ByteStream, loop: any Loop) {
    self.stream = stream
    self.loop = loop
    stream.attach(self)
  }

  /// Offers the stream what waits, one caller at a time, until it is gone or the stream full.
  private func transmit() {
    while let bytes = state.withLock({ $0.beginTransmission() }) {
      let sent = stream.send(bytes)
      state.withLock { $0.endTransmission(sent: sent) }
    }
  }
}

// MARK: - What the guest sees

extension DebugConsole: IODevice {
  package func read(_ access: Access) throws(IOError) -> UInt64 {
    try check(access)
    return Self.signature
  }

  package func write(_ value: UInt64, _ access: Access) throws(IOError) {
    try check(access)
    state.withLock { $0.put(UInt8(truncatingIfNeeded: value)) }
    transmit()
  }

  private func check(_ access: Access) throws(IOError) {
    guard access.offset == 0 else { throw .noSuchRegister }
    guard access.width == .byte else { throw .unsupportedWidth }
  }
}

// MARK: - What the line brings

extension DebugConsole: ByteStreamUser {
  package func streamReady(_ events: StreamEvents) {
    if events.contains(.mayReceive) {
      // There is nowhere to put what comes in.
      while !stream.receive(upTo: 4096).isEmpty {}
    }
    guard events.contains(.maySend) else { return }
    state.withLock { $0.isFull = false }
    transmit()
  }
}

// MARK: - What the machine sees

extension DebugConsole: Component {
  package static let schema = "debug-console/1"

  package struct Saved: Codable, Sendable {
    var waiting: [UInt8]
  }

  package func start() { loop.post { [weak self] in self?.streamReady(.maySend) } }

  package func reset() { state.withLock { $0.reset() } }

  package func save() -> Saved { state.withLock { Saved(waiting: $0.waiting) } }

  package func restore(_ saved: Saved) throws(RestoreError) {
    guard saved.waiting.count <= State.capacity else {
      throw .refused(part: "debug console", reason: "more bytes wait than it holds")
    }
    state.withLock { $0.waiting = saved.waiting }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.redacted("waiting", bytes: state.waiting.count)
    node.field("lost", state.lost)
  }
}

// MARK: - The chip itself

extension DebugConsole {
  struct State {
    static let capacity = 4096

    var waiting: [UInt8] = []
    /// What the stream is being offered right now; a reset takes it back.
    private var offered: [UInt8] = []
    private var isSending = false
    /// The stream took less than it was offered, and has not announced room since.
    var isFull = false
    var lost: UInt64 = 0

    mutating func put(_ byte: UInt8) {
      if waiting.count < Self.capacity { waiting.append(byte) } else { lost &+= 1 }
    }

    mutating func beginTransmission() -> [UInt8]? {
      guard !waiting.isEmpty, !isFull, !isSending else { return nil }
      isSending = true
      offered = waiting
      waiting = []
      return offered
    }

    mutating func endTransmission(sent: Int) {
      isSending = false
      let left = offered.dropFirst(sent)
      offered = []
      isFull = !left.isEmpty
      let room = Self.capacity - left.count
      lost &+= UInt64(max(0, waiting.count - room))
      waiting = Array(left) + waiting.prefix(room)
    }

    mutating func reset() {
      waiting = []
      offered = []
      lost = 0
    }
  }
}
