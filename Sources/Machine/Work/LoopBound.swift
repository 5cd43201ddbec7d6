/// A value that only its loop may touch. Any other caller is stopped by a precondition.
package struct LoopBound<Value>: @unchecked Sendable {
  // Sendable although `Value` need not be: the precondition in `with` keeps it on one thread.
  private final class Box {
    var value: Value
    init(_ value: Value) { self.value = value }
  }
  private let box: Box
  private let loop: any Loop

  package init(_ value: Value, on loop: any Loop) {
    box = Box(value)
    self.loop = loop
  }

  /// Gives `body` the value; only on the loop.
  package func with<R, E: Error>(_ body: (inout Value) throws(E) -> R) throws(E) -> R {
    precondition(loop.isCurrent, "a loop-bound value was touched off its loop")
    return try body(&box.value)
  }
}
