/// Why an image could not be made, opened, or changed as a whole.
package enum ImageError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A sentence for the user: what is wrong with the image, or with what was asked of it.
  case refused(String)
  /// The storage beneath failed, or the image contradicts itself.
  case disk(DiskError)

  package var description: String {
    switch self {
    case .refused(let sentence), .disk(.damaged(let sentence)): sentence
    case .disk(let error): "The storage failed: \(error)."
    }
  }
}

/// Runs disk operations in a function that throws `ImageError`.
func passingOn<R>(_ body: () throws(DiskError) -> R) throws(ImageError) -> R {
  do throws(DiskError) { return try body() } catch { throw .disk(error) }
}
