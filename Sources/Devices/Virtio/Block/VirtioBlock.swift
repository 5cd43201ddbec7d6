package import Board
package import Disks
package import Inspection
import Memory
package import SavedState
import Synchronization
package import Work

/// The virtio block device: a disk, in requests of sectors, through one queue or several.
///
/// Requests go to the disk as they are taken and come back as they are done, in any order. An error of the disk is one
/// of the guest's; a disk that is full may instead keep the request until somebody has made room.
///
/// - SeeAlso: VIRTIO 1.3 §5.2 "Block Device".
package final class VirtioBlock {
  /// What becomes of a write that finds the host's storage full.
  package enum WhenFull: Sendable {
    /// The guest hears of an I/O error.
    case report
    /// The request waits for `retry`, and the owner is told, on the loop. A stop of the device ends the wait with an
    /// I/O error.
    case wait(@Sendable () -> Void)
  }

  // Wiring: fixed for the life of the device.
  package let profile: VirtioProfile
  package let loop: any Loop
  let disk: any Disk
  let serial: [UInt8]
  let optimalSize: UInt32
  let whenFull: WhenFull
  private let ownsLoop: Bool
  let flight: LoopBound<Flight>
  private let signals = Mutex<VirtioSignals?>(nil)
  // State: everything the guest can change.
  private let state = Mutex(State())

  /// - Parameters:
  ///   - serial: at most 20 bytes of ASCII; what GET_ID answers.
  ///   - queues: at least one.
  ///   - optimalSize: bytes of an input or output that goes best; zero: none in particular.
  ///   - ownsLoop: whether nobody else works on the loop, so that the disk may have it wait for the host.
  package init(
    disk: any Disk, serial: String = "", queues: Int = 1, queueSize: UInt16 = 256,
    optimalSize: UInt32 = 0, whenFull: WhenFull = .report, loop: any Loop, ownsLoop: Bool = false
  ) {
    precondition(queues > 0 && queueSize >= 4, "a block device has a queue with room for a request")
    self.disk = disk
    self.loop = loop
    self.serial = Array(Array(serial.utf8).prefix(Self.serialLength))
    self.optimalSize = optimalSize
    self.whenFull = whenFull
    self.ownsLoop = ownsLoop
    flight = LoopBound(Flight(), on: loop)
    profile = VirtioProfile(
      deviceID: .block, features: Self.features(of: disk, queues: queues),
      queueSizes: .init(repeating: queueSize, count: queues), configurationSize: 60)
  }

  private static func features(of disk: any Disk, queues: Int) -> VirtioFeatures {
    var features: VirtioFeatures = [
      .segmentMaximum, .blockSize, .flush, .topology, .writebackToggle,
    ]
    if queues > 1 { features.insert(.multiQueue) }
    if disk.isReadOnly { features.insert(.readOnly) }
    if disk.discard != nil, !disk.isReadOnly { features.insert(.discard) }
    if disk.writeZeroes != nil, !disk.isReadOnly { features.insert(.writeZeroes) }
    return features
  }

  /// The disk has another size from now on. From any thread.
  package func diskResized() { signals.withLock { $0 }?.configurationChanged() }

  struct State {
    /// What the driver wrote to `writeback`; it counts only if the toggle was agreed on.
    var writeback = true
    var features = VirtioFeatures()

    /// Whether a write is answered before it is durable: VIRTIO 1.3 §5.2.5, step 6.
    var isCached: Bool {
      features.contains(.writebackToggle) ? writeback : features.contains(.flush)
    }
  }
}

// MARK: - What the driver sees

extension VirtioBlock: VirtioDevice {
  package static let schema = "virtio-block/1"

  package func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64 {
    configuration().read(offset, width)
  }

  package func writeConfiguration(_ value: UInt64, _ offset: Int, _ width: AccessWidth) {
    guard offset == Self.writebackOffset, width == .byte else { return }
    state.withLock { $0.writeback = value & 1 == 1 }
  }

  package func attach(_ signals: VirtioSignals) { self.signals.withLock { $0 = signals } }

  package func start(_ queues: [VirtQueue], _ features: VirtioFeatures) {
    state.withLock { $0.features = features }
    flight.with { $0.begin(queues) }
  }

