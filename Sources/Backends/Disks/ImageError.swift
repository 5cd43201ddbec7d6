package import HostOS

/// Why an image could not be opened, made or changed: a sentence for whoever named it.
package struct ImageError: Error, Sendable, Hashable, CustomStringConvertible {
  package let description: String

  package init(_ description: String) { self.description = description }

  package init(_ error: HostError) { description = error.description }
}
