extension ImageFormat {
  /// The format that a file's name tells: the user's word, like the option that names a format.
  package init?(named path: String) {
    let name = path.lowercased()
    if name.hasSuffix(".qcow2") {
      self = .qcow2
    } else if [".raw", ".img", ".iso", ".seed"].contains(where: name.hasSuffix)
      || name.hasPrefix("/dev/")
    {
      self = .raw
    } else {
      return nil
    }
  }
}
