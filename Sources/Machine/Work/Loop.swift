/// One host thread that runs device work. The host's event loop is one; the tests' `ManualLoop` another.
package protocol Loop: AnyObject, Sendable {
  /// Whether the caller runs on this loop's thread.
  var isCurrent: Bool { get }
  /// Runs `work` on the loop. Callable from any thread; work runs in the order it was posted.
  func post(_ work: @escaping @Sendable () -> Void)
  /// Makes a bell whose ringing runs `answer` on the loop.
  func makeDoorbell(_ answer: @escaping @Sendable () -> Void) -> any Doorbell
}

/// Rung from any thread, answered on one loop, once for rings that come together.
package protocol Doorbell: AnyObject, Sendable {
  func ring()
  /// The host's handle (an eventfd on Linux) by which an engine may ring it; `nil` if there is none.
  var hostHandle: Int32? { get }
}
