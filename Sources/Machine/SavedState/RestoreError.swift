/// Why a saved state was refused. Parts are named by their path: `uart.fifo[3]`.
package enum RestoreError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The part was saved in another shape than the one this version reads.
  case schemaMismatch(part: String, found: String, expected: String)
  /// The machine has this part, the saved state does not.
  case missing(part: String)
  /// The bytes do not decode into the shape they claim to have.
  case malformed(part: String, reason: String)
  /// The values decode, but no machine of this make can be in that state.
  case refused(part: String, reason: String)

  /// The error as a sentence, without a full stop.
  package var description: String {
    switch self {
    case .schemaMismatch(let part, let found, let expected):
      "the saved state of \(part) has the schema \(found), this version reads \(expected)"
    case .missing(let part):
      "the saved state has no part \(part)"
    case .malformed(let part, let reason):
      part.isEmpty
        ? "the saved state is malformed: \(reason)"
        : "the saved state of \(part) is malformed: \(reason)"
    case .refused(let part, let reason):
      "the saved state of \(part) is refused: \(reason)"
    }
  }
}
