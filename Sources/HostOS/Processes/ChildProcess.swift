/// A program of the host's that was started to do part of the work: one of its streams is read, the others lead nowhere.
package final class ChildProcess: Sendable {
  package enum Stream: Sendable { case output, errors }

  /// Where what the program writes to the stream arrives.
  package let stream: Descriptor
  private let handle: Handle

  /// Starts a program.
  ///
  /// - Parameters:
  ///   - path: the program's file.
  ///   - arguments: what follows its name.
  ///   - environment: all its variables.
  ///   - input: what it reads, a few kilobytes at most.
  package init(
    _ path: String, _ arguments: [String], environment: [String: String], input: [UInt8] = [],
    reading stream: Stream
  ) throws(HostError) {
    (handle, self.stream) = try Handle.start(path, arguments, environment, input, stream)
  }

  /// Reads the stream to its end, line by line; the last one may lack its newline.
  package func lines(_ hear: (String) -> Void) throws(HostError) {
    var rest: [UInt8] = []
    while true {
      let part = try stream.read(upTo: 1 << 16)
      if part.isEmpty { break }
      rest += part
      while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
        hear(String(decoding: rest[..<end], as: UTF8.self))
        rest.removeFirst(end + 1)
      }
    }
    if !rest.isEmpty { hear(String(decoding: rest, as: UTF8.self)) }
  }

  /// Waits for the program's end, once.
  ///
  /// - Returns: its exit status, or 128 and the number of the signal that ended it, as shells say it.
  package func wait() -> Int32 { handle.wait() }
}
