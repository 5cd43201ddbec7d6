/// A file server of a host directory: what a file-sharing device hands its requests to.
///
/// It is one client's: it keeps the names and open files that this client has. `answer` may be called from any
/// thread, several at once; it may wait for the host, so a device calls it on a worker.
package protocol Share: AnyObject, Sendable {
  /// Answers one request. The answer has at most `room` bytes; none: the protocol has no answer to this request.
  ///
  /// - Parameters:
  ///   - request: the whole message, header included, as the guest laid it.
  ///   - room: bytes that the guest left for the answer.
  func answer(_ request: [UInt8], room: Int) -> [UInt8]
  /// Forgets the client: closes all that it has open, at a device's reset.
  func reset()
  /// What to keep so that the client finds its names and open files again, in another process.
  func save() throws(ShareError) -> [UInt8]
  /// Takes over what `save` gave. A name that is gone answers as stale from then on; never another file.
  func restore(_ saved: [UInt8]) throws(ShareError)
}

package enum ShareError: Error, Sendable, Equatable {
  /// Not what `save` gave.
  case damaged(String)
  case host(operation: String, code: Int32)
}
