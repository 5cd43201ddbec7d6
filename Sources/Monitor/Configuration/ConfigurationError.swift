/// The user asked for something that cannot be.
package struct ConfigurationError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What was asked for, as the user wrote it: `--memory 512`.
  package let subject: String
  /// What is wrong with it and what to do instead: a sentence.
  package let reason: String

  package init(_ subject: String, _ reason: String) {
    self.subject = subject
    self.reason = reason
  }

  package var description: String { "\(subject): \(reason)" }
}
