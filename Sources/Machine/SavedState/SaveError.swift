/// Why a part of the machine could not be saved.
package enum SaveError: Error, Sendable, Equatable, CustomStringConvertible {
  /// The part still has work in flight; the text says which.
  case notAtRest(String)
  /// The state cannot be written down; the text says where and why.
  case failed(String)

  /// The error as a sentence, without a full stop.
  package var description: String {
    switch self {
    case .notAtRest(let work): "the machine is not at rest: \(work)"
    case .failed(let reason): "the state cannot be saved: \(reason)"
    }
  }
}
