import Disks
import Memory
import Testing

struct GuestBuffersTests {
  @Test func `a slice is the same bytes`() {
    let buffer = HostBuffer(count: 10)
    for index in 0..<10 { buffer.bytes[index] = UInt8(index) }
    let slice = buffer.buffers.slice(3..<7)
    #expect(slice.count == 4)
    #expect(slice.parts.flatMap { Array($0) } == [3, 4, 5, 6])
  }

  @Test func `a slice crosses the parts of guest memory`() throws {
    let memory = try GuestMemory([.init(start: GPA(0), count: 8192)])
    try memory.write([1, 2, 3, 4], at: GPA(100))
    try memory.write([5, 6, 7, 8], at: GPA(4096))
    let first = try #require(GPARange(start: GPA(100), count: 4))
    let second = try #require(GPARange(start: GPA(4096), count: 4))
    let slice = try memory.buffers([first, second], writable: false).slice(2..<6)
    #expect(slice.parts.flatMap { Array($0) } == [3, 4, 5, 6])
  }
}
