package import Work

/// The other end of a serial line or console: bytes both ways.
package protocol ByteStream: AnyObject, Sendable {
  /// Sends what can go at once, in order; answers how many bytes that was. Fewer than offered:
  /// `.maySend` follows. Never blocks. From any thread.
  func send(_ bytes: [UInt8]) -> Int
  /// Takes up to `count` bytes that have come in. None: `.mayReceive` follows. From any thread.
  func receive(upTo count: Int) -> [UInt8]
  /// Names who is told of readiness; once, before the machine starts.
  func attach(_ user: any ByteStreamUser)
}

/// Who uses a stream: a device.
package protocol ByteStreamUser: AnyObject, Sendable {
  var loop: any Loop { get }
  /// On that loop. Level-triggered: what was not taken is announced again after the next change.
  func streamReady(_ events: StreamEvents)
}

package struct StreamEvents: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  /// Bytes have come in.
  package static let mayReceive = StreamEvents(rawValue: 1)
  /// There is room again after a short `send`.
  package static let maySend = StreamEvents(rawValue: 2)
}
