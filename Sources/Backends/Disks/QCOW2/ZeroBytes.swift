/// Zeroes to write, without a buffer as large as what is written.
enum ZeroBytes {
  private static let unit = 64 << 10
  // Nobody writes to it.
  nonisolated(unsafe) private static let memory: UnsafeMutableRawBufferPointer = {
    let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: unit, alignment: 4096)
    memory.initializeMemory(as: UInt8.self, repeating: 0)
    return memory
  }()

  static func parts(count: Int) -> [UnsafeMutableRawBufferPointer] {
    stride(from: 0, to: count, by: unit).map {
      UnsafeMutableRawBufferPointer(rebasing: memory[0..<min(unit, count - $0)])
    }
  }
}
