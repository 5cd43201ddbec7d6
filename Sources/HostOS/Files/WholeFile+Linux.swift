import Glibc

extension WholeFile {
  /// An open file that has an end.
  struct OpenedFile: Sendable {
    private let descriptor: Descriptor
    let isPipe: Bool

    init(_ descriptor: Descriptor, limit: Int) throws(HostError) {
      self.descriptor = descriptor
      let information = try Self.information(descriptor, limit: limit)
      switch information.st_mode & S_IFMT {
      case S_IFREG: isPipe = false
      case S_IFIFO: isPipe = true
      case S_IFDIR: throw HostError("read", code: EISDIR)
      default: throw HostError("read", code: ENOTSUP)
      }
    }

    /// The file from its beginning, which may be longer or shorter than when it was opened; or what comes through the
    /// pipe until its other end is closed.
    func contents(limit: Int) throws(HostError) -> [UInt8] {
      var bytes: [UInt8] = []
      bytes.reserveCapacity(Int(try Self.information(descriptor, limit: limit).st_size))
      while true {
        let part = try descriptor.read(upTo: 1 << 20, at: isPipe ? nil : bytes.count)
        if part.isEmpty { return bytes }
        guard bytes.count + part.count <= limit else { throw HostError("read", code: EFBIG) }
        bytes += part
      }
    }

    private static func information(
      _ descriptor: Descriptor, limit: Int
    ) throws(HostError) -> stat {
      var information = stat()
      guard fstat(descriptor.handle, &information) == 0 else { throw .last("read") }
      guard information.st_size <= limit else { throw HostError("read", code: EFBIG) }
      return information
    }
  }
}
