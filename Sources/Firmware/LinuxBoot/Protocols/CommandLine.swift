/// Command lines as kernels take them: bytes that end with a zero.
enum CommandLine {
  /// The bytes of a line with at most `limit` of them before the zero.
  static func bytes(_ text: String, limit: UInt64 = 65_535) throws(BootError) -> [UInt8] {
    let bytes = Array(text.utf8)
    guard UInt64(bytes.count) <= limit else {
      throw .badRequest(
        "The command line has \(bytes.count) bytes; the kernel takes \(limit): shorten it.")
    }
    guard !bytes.contains(0) else {
      throw .badRequest("The command line contains a zero byte, which would end it early.")
    }
    return bytes + [0]
  }
}
