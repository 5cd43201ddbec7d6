import Bits
import Memory
import Synchronization

// VIRTIO 1.3 §5.3.6.2 "Multiport Device Operation": messages about ports, of eight bytes and sometimes more.

extension VirtioConsole {
  /// What the device tells of a port.
  enum Message {
    case add, isConsole
    case open(Bool)
    case name(String)
    case resize(columns: UInt16, rows: UInt16)

    func bytes(of port: Int) -> [UInt8] {
      var bytes: [UInt8] = []
      bytes.append(littleEndian: UInt32(port))
      bytes.append(littleEndian: event)
      bytes.append(littleEndian: value)
      switch self {
      case .name(let name): bytes += Array(name.utf8).prefix(255)
      case .resize(let columns, let rows):
        bytes.append(littleEndian: columns)
        bytes.append(littleEndian: rows)
      default: break
      }
      return bytes
    }

    private var event: UInt16 {
      switch self {
      case .add: 1
      case .isConsole: 4
      case .resize: 5
      case .open: 6
      case .name: 7
      }
    }

    private var value: UInt16 {
      switch self {
      case .isConsole, .name: 1
      case .open(let isOpen): isOpen ? 1 : 0
      default: 0
      }
    }
  }

  /// What the driver tells.
  private enum Command {
    static let deviceReady: UInt16 = 0
    static let portReady: UInt16 = 3
    static let open: UInt16 = 6
  }

  /// Gives the driver what there is to tell, as far as it has buffers; then there is room for more of its commands.
  func tell(_ queue: VirtQueue) {
    let wasFull = state.withLock { $0.messages.count >= State.fullOfMessages }
    defer { if wasFull { serve(Self.controlReceiver + 1) } }
    while let message = state.withLock({ $0.messages.first }), let chain = queue.pop() {
      guard chain.readable.isEmpty, chain.writable.byteCount >= UInt64(message.count) else {
        return queue.refuse(chain, "a buffer for messages that holds none")
      }
      state.withLock { _ = $0.messages.removeFirst() }
      let written = try? queue.dma.write(message, to: chain.writable)
      queue.complete(chain, written: written ?? 0)
    }
  }

  /// Obeys the driver, as long as what is to be told it does not pile up.
  func obey(_ queue: VirtQueue) {
    var hasObeyed = false
    while state.withLock({ $0.messages.count < State.fullOfMessages }), let chain = queue.pop() {
      let bytes = (try? queue.dma.bytes(of: chain.readable, count: 8)) ?? []
      if let port = bytes.integer(UInt32.self, littleEndianAt: 0),
        let event = bytes.integer(UInt16.self, littleEndianAt: 4),
        let value = bytes.integer(UInt16.self, littleEndianAt: 6)
      {
        obey(event, value, port)
      }
      queue.complete(chain, written: 0)
      hasObeyed = true
    }
    if hasObeyed { serve(Self.controlReceiver) }
  }

  private func obey(_ event: UInt16, _ value: UInt16, _ number: UInt32) {
    if event == Command.deviceReady {
      guard value == 1 else { return }
      return state.withLock { state in
        for port in ports.indices { state.tell(.add, of: port) }
      }
    }
    guard number < UInt32(ports.count), value <= 1 else { return }
    let port = Int(number)
    switch event {
    case Command.portReady:
      state.withLock { state in
        state.ports[port].isReady = value == 1
        if value == 1 { introduce(port, &state) }
      }
    case Command.open:
      state.withLock { $0.ports[port].isOpenInside = value == 1 }
      if value == 1 { serve(Self.receiver(of: port)) }
    default: break
    }
  }

  private func introduce(_ port: Int, _ state: inout State) {
    if ports[port].isConsole {
      state.tell(.isConsole, of: port)
      if state.columns > 0 {
        state.tell(.resize(columns: state.columns, rows: state.rows), of: port)
      }
    }
    if let name = ports[port].name { state.tell(.name(name), of: port) }
    if state.ports[port].isOpenOutside { state.tell(.open(true), of: port) }
  }
}
