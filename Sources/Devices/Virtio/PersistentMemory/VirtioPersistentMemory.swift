import Bits
package import Board
package import Disks
package import Inspection
package import Memory
package import SavedState
import Synchronization
package import Work

/// The virtio PMEM device: memory of the guest's whose content outlives it, and a queue by which the guest has it made
/// durable.
///
/// The guest reads and writes the memory itself, which the machine's map has above RAM; the device says where it is,
/// and hands flushes to the disk whose bytes it shows. Memory that is read-only answers them with a failure: who asks
/// for one believes to have written.
///
/// The range is told in the configuration space, not as a shared memory region, which not all drivers know.
///
/// - SeeAlso: VIRTIO 1.3 §5.19 "PMEM Device".
package final class VirtioPersistentMemory {
  // Wiring: fixed for the life of the device.
  package let profile = VirtioProfile(
    deviceID: .persistentMemory, queueSizes: [64], configurationSize: 16,
    maximumChainBytes: 1 << 16)
  package let range: GPARange
  package let loop: any Loop
  private let disk: any Disk
  private let queues: LoopBound<[VirtQueue]>
  // State: everything the guest can change.
  private let state = Mutex(State())

  private struct State {
    var flushes: UInt64 = 0
    var failures: UInt64 = 0
  }

  /// - Parameters:
  ///   - range: where the guest finds the memory.
  ///   - disk: is asked for flushes, and for nothing else.
  package init(_ range: GPARange, flushing disk: any Disk, loop: any Loop) {
    self.range = range
    self.disk = disk
    self.loop = loop
    queues = LoopBound([], on: loop)
  }
}

// MARK: - What the driver sees

extension VirtioPersistentMemory: VirtioDevice {
  package static let schema = "virtio-pmem/1"

  /// §5.19.4 "Device configuration layout".
  package func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64 {
    var fields = ConfigurationFields()
    fields.append(range.start.rawValue)
    fields.append(range.count)
    return fields.read(offset, width)
  }

  package func start(_ queues: [VirtQueue], _ features: VirtioFeatures) {
    self.queues.with { $0 = queues }
  }

  /// §5.19.6 "Driver Operations".
  package func service(_ queue: VirtQueue) {
    while let chain = queue.pop() {
      guard chain.readable.byteCount >= 4, chain.writable.byteCount >= 4 else {
        return queue.refuse(chain, "a PMEM request without type or room for the answer")
      }
      let type = try? queue.dma.bytes(of: chain.readable, count: 4)
        .integer(UInt32.self, littleEndianAt: 0)
      let writable = chain.writable
      let tag = queue.hold(chain)
      guard type == Self.flush, !disk.isReadOnly else {
        finish(tag, queue, writable, isDone: false)
        continue
      }
      let request = DiskRequest(.flush, sectors: 0..<0, tag: tag)
      if let answer = disk.submit(request, self) { completed(tag, answer) }
    }
    disk.commit()
  }

  private static let flush: UInt32 = 0

  package struct Saved: Codable, Sendable {
    var range: GPARange
  }

  package func save() -> Saved { Saved(range: range) }

  package func restore(_ saved: Saved) throws(RestoreError) {
    guard saved.range == range else {
      throw .refused(part: "persistent memory", reason: "it is elsewhere, or of another size")
    }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.hex("start", range.start.rawValue)
    node.hex("size", range.count)
    node.field("readOnly", disk.isReadOnly)
    node.field("flushes", state.flushes)
    node.field("failures", state.failures)
  }
}

// MARK: - Flushes

extension VirtioPersistentMemory: DiskCompletion {
  package func completed(_ tag: RequestTag, _ answer: DiskAnswer) {
    guard let queue = queues.with({ $0.first }) else { return }
    let isDone = if case .success = answer { true } else { false }
    finish(tag, queue, queue.buffers(of: tag)?.writable, isDone: isDone)
  }

  /// §5.19.7.3 "Device Requirements: Virtqueue return".
  ///
  /// - Parameter place: where the answer goes; `nil`: a reset came between.
  private func finish(
    _ tag: RequestTag, _ queue: VirtQueue, _ place: [GPARange]?, isDone: Bool
  ) {
    state.withLock { state in
      state.flushes &+= 1
      if !isDone { state.failures &+= 1 }
    }
    if let place {
      let answer: [UInt8] = isDone ? [0, 0, 0, 0] : [0xff, 0xff, 0xff, 0xff]
      _ = try? queue.dma.write(answer, to: place)
    }
    queue.complete(tag, written: 4)
  }
}
