package import Work

/// A share that answers later: what a file-sharing device, which may not wait for the host, hands its requests to.
package protocol ShareService: AnyObject, Sendable {
  /// Begins a request; its answer comes once, on the loop that the service was made for.
  func submit(_ request: ShareRequest, _ completion: any ShareCompletion)
  /// Forgets the client, as `Share.reset`. Requests in flight still get their answers, and leave nothing behind; those
  /// that had not begun are not carried out.
  func reset()
  /// As `Share.save` and `Share.restore`; with no request in flight.
  func save() throws(ShareError) -> [UInt8]
  func restore(_ saved: [UInt8]) throws(ShareError)
}

/// A message of the client's, and how long the answer may be.
package struct ShareRequest: Sendable {
  package let bytes: [UInt8]
  package let room: Int
  package let tag: RequestTag

  package init(_ bytes: [UInt8], room: Int, tag: RequestTag) {
    self.bytes = bytes
    self.room = room
    self.tag = tag
  }
}

/// Who hears of answers.
package protocol ShareCompletion: AnyObject, Sendable {
  /// The answer to a request, with at most as many bytes as there was room; none: the protocol has none. On the loop.
  func answered(_ tag: RequestTag, _ answer: [UInt8])
}
