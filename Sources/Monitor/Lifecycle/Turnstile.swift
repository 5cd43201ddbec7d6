/// Lets one through at a time, in order: an actor's steps do not mix although it may await within them.
struct Turnstile {
  private var isBusy = false
  private var waiting: [CheckedContinuation<Void, Never>] = []

  /// Passes at once, or answers `false`: then the caller must `wait`.
  mutating func tryPass() -> Bool {
    defer { isBusy = true }
    return !isBusy
  }

  mutating func wait(_ continuation: CheckedContinuation<Void, Never>) {
    waiting.append(continuation)
  }

  /// Lets the next one through.
  mutating func leave() {
    if waiting.isEmpty { isBusy = false } else { waiting.removeFirst().resume() }
  }
}
