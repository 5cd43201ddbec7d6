package import Board
package import Inspection
import Memory
package import SavedState
package import Streams
import Synchronization
import Work

/// The virtio socket device: connections between programs in the guest and programs on the host, without a network.
///
/// Streams only. Connections do not outlive the device's driver, nor the process: a guest that was restored is told so,
/// and its programs see their connections reset.
///
/// - SeeAlso: VIRTIO 1.3 §5.10 "Socket Device".
package final class VirtioSocket {
  // Wiring: fixed for the life of the device.
  package let profile: VirtioProfile
  private let guestCID: UInt64
  private let loop: any Loop
  private let table: LoopBound<SocketTable>
  private let queues: LoopBound<[VirtQueue]>
  // State: everything the guest can change.
  /// The guest does not know yet that all its connections are gone.
  private let owesReset = Atomic(false)

  private enum Queue {
    static let receive = 0
    static let transmit = 1
    static let event = 2
  }

  /// - Parameters:
  ///   - guestCID: the guest's address; 0 to 2 are taken, and so is the highest of 32 bits.
  ///   - host: on the device's loop.
  ///   - limit: connections at once.
  package init(
    guestCID: UInt32, host: any VsockHost, limit: Int = 1024, queueSize: UInt16 = 256
  ) {
    precondition(Self.isGuestCID(guestCID), "a context ID that is no guest's")
    self.guestCID = UInt64(guestCID)
    loop = host.loop
    table = LoopBound(
      SocketTable(guestCID: UInt64(guestCID), host: host, limit: limit), on: host.loop)
    queues = LoopBound([], on: host.loop)
    profile = VirtioProfile(
      deviceID: .socket, features: .streamSocket,
      queueSizes: .init(repeating: queueSize, count: 3), configurationSize: 8)
    host.attach(self)
  }

  /// §5.10.4: which context IDs a guest may have.
  package static func isGuestCID(_ cid: UInt32) -> Bool { (3..<UInt32.max).contains(cid) }
}

// MARK: - What the driver sees

extension VirtioSocket: VirtioDevice {
  package static let schema = "virtio-socket/1"

  package func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64 {
    var fields = ConfigurationFields()
    fields.append(guestCID)
    return fields.read(offset, width)
  }

  package func start(_ queues: [VirtQueue], _ features: VirtioFeatures) {
    self.queues.with { $0 = queues }
  }

  package func service(_ queue: VirtQueue) {
    let table = table.with { $0 }
    switch queue.index {
    case Queue.receive: fill(queue, table)
    case Queue.transmit: drain(queue, table)
    default: tell(queue)
    }
  }

  package func reset() {
    owesReset.store(false, ordering: .relaxed)
    // At rest this comes from another thread; whatever the loop does next for this device comes after it.
    if loop.isCurrent { hangUp() } else { loop.post { self.hangUp() } }
  }

  private func hangUp() { table.with { $0 }.removeAll() }

  package func save() -> Stateless { Stateless() }

  package func restore(_ saved: Stateless) throws(RestoreError) {
    owesReset.store(true, ordering: .relaxed)
  }

  package func inspect(_ node: inout Node) {
    node.field("guestCID", guestCID)
    node.field("owesReset", owesReset.load(ordering: .relaxed))
  }
}

// MARK: - Queues

extension VirtioSocket {
  /// Gives the guest what it is owed.
  private func fill(_ queue: VirtQueue, _ table: SocketTable) {
    while table.hasPackets, let chain = queue.pop() {
      let room = chain.writable.byteCount
      guard chain.readable.isEmpty, room > UInt64(SocketHeader.size) else {
        return queue.refuse(chain, "a buffer with no room for a packet of a socket")
      }
      guard let packet = table.nextPacket(room: Int(room) - SocketHeader.size) else {
        queue.putBack(chain)
        break
      }
      let written = try? queue.dma.write(packet, to: chain.writable)
      queue.complete(chain, written: written ?? 0)
    }
    serveQueue(Queue.transmit, if: table.holdsUpGuest && table.takesPackets)
  }

  /// Takes what the guest sends; not while it does not take its answers.
  private func drain(_ queue: VirtQueue, _ table: SocketTable) {
    while table.takesPackets, let chain = queue.pop() {
      let size = UInt64(SocketHeader.size)
      guard chain.readable.byteCount >= size else {
        return queue.refuse(chain, "a packet of a socket without a header")
      }
      let bytes = try? queue.dma.bytes(of: chain.readable, count: SocketHeader.size)
      if let bytes, let header = SocketHeader(bytes) {
        let follows = chain.readable.byteCount - size
        let isData = header.operation == .data && header.count <= SocketConnection.allocation
        let data =
          isData && header.count <= follows
          ? try? queue.dma.bytes(of: chain.readable, from: size, count: Int(header.count)) : nil
        // More than there is, or may be: as an operation that there is not.
        let isWhole = data != nil || header.operation != .data
        var taken = header
        if !isWhole { taken.operation = SocketOperation(rawValue: 0) }
        table.take(taken, data ?? [], self)
      }
      queue.complete(chain, written: 0)
    }
    table.holdsUpGuest = !table.takesPackets
    serveQueue(Queue.receive, if: table.hasPackets)
  }

  /// §5.10.6.7 "Device Events": all connections are gone, and the context ID may be another.
  private func tell(_ queue: VirtQueue) {
    guard owesReset.load(ordering: .relaxed), let chain = queue.pop() else { return }
    guard chain.writable.byteCount >= 4 else {
      return queue.refuse(chain, "a buffer with no room for an event of a socket device")
    }
    owesReset.store(false, ordering: .relaxed)
    let transportReset: [UInt8] = [0, 0, 0, 0]
    let written = try? queue.dma.write(transportReset, to: chain.writable)
    queue.complete(chain, written: written ?? 0)
  }

  private func serveQueue(_ index: Int, if isDue: Bool) {
    let queues = queues.with { $0 }
    if isDue, index < queues.count { queues[index].serve(by: self) }
  }
}

// MARK: - What the host does

extension VirtioSocket: VsockUser {
  package func called(_ stream: any VsockStream, port: UInt32) -> Bool {
    let queues = queues.with { $0 }
    guard !queues.isEmpty, queues[Queue.receive].isActive else { return false }
    guard table.with({ $0 }).call(stream, port: port, self) else { return false }
    queues[Queue.receive].serve(by: self)
    return true
  }

  package func streamReady(_ id: UInt64, _ events: VsockEvents) {
    let table = table.with { $0 }
    table.streamReady(id, events)
    serveQueue(Queue.receive, if: table.hasPackets)
  }
}

extension VirtioFeatures {
  /// VIRTIO_VSOCK_F_STREAM: VIRTIO 1.3 §5.10.3 "Feature bits".
  static let streamSocket = Self(bit: 0)
}
