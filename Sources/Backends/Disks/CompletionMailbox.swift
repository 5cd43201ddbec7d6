import Synchronization
import Work

/// Answers on their way to one loop: many that come together are one post, and a loop gets so many at a time that
/// its other work has its turn.
///
/// A device's interrupt ends many requests at the same moment, on as many threads. So answers are put without a lock,
/// each on top of the one before, and the loop takes all at once.
final class CompletionMailbox: Sendable {
  let loop: any Loop
  private let answers: PendingAnswers
  private let empty: @Sendable () -> Void

  /// - Parameter inFlight: left once for each answer, when it has been delivered.
  init(_ loop: any Loop, inFlight: Barrier) {
    self.loop = loop
    let answers = PendingAnswers(inFlight)
    self.answers = answers
    empty = { answers.deliver(on: loop) }
  }

  /// Has the completion hear of the answer soon. From any thread.
  func put(_ completion: any DiskCompletion, _ tag: RequestTag, _ answer: DiskAnswer) {
    if answers.put(PendingAnswer(completion, tag, answer)) { loop.post(empty) }
  }
}

private final class PendingAnswer: Sendable {
  let completion: any DiskCompletion
  let tag: RequestTag
  let answer: DiskAnswer
  /// The one that was put before it; owned by it.
  let below = Atomic<Unmanaged<PendingAnswer>?>(nil)

  init(_ completion: any DiskCompletion, _ tag: RequestTag, _ answer: DiskAnswer) {
    self.completion = completion
    self.tag = tag
    self.answer = answer
  }
}

private final class PendingAnswers: Sendable {
  private let top = Atomic<Unmanaged<PendingAnswer>?>(nil)
  private let inFlight: Barrier
  /// What a loop delivers in one go.
  private static let share = 64

  init(_ inFlight: Barrier) { self.inFlight = inFlight }

  deinit { _ = takeAll() }

  /// Answers whether the loop must be told: it was when there was nothing before.
  func put(_ answer: PendingAnswer) -> Bool {
    let new = Unmanaged.passRetained(answer)
    var old = top.load(ordering: .relaxed)
    while true {
      answer.below.store(old, ordering: .relaxed)
      let (isDone, found) = top.weakCompareExchange(
        expected: old, desired: new, ordering: .releasing)
      if isDone { return old == nil }
      old = found
    }
  }

  /// All that were put, in that order.
  private func takeAll() -> [PendingAnswer] {
    var answers: [PendingAnswer] = []
    var next = top.exchange(nil, ordering: .acquiring)
    while let answer = next?.takeRetainedValue() {
      answers.append(answer)
      next = answer.below.load(ordering: .relaxed)
    }
    answers.reverse()
    return answers
  }

  func deliver(on loop: any Loop) { deliver(takeAll()[...], on: loop) }

  private func deliver(_ answers: ArraySlice<PendingAnswer>, on loop: any Loop) {
    for answer in answers.prefix(Self.share) {
      answer.completion.completed(answer.tag, answer.answer)
      inFlight.leave()
    }
    let rest = answers.dropFirst(Self.share)
    if !rest.isEmpty { loop.post { self.deliver(rest, on: loop) } }
  }
}
