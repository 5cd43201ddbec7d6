import Glibc

extension StorageFile {
  /// Gives a file another name, in one step.
  ///
  /// - Parameter replacing: whether a file of that name may be there; it goes then.
  package static func move(
    _ path: String, to place: String, replacing: Bool
  ) throws(HostError) {
    let operation = "make the file \"\(place)\""
    if replacing {
      guard rename(path, place) == 0 else { throw .last(operation) }
    } else {
      // Unlike `rename`, it fails if the name is taken.
      guard link(path, place) == 0 else { throw .last(operation) }
      unlink(path)
    }
  }

  /// Whether a name is taken, by whatever.
  package static func exists(_ path: String) -> Bool {
    var information = stat()
    return lstat(path, &information) == 0
  }
}
