import HostOS

/// Reads a handle on a thread of its own, which does the waiting, until its end or `close`.
///
/// Works for every kind of handle; an event loop cannot watch regular files.
final class InputPump: Sendable {
  private let input: Descriptor
  private let interruption: Interruption
  private let thread: Thread

  /// `take` runs on the pump's thread and may wait: nothing more is read until it returns.
  init(
    from input: Descriptor, _ take: @escaping @Sendable ([UInt8]) -> Void
  ) throws(HostError) {
    let interruption = try Interruption()
    self.input = input
    self.interruption = interruption
    thread = try Thread(name: "input") {
      while input.waitUntil(.readable, or: interruption) {
        guard let bytes = try? input.read(upTo: 4096), !bytes.isEmpty else { return }
        take(bytes)
      }
    }
  }

  /// Reads no more; a `take` that runs is let finish.
  func close() {
    interruption.raise()
    thread.join()
  }
}
