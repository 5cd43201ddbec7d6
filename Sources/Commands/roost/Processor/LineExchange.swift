import HostOS

/// Answers lines of standard input on standard output, one for one.
///
/// What is answered has left the process before more is waited for, so that whoever asks may wait for each answer.
struct LineExchange {
  /// A line longer than this is refused.
  static let longestLine = 64 << 20

  /// - Returns: how many lines `answer` said were no good.
  static func run(_ answer: ([UInt8]) -> (text: String, isGood: Bool)) throws(HostError) -> Int {
    var waiting: [UInt8] = []
    var bad = 0
    func reply(_ line: ArraySlice<UInt8>, _ output: inout [UInt8]) {
      guard line.contains(where: { $0 > 0x20 }) else { return }
      let (text, isGood) = answer(Array(line))
      if !isGood { bad += 1 }
      output += text.utf8
      output.append(0x0a)
    }
    while true {
      let read = try Descriptor.standardInput.read(upTo: 1 << 16)
      var output: [UInt8] = []
      waiting += read
      var start = 0
      // What was waiting had no line feed in it.
      var position = waiting.count - read.count
      while let end = waiting[position...].firstIndex(of: 0x0a) {
        reply(waiting[start..<end], &output)
        start = end + 1
        position = start
      }
      waiting.removeFirst(start)
      if read.isEmpty || waiting.count > longestLine { reply(waiting[...], &output) }
      try Descriptor.standardOutput.writeAll(output)
      guard !read.isEmpty, waiting.count <= longestLine else { return bad }
    }
  }
}
