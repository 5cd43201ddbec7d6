/// The host refused or failed something: what was attempted, and the host's reason.
package struct HostError: Error, Sendable, Hashable, CustomStringConvertible {
  /// What was attempted, so that "cannot " before it makes a sentence: `open the file "disk.img"`.
  package let operation: String
  /// The host's error number.
  package let code: Int32

  package init(_ operation: String, code: Int32) {
    self.operation = operation
    self.code = code
  }

  package var description: String { "cannot \(operation): \(reason)" }
}