  package func service(_ queue: VirtQueue) {
    let isCached = state.withLock { $0.isCached }
    // A request that comes alone may be waited for. Those that have come meanwhile may not: the driver has several under
    // way, and they are quicker side by side.
    var mayWait = ownsLoop
    while true {
      var count = 0
      while let chain = queue.pop() {
        take(chain, queue, isCached: isCached)
        count += 1
      }
      if count == 0 { return }
      disk.commit(mayWait: mayWait && count == 1)
      mayWait = false
    }
  }

  package func stop() { giveUpWaiting() }
  package func queueReset(_ index: Int) { giveUpWaiting(queue: index) }

  package func reset() { state.withLock { $0 = State() } }

  package struct Saved: Codable, Sendable {
    var writeback: Bool
  }

  package func save() -> Saved { Saved(writeback: state.withLock { $0.writeback }) }

  package func restore(_ saved: Saved) throws(RestoreError) {
    state.withLock { $0.writeback = saved.writeback }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.field("sectors", disk.sectorCount)
    node.field("sectorSize", disk.sectorSize)
    node.field("readOnly", disk.isReadOnly)
    node.field("cached", state.isCached)
  }
}

// MARK: - Configuration space

extension VirtioBlock {
  private static let writebackOffset = 32

  /// VIRTIO 1.3 §5.2.4 "Device configuration layout".
  private func configuration() -> ConfigurationFields {
    let perSector = UInt64(disk.sectorSize / Self.unit)
    let physical = max(1, disk.physicalBlockSize / disk.sectorSize)
    var fields = ConfigurationFields()
    fields.append(disk.sectorCount.multipliedOrMaximum(perSector))
    fields.append(0 as UInt32)  // size_max: not offered
    fields.append(UInt32(profile.queueSizes[0]) - 2)  // seg_max: header and status take one each
    fields.append(0 as UInt32)  // geometry: not offered
    fields.append(UInt32(clamping: disk.sectorSize))
    fields.append(UInt8(physical.bitWidth - 1 - physical.leadingZeroBitCount))
    fields.append(0 as UInt8)  // the first block is aligned
    fields.append(UInt16(clamping: physical))
    fields.append(optimalSize / UInt32(clamping: disk.sectorSize))
    fields.append(state.withLock { $0.writeback } ? 1 : 0 as UInt8)
    fields.append(0 as UInt8)
    fields.append(UInt16(profile.queueSizes.count))
    appendLimits(disk.discard, perSector, &fields)
    fields.append(sectors(disk.discard?.granularity ?? 0, perSector))
    appendLimits(disk.writeZeroes, perSector, &fields)
    fields.append(disk.discard == nil ? 0 : 1 as UInt8)  // write_zeroes_may_unmap
    fields.append(bytes: [0, 0, 0])
    return fields
  }

  /// The most sectors in a segment, and segments in a request.
  private func appendLimits(
    _ limits: RangeLimits?, _ perSector: UInt64, _ fields: inout ConfigurationFields
  ) {
    fields.append(sectors(limits?.maximum ?? 0, perSector))
    fields.append(limits == nil ? 0 : UInt32(Self.segmentLimit))
  }

  private func sectors(_ count: UInt64, _ perSector: UInt64) -> UInt32 {
    UInt32(clamping: count.multipliedOrMaximum(perSector))
  }
}

extension UInt64 {
  fileprivate func multipliedOrMaximum(_ factor: UInt64) -> UInt64 {
    let (product, overflow) = multipliedReportingOverflow(by: factor)
    return overflow ? .max : product
  }
}

extension VirtioFeatures {
  // VIRTIO 1.3 §5.2.3 "Feature bits".
  static let segmentMaximum = Self(bit: 2)
  static let readOnly = Self(bit: 5)
  static let blockSize = Self(bit: 6)
  static let flush = Self(bit: 9)
  static let topology = Self(bit: 10)
  /// VIRTIO_BLK_F_CONFIG_WCE.
  static let writebackToggle = Self(bit: 11)
  static let multiQueue = Self(bit: 12)
  static let discard = Self(bit: 13)
  static let writeZeroes = Self(bit: 14)
}
