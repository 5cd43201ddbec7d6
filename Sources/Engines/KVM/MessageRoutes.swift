import Board
import CKVM
import Execution
import Glibc
import HostOS
import Synchronization

/// KVM's table of interrupt inputs, each of which sends a message: the first few stand for the pins of I/O APICs,
/// the others belong to triggers.
///
/// With the I/O APIC in user space, KVM reports the end of a level-triggered interrupt only if one of the first
/// inputs sends its message. So each such message that is signalled takes one of them: the table needs
/// to know nothing of I/O APICs.
///
/// - SeeAlso: Linux, Documentation/virt/kvm/api.rst, §4.52 "KVM_SET_GSI_ROUTING".
final class MessageRoutes: MessageTriggers, Sendable {
  /// How many level-triggered messages are known at once: more than pins on the I/O APICs of any machine.
  static let levelInputs = 64
  /// How many triggers there may be.
  static let triggerInputs = 1024

  private struct State {
    var level: [MSI] = []
    /// Which of them is forgotten next.
    var oldest = 0
    var triggers: [Int: MSI] = [:]
    var freeInputs = Array((0..<MessageRoutes.triggerInputs).reversed())
  }

  private let machine: KVMHandle
  private let state = Mutex(State())

  init(_ machine: KVMHandle) { self.machine = machine }

  /// From now on the end of these interrupts is reported.
  func reportEnds(of messages: [MSI]) throws(EngineError) {
    try state.withLock { (state) throws(EngineError) in
      let new = messages.filter { !state.level.contains($0) }
      guard !new.isEmpty else { return }
      try change(&state) { state in
        for message in new {
          if state.level.count < Self.levelInputs {
            state.level.append(message)
          } else {
            state.level[state.oldest] = message
            state.oldest = (state.oldest + 1) % Self.levelInputs
          }
        }
      }
    }
  }

  func make() throws(EngineError) -> any MessageTrigger {
    let input = state.withLock { $0.freeInputs.popLast() }
    guard let input else {
      throw EngineError("KVM has no more than \(Self.triggerInputs) inputs for message triggers")
    }
    let handle = kvm_make_event()
    guard handle >= 0 else {
      state.withLock { $0.freeInputs.append(input) }
      throw EngineError("no event handle can be made: \(String(cString: strerror(-handle)))")
    }
    return Trigger(Descriptor(owning: handle), input: input, of: self)
  }

  // MARK: - A trigger's side of it

  private func set(_ message: MSI?, _ input: Int) throws(EngineError) {
    try state.withLock { (state) throws(EngineError) in
      try change(&state) { $0.triggers[input] = message }
    }
  }

  private func connect(_ handle: Int32, _ input: Int, _ connects: Bool) throws(EngineError) {
    var request = kvm_irqfd()
    request.fd = UInt32(bitPattern: handle)
    request.gsi = UInt32(Self.levelInputs + input)
    request.flags = connects ? 0 : UInt32(KVM_IRQFD_FLAG_DEASSIGN)
    try machine.request(KVM_REQUEST_IRQFD, &request, "connect a message trigger")
  }

  private func give(back input: Int) {
    state.withLock { state in
      state.triggers[input] = nil
      state.freeInputs.append(input)
      try? install(state)
    }
  }

  private final class Trigger: MessageTrigger, Sendable {
    private let descriptor: Descriptor
    private let input: Int
    private let routes: MessageRoutes
    private let isConnected = Mutex(false)

    init(_ descriptor: Descriptor, input: Int, of routes: MessageRoutes) {
      self.descriptor = descriptor
      self.input = input
      self.routes = routes
    }

    var hostHandle: Int32 { descriptor.handle }

    func set(_ message: MSI?) throws(EngineError) {
      try isConnected.withLock { (isConnected) throws(EngineError) in
        if message == nil, isConnected {
          try routes.connect(descriptor.handle, input, false)
          isConnected = false
        }
        try routes.set(message, input)
        if message != nil, !isConnected {
          try routes.connect(descriptor.handle, input, true)
          isConnected = true
        }
      }
    }

    deinit {
      try? isConnected.withLock { (isConnected) throws(EngineError) in
        if isConnected { try routes.connect(descriptor.handle, input, false) }
      }
      routes.give(back: input)
    }
  }

  // MARK: - The table

  /// Changes the table. What KVM refuses is not in it afterwards: it would be refused with all that follows.
  private func change(
    _ state: inout State, _ body: (inout State) -> Void
  ) throws(EngineError) {
    var next = state
    body(&next)
    try install(next)
    state = next
  }

  private func install(_ state: State) throws(EngineError) {
    let messages =
      state.level.enumerated().map { ($0.offset, $0.element) }
      + state.triggers.map { (Self.levelInputs + $0.key, $0.value) }
    let header = MemoryLayout<kvm_irq_routing>.size
    let stride = MemoryLayout<kvm_irq_routing_entry>.stride
    let table = UnsafeMutableRawPointer.allocate(
      byteCount: header + messages.count * stride, alignment: 8)
    defer { table.deallocate() }
    table.storeBytes(of: UInt32(messages.count), as: UInt32.self)
    table.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
    for (index, (input, message)) in messages.enumerated() {
      var entry = kvm_irq_routing_entry()
      entry.gsi = UInt32(input)
      entry.type = UInt32(KVM_IRQ_ROUTING_MSI)
      entry.u.msi.address_lo = UInt32(truncatingIfNeeded: message.address)
      entry.u.msi.address_hi = UInt32(truncatingIfNeeded: message.address >> 32)
      entry.u.msi.data = message.data
      table.storeBytes(
        of: entry, toByteOffset: header + index * stride, as: kvm_irq_routing_entry.self)
    }
    try machine.request(KVM_REQUEST_SET_GSI_ROUTING, at: table, "set interrupt routes")
  }
}
