import Disks
import Memory
import Synchronization

/// An image whose calls fail when a test says so.
final class FaultyImage: DiskImage {
  /// What can be made to fail.
  enum Call: Hashable { case read, write, flush, discard, writeZeroes }

  private struct Faults {
    var calls: [Call: Int] = [:]
    /// From which call of a kind on, counted from the next, and with what.
    var plans: [Call: (from: Int, count: Int, error: DiskError)] = [:]
  }

  let beneath: any DiskImage
  private let faults = Mutex(Faults())

  init(over beneath: any DiskImage) { self.beneath = beneath }

  /// Lets the call of a kind that comes `number` calls after the next fail, and as many after it as `count` says.
  func fail(_ call: Call, after number: Int = 0, count: Int = .max, with error: DiskError) {
    faults.withLock { $0.plans[call] = ($0.calls[call, default: 0] + number, count, error) }
  }

  func mend() { faults.withLock { $0.plans = [:] } }

  private func count(_ call: Call) throws(DiskError) {
    let error = faults.withLock { faults -> DiskError? in
      let number = faults.calls[call, default: 0]
      faults.calls[call] = number + 1
      guard let plan = faults.plans[call], number >= plan.from, number - plan.from < plan.count
      else { return nil }
      return plan.error
    }
    if let error { throw error }
  }

  var size: UInt64 { beneath.size }
  var isReadOnly: Bool { beneath.isReadOnly }
  var alignment: Int { beneath.alignment }
  var clusterSize: Int { beneath.clusterSize }

  func read(into buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try count(.read)
    try beneath.read(into: buffers, at: offset)
  }

  func write(_ buffers: GuestBuffers, at offset: UInt64) throws(DiskError) {
    try count(.write)
    try beneath.write(buffers, at: offset)
  }

  func flush() throws(DiskError) {
    try count(.flush)
    try beneath.flush()
  }

  func discard(_ range: Range<UInt64>) throws(DiskError) {
    try count(.discard)
    try beneath.discard(range)
  }

  func writeZeroes(_ range: Range<UInt64>, mayUnmap: Bool) throws(DiskError) {
    try count(.writeZeroes)
    try beneath.writeZeroes(range, mayUnmap: mayUnmap)
  }

  func extent(at offset: UInt64) throws(DiskError) -> DiskExtent {
    try beneath.extent(at: offset)
  }
}
