import SavedState

extension VirtioConsole {
  /// What driver and host have said.
  package struct State: Sendable {
    struct Port: Codable, Sendable, Equatable {
      var isReady = false
      /// A program in the guest has it open.
      var isOpenInside = false
      /// Somebody is at its far end.
      var isOpenOutside = true
      /// Bytes of the first chain in its queue that are gone already.
      var sent: UInt64 = 0
    }

    var isMultiPort = false
    var columns: UInt16 = 0
    var rows: UInt16 = 0
    var ports: [Port]
    /// What the driver is yet to be told.
    var messages: [[UInt8]] = []

    /// With so many messages waiting the driver's commands wait, too.
    static let fullOfMessages = 256
    /// More than what one command, and the host, may add to those.
    static let mostMessages = fullOfMessages + 1024

    init(ports: Int) { self.ports = .init(repeating: Port(), count: ports) }

    /// The driver is ready, or the machine goes on. Without messages the one port there is is open.
    mutating func begin(isMultiPort: Bool) {
      self.isMultiPort = isMultiPort
      if !isMultiPort { ports[0].isOpenInside = true }
    }

    /// What the driver said is forgotten; what the host said is not.
    mutating func reset() {
      isMultiPort = false
      messages = []
      for index in ports.indices {
        let isOpenOutside = ports[index].isOpenOutside
        ports[index] = Port()
        ports[index].isOpenOutside = isOpenOutside
      }
    }

    /// A driver that takes no messages misses some: how often a far end came and went.
    mutating func tell(_ message: Message, of port: Int) {
      if messages.count < Self.mostMessages { messages.append(message.bytes(of: port)) }
    }
  }
}

extension VirtioConsole.State {
  package struct Saved: Codable, Sendable {
    var isMultiPort: Bool
    var columns: UInt16
    var rows: UInt16
    var ports: [Port]
    var messages: [[UInt8]]
  }

  var saved: Saved {
    Saved(
      isMultiPort: isMultiPort, columns: columns, rows: rows, ports: ports, messages: messages)
  }

  init(_ saved: Saved, ports count: Int, hasControl: Bool) throws(RestoreError) {
    guard saved.ports.count == count, hasControl || !saved.isMultiPort,
      saved.messages.count <= Self.mostMessages, saved.messages.allSatisfy({ 8...300 ~= $0.count })
    else {
      throw .refused(part: "virtio console", reason: "it has other ports, or messages of no kind")
    }
    self.init(ports: count)
    isMultiPort = saved.isMultiPort
    columns = saved.columns
    rows = saved.rows
    ports = saved.ports
    messages = saved.messages
  }
}
