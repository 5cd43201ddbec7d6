package import HostOS
package import Work

/// The host's sockets, as a user network needs them. The tests' are made of memory.
package protocol HostNetwork: AnyObject, Sendable {
  /// Names who is told of changes, on its loop: each change once, by the token of its socket. Before anything else.
  func attach(_ user: any HostNetworkUser)
  /// Begins to connect a stream: writable without a failure once it is.
  func connectStream(to: Endpoint, token: UInt64) throws(HostError) -> any HostConnection
  /// Datagrams to one other end and back.
  func connectDatagrams(to: Endpoint, token: UInt64) throws(HostError) -> any HostDatagrams
  /// Echo requests to one other end and their replies.
  func connectEcho(to: IPAddress, token: UInt64) throws(HostError) -> any HostDatagrams
  func listen(at: Endpoint, token: UInt64) throws(HostError) -> any HostListener
  func bindDatagrams(at: Endpoint, token: UInt64) throws(HostError) -> any HostDatagrams
  /// Whether the address is the host's loopback under another name.
  func isLoopback(_ address: IPAddress) -> Bool
}

/// Who uses the host's network.
package protocol HostNetworkUser: AnyObject, Sendable {
  var loop: any Loop { get }
  /// On the loop. All changes that are known now come in one call.
  func socketsReady(_ visit: ((_ token: UInt64, Readiness) -> Void) -> Void)
}

/// The far end of a guest's TCP connection: one of the host's, or a service.
package protocol HostConnection: AnyObject {
  /// Why connecting failed; `nil`: it did not.
  func takeError() -> SocketFailure?
  func send(_ bytes: [UInt8], _ range: Range<Int>) -> Transfer
  /// Sends the pieces in order, `StreamPiece.limit` of them at most.
  func send(_ pieces: [StreamPiece]) -> Transfer
  /// Receives up to `count` bytes into a new array, each `size` of them behind a copy of `head`. It is as long as what
  /// came.
  func receive(
    upTo count: Int, piecesOf size: Int, behind head: [UInt8], into bytes: inout [UInt8]
  ) -> Transfer
  func finishSending()
  func close()
  /// Closes with a reset.
  func abort()
}

/// Datagrams through one socket of the host's.
package protocol HostDatagrams: AnyObject {
  /// Sends to where the socket is connected; `nil`, or to an address.
  func send(_ bytes: [UInt8], _ range: Range<Int>, to: Endpoint?) -> Transfer
  func receive(
    upTo count: Int, behind prefix: Int, into bytes: inout [UInt8], from: inout Endpoint?
  ) -> Transfer
  /// The longest packet that the path takes.
  var pathLimit: Int? { get }
  var local: Endpoint? { get }
  func close()
}

/// Takes TCP connections on the host.
package protocol HostListener: AnyObject {
  var local: Endpoint? { get }
  /// The next connection, watched under the token that `adopt` is to be given; `nil` if there is none.
  func accept() -> (any PendingConnection)?
  func close()
}

/// A connection that was taken and has no token yet.
package protocol PendingConnection {
  var peer: Endpoint { get }
  func adopt(token: UInt64) throws(HostError) -> any HostConnection
}
