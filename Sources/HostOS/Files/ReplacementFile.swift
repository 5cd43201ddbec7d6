/// A file that is written beside its place and put there when it is whole: either the new file is found
/// under its path, or what was there before.
package struct ReplacementFile: ~Copyable {
  package let path: String
  package let descriptor: Descriptor
  private let temporaryPath: String

  package init(path: String) throws(HostError) {
    self.path = path
    (temporaryPath, descriptor) = try Self.createBeside(path)
  }

  /// Makes what was written durable and puts it into place.
  package consuming func commit() throws(HostError) {
    try Self.synchronize(descriptor, temporaryPath)
    try Self.move(temporaryPath, to: path)
  }

  // After `commit` there is nothing left under the temporary name.
  deinit { Self.remove(temporaryPath) }
}
