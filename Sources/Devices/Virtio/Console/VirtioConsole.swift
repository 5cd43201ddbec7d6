package import Board
package import Inspection
import Memory
package import SavedState
package import Streams
import Synchronization
package import Work

/// The virtio console device: byte streams to and from the guest, one of them its console.
///
/// With one port and no name it is a plain console. Otherwise ports have names, are opened and closed by either side,
/// and a pair of queues carries messages about them. What the stream does not take stays in the guest's queue; what the
/// guest does not take stays in the stream.
///
/// - SeeAlso: VIRTIO 1.3 §5.3 "Console Device".
/// - Note: A console of several ports tells the driver its new size as the specification has it, columns first. Linux
///   has read them the other way round; a console with one plain port is not concerned.
package final class VirtioConsole {
  /// One end of a stream in the guest.
  package struct Port: Sendable {
    package let stream: any ByteStream
    /// What programs in the guest find it by; at most 255 bytes of UTF-8.
    package let name: String?
    /// Whether the guest makes it a console.
    package let isConsole: Bool

    package init(_ stream: any ByteStream, name: String? = nil, isConsole: Bool = false) {
      self.stream = stream
      self.name = name
      self.isConsole = isConsole
    }
  }

  // Wiring: fixed for the life of the device.
  package let profile: VirtioProfile
  package let loop: any Loop
  let ports: [Port]
  let hasControl: Bool
  let queues: LoopBound<[VirtQueue]>
  private let signals = Mutex<VirtioSignals?>(nil)
  // State: everything the guest can change.
  let state: Mutex<State>

  /// - Parameter ports: at least one; the first is there for drivers that know of one only.
  package init(ports: [Port], queueSize: UInt16 = 128, loop: any Loop) {
    precondition((1...128).contains(ports.count), "a console has 1 to 128 ports")
    self.ports = ports
    self.loop = loop
    hasControl = ports.count > 1 || ports[0].name != nil
    state = Mutex(State(ports: ports.count))
    queues = LoopBound([], on: loop)
    profile = VirtioProfile(
      deviceID: .console,
      features: hasControl ? [.size, .emergencyWrite, .multiPort] : [.size, .emergencyWrite],
      queueSizes: .init(repeating: queueSize, count: hasControl ? 2 * ports.count + 2 : 2),
      configurationSize: 12)
    for (index, port) in ports.enumerated() {
      port.stream.attach(Link(device: self, index: index))
    }
  }

  /// A stream's user: the device, and which port.
  private final class Link: ByteStreamUser {
    private weak let device: VirtioConsole?
    private let index: Int
    let loop: any Loop

    init(device: VirtioConsole, index: Int) {
      self.device = device
      self.index = index
      loop = device.loop
    }

    func streamReady(_ events: StreamEvents) {
      if events.contains(.mayReceive) { device?.serve(VirtioConsole.receiver(of: index)) }
      if events.contains(.maySend) { device?.serve(VirtioConsole.receiver(of: index) + 1) }
    }
  }

  /// Has a queue served, if there is a driver. On the loop.
  func serve(_ index: Int) {
    let queues = queues.with { $0 }
    if index < queues.count { queues[index].serve(by: self) }
  }
}

// MARK: - What the host says

extension VirtioConsole {
  /// The terminal has another size. From any thread.
  package func setSize(columns: UInt16, rows: UInt16) {
    state.withLock { state in
      state.columns = columns
      state.rows = rows
      if let console = ports.firstIndex(where: \.isConsole), state.ports[console].isReady {
        state.tell(.resize(columns: columns, rows: rows), of: console)
      }
    }
    signals.withLock { $0 }?.configurationChanged()
    loop.post { [weak self] in self?.serve(Self.controlReceiver) }
  }

  /// The far end of a port is there, or gone. From any thread.
  package func setOpen(_ isOpen: Bool, port: Int) {
    state.withLock { state in
      guard state.ports.indices.contains(port), state.ports[port].isOpenOutside != isOpen else {
        return
      }
      state.ports[port].isOpenOutside = isOpen
      if state.ports[port].isReady { state.tell(.open(isOpen), of: port) }
    }
    loop.post { [weak self] in
      self?.serve(Self.controlReceiver)
      self?.serve(Self.receiver(of: port) + 1)
    }
  }
}

// MARK: - What the driver sees

extension VirtioConsole: VirtioDevice {
  package static let schema = "virtio-console/1"

  private static let emergencyOffset = 8

