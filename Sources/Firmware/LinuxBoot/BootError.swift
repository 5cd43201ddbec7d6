/// Why an image cannot be booted: one sentence, with the numbers, and what to do where that is known.
package struct BootError: Error, Equatable, CustomStringConvertible {
  /// What sort of fault it is.
  package let kind: Kind
  /// The sentence.
  package let description: String

  /// The sorts of fault.
  package enum Kind: Sendable {
    /// It is no kernel, or none for this machine.
    case notAKernel
    /// It is a kernel, but cut short or contradicting itself.
    case damaged
    /// It is a sound kernel that asks for something we do not offer.
    case unsupported
    /// It does not fit into the guest's memory.
    case doesNotFit
    /// What was asked for beside the image cannot be done.
    case badRequest
  }

  static func notAKernel(_ sentence: String) -> BootError { .init(.notAKernel, sentence) }
  static func damaged(_ sentence: String) -> BootError { .init(.damaged, sentence) }
  static func unsupported(_ sentence: String) -> BootError { .init(.unsupported, sentence) }
  static func doesNotFit(_ sentence: String) -> BootError { .init(.doesNotFit, sentence) }
  static func badRequest(_ sentence: String) -> BootError { .init(.badRequest, sentence) }

  private init(_ kind: Kind, _ sentence: String) {
    self.kind = kind
    self.description = sentence
  }
}

// MARK: - How numbers read in a sentence

/// An address or a field's value: `0x1000000`.
func hex<T: BinaryInteger>(_ value: T) -> String { "0x" + String(value, radix: 16) }

/// A range of addresses, ends included as people read them: `0x1000000–0x1ffffff`.
func hex(_ range: Range<UInt64>) -> String {
  range.isEmpty ? hex(range.lowerBound) : hex(range.lowerBound) + "–" + hex(range.upperBound - 1)
}

/// A size in the largest unit that keeps it whole or nearly so: `512 bytes`, `80 KiB`, `128 MiB`.
func size(_ count: UInt64) -> String {
  switch count {
  case ..<0x2800: "\(count) bytes"
  case ..<0xA0_0000: "\(count >> 10) KiB"
  default: "\(count >> 20) MiB"
  }
}
