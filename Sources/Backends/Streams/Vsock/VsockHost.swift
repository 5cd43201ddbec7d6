package import Work

/// The host, as a guest's sockets see it: programs listen at ports and call at ports.
///
/// Everything here, and in the streams, happens on one loop. No verb calls the user back before it returns.
package protocol VsockHost: AnyObject, Sendable {
  var loop: any Loop { get }
  /// Calls whoever listens at a port of the host's; `nil`: nobody does, or there are too many connections.
  func connect(toPort port: UInt32) -> (any VsockStream)?
  /// Names who answers the host's calls; once, before the machine starts.
  func attach(_ user: any VsockUser)
}

/// Who uses the host's streams: the guest's socket device.
package protocol VsockUser: AnyObject, Sendable {
  /// A program of the host's calls a port of the guest's. `false`: nobody can answer, and the stream is closed.
  /// Otherwise the program waits until `accepted` or `close`.
  func called(_ stream: any VsockStream, port: UInt32) -> Bool
  /// Something changed for the stream that was attached by this number.
  func streamReady(_ id: UInt64, _ events: VsockEvents)
}

/// The host's end of one connection.
package protocol VsockStream: AnyObject, Sendable {
  /// Tells `user` of changes from now on, by this number.
  func attach(_ user: any VsockUser, as id: UInt64)
  /// The guest has answered the program's call; `port` is the one that the call seems to have come from.
  func accepted(port: UInt32)
  /// Sends what can go at once; answers how many bytes that was. Fewer than offered: `.maySend` follows. `nil`: the
  /// program takes no more, ever.
  func send(_ bytes: [UInt8]) -> Int?
  /// Takes up to `count` bytes, which is not zero.
  func receive(upTo count: Int) -> VsockInput
  /// The guest will send no more.
  func finishSending()
  /// Ends the connection, and lets go of the user. The program still gets the `rest`, if it takes it.
  func close(sending rest: [UInt8])
}

/// What came from the host.
package enum VsockInput: Sendable, Equatable {
  case bytes([UInt8])
  /// None now: `.mayReceive` follows.
  case nothing
  /// None any more.
  case ended
}

package struct VsockEvents: OptionSet, Sendable {
  package let rawValue: UInt8
  package init(rawValue: UInt8) { self.rawValue = rawValue }
  package static let mayReceive = VsockEvents(rawValue: 1)
  package static let maySend = VsockEvents(rawValue: 2)
  /// The program has hung up. What it sent before can still be received.
  package static let ended = VsockEvents(rawValue: 4)
}