  package func readConfiguration(_ offset: Int, _ width: AccessWidth) -> UInt64 {
    let state = state.withLock { $0 }
    var fields = ConfigurationFields()
    fields.append(state.columns)
    fields.append(state.rows)
    fields.append(UInt32(ports.count))
    return fields.read(offset, width)
  }

  /// §5.3.4: a character that goes out at once, before there is a driver.
  package func writeConfiguration(_ value: UInt64, _ offset: Int, _ width: AccessWidth) {
    guard offset == Self.emergencyOffset else { return }
    _ = ports[0].stream.send([UInt8(truncatingIfNeeded: value)])
  }

  package func attach(_ signals: VirtioSignals) { self.signals.withLock { $0 = signals } }

  package func start(_ queues: [VirtQueue], _ features: VirtioFeatures) {
    self.queues.with { $0 = queues }
    state.withLock { $0.begin(isMultiPort: features.contains(.multiPort)) }
  }

  package func service(_ queue: VirtQueue) {
    let isMultiPort = state.withLock { $0.isMultiPort }
    switch queue.index {
    case Self.controlReceiver where isMultiPort: tell(queue)
    case Self.controlReceiver + 1 where isMultiPort: obey(queue)
    default:
      guard let port = port(of: queue.index), port == 0 || isMultiPort else { return }
      queue.index.isMultiple(of: 2) ? receive(port, queue) : send(port, queue)
    }
  }

  package func queueReset(_ index: Int) {
    guard let port = port(of: index), !index.isMultiple(of: 2) else { return }
    state.withLock { $0.ports[port].sent = 0 }
  }

  package func reset() { state.withLock { $0.reset() } }

  package func save() -> State.Saved { state.withLock { $0.saved } }

  package func restore(_ saved: State.Saved) throws(RestoreError) {
    let restored = try State(saved, ports: ports.count, hasControl: hasControl)
    state.withLock { $0 = restored }
  }

  package func inspect(_ node: inout Node) {
    let state = state.withLock { $0 }
    node.field("columns", state.columns)
    node.field("rows", state.rows)
    node.field("messages", state.messages.count)
    for (index, port) in state.ports.enumerated() {
      node.child("port\(index)") { node in
        node.field("name", ports[index].name)
        node.reflect(port)
      }
    }
  }
}

extension VirtioFeatures {
  // VIRTIO 1.3 §5.3.3 "Feature bits".
  static let size = Self(bit: 0)
  static let multiPort = Self(bit: 1)
  static let emergencyWrite = Self(bit: 2)
}

// MARK: - Queues

extension VirtioConsole {
  // §5.3.2 "Virtqueues".
  static let controlReceiver = 2

  /// The queue that a port's bytes reach the guest by; the next one is the other way.
  static func receiver(of port: Int) -> Int { port == 0 ? 0 : 2 * port + 2 }

  private func port(of queue: Int) -> Int? {
    if queue < 2 { return 0 }
    return queue >= 4 && queue / 2 - 1 < ports.count ? queue / 2 - 1 : nil
  }

  private static let portion = 4096

  /// To the guest, as long as there are both bytes and buffers.
  private func receive(_ port: Int, _ queue: VirtQueue) {
    while state.withLock({ $0.ports[port].isOpenInside }), let chain = queue.pop() {
      guard chain.readable.isEmpty else {
        return queue.refuse(chain, "a buffer for input that is to be read")
      }
      let room = Int(min(chain.writable.byteCount, UInt64(Self.portion)))
      let bytes = ports[port].stream.receive(upTo: room)
      guard !bytes.isEmpty else { return queue.putBack(chain) }  // `.mayReceive` follows
      let written = try? queue.dma.write(bytes, to: chain.writable)
      queue.complete(chain, written: written ?? 0)
    }
  }

  /// From the guest. What the stream does not take stays in the queue, and how much of it is gone is kept.
  private func send(_ port: Int, _ queue: VirtQueue) {
    while let chain = queue.pop() {
      let (sent, isOpen) = state.withLock { ($0.ports[port].sent, $0.ports[port].isOpenOutside) }
      var done = sent
      let count = chain.readable.byteCount
      while isOpen, done < count {
        let bytes =
          (try? queue.dma.bytes(of: chain.readable, from: done, count: Self.portion)) ?? []
        if bytes.isEmpty { break }
        let taken = ports[port].stream.send(bytes)
        done += UInt64(taken)
        guard taken == bytes.count else {
          state.withLock { $0.ports[port].sent = done }
          return queue.putBack(chain)  // `.maySend` follows
        }
      }
      state.withLock { $0.ports[port].sent = 0 }
      queue.complete(chain, written: 0)
    }
  }
}
