import Synchronization
import Work

/// Answers on their way to one loop: many that come together are one post, and a loop gets so many at a time that
/// its other work has its turn.
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
    if answers.append(PendingAnswer(completion: completion, tag: tag, answer: answer)) {
      loop.post(empty)
    }
  }
}

private struct PendingAnswer {
  let completion: any DiskCompletion
  let tag: RequestTag
  let answer: DiskAnswer
}

private final class PendingAnswers: Sendable {
  private struct State {
    var answers: [PendingAnswer] = []
    /// The loop was told and has not looked yet.
    var isAnnounced = false
  }
  private let state = Mutex(State())
  private let inFlight: Barrier
  /// What a loop delivers in one go.
  private static let share = 64

  init(_ inFlight: Barrier) { self.inFlight = inFlight }

  /// Answers whether the loop must be told.
  func append(_ answer: PendingAnswer) -> Bool {
    state.withLock { state in
      state.answers.append(answer)
      defer { state.isAnnounced = true }
      return !state.isAnnounced
    }
  }

  func deliver(on loop: any Loop) {
    let (answers, isMore) = state.withLock { state -> ([PendingAnswer], Bool) in
      if state.answers.count <= Self.share {
        state.isAnnounced = false
        let answers = state.answers
        state.answers = []
        return (answers, false)
      }
      let answers = Array(state.answers[..<Self.share])
      state.answers.removeFirst(Self.share)
      return (answers, true)
    }
    for answer in answers {
      answer.completion.completed(answer.tag, answer.answer)
      inFlight.leave()
    }
    if isMore { loop.post { self.deliver(on: loop) } }
  }
}
