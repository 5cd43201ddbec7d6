package import Memory
import Synchronization

/// Writes a qcow2 image compressed: what is written piece by piece, from start to end, is gathered until a cluster is
/// whole, as only whole clusters can be compressed.
package final class CompressedWrites: DiskImage {
  private let image: QCOW2Image
  private let state: Mutex<State>

  private struct State {
    /// The cluster that is being gathered, and its bytes.
    var cluster: UInt64?
    let buffer: HostBuffer
  }

  package init(to image: QCOW2Image) {
    self.image = image
    state = Mutex(State(buffer: HostBuffer(count: image.clusterSize)))
  }

  package var size: UInt64 { image.size }
  package var isReadOnly: Bool { image.isReadOnly }
  package var alignment: Int { image.alignment }
  package var clusterSize: Int { image.clusterSize }

  package func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    let range = try range(at: offset, count: buffers.count)
    try state.withLock { (state) throws(DiskError) in
      var rest = range
      while !rest.isEmpty {
        let start = rest.lowerBound / UInt64(clusterSize) * UInt64(clusterSize)
        let part = rest.clamped(to: start..<start + UInt64(clusterSize))
        if state.cluster != start { try begin(start, &state) }
        let target = state.buffer.bytes[
          Int(part.lowerBound - start)..<Int(part.upperBound - start)]
        try buffers.copy(
          from: Int(part.lowerBound - offset), to: UnsafeMutableRawBufferPointer(rebasing: target))
        rest = part.upperBound..<rest.upperBound
      }
    }
  }

  private func begin(_ start: UInt64, _ state: inout State) throws(DiskError) {
    try finish(&state)
    try image.read(into: bytes(of: start, state), at: start)
    state.cluster = start
  }

  private func finish(_ state: inout State) throws(DiskError) {
    guard let start = state.cluster else { return }
    try image.writeCompressed(bytes(of: start, state), at: start)
    state.cluster = nil
  }

  private func bytes(of start: UInt64, _ state: State) -> GuestBuffers {
    state.buffer.buffers.slice(0..<Int(min(UInt64(clusterSize), size - start)))
  }

  private func finish() throws(DiskError) {
    try state.withLock { (state) throws(DiskError) in try finish(&state) }
  }

  package func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try finish()
    try image.read(into: buffers, at: offset)
  }

  package func flush() throws(DiskError) {
    try finish()
    try image.flush()
  }

  package func discard(_ range: Range<UInt64>) throws(DiskError) {
    try finish()
    try image.discard(range)
  }

  package func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    try finish()
    try image.writeZeroes(range, mayUnmap: mayUnmap)
  }

  package func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    try finish()
    return try image.extent(at: offset)
  }
}
