import Networks

extension FuzzTarget {
  /// Frames in a stream of bytes: however it is cut, the frames are the same.
  static let frameStream = FuzzTarget("frame-stream") { input in
    var script = Script(input)
    let cut = Int(script.byte()) + 1
    let bytes = script.rest()
    var whole = FrameStream()
    var parts = FrameStream()
    let all = try? whole.take(bytes)
    var pieces: [[UInt8]]? = []
    for start in stride(from: 0, to: bytes.count, by: cut) {
      guard let more = try? parts.take(Array(bytes[start..<min(start + cut, bytes.count)])) else {
        pieces = nil
        break
      }
      pieces?.append(contentsOf: more)
    }
    require(all == pieces, "a stream's frames do not depend on how it is cut")
  }
}
