package import Board
package import Work

// What an engine may be able to do besides running guests. A machine works without any of it, slower.

/// Which pages the guest or a device wrote.
package protocol DirtyPageTracker: AnyObject, Sendable {
  func start()
  func stop()
  /// Indices (`GuestMemory.address(ofPage:)`) of the pages written since the last collection. From any thread.
  func collect() -> [Int]
}

/// Rings doorbells for a guest's writes without the processor leaving the guest.
///
/// It only shortens the way: a write that it does not catch reaches the bus, where the device rings the
/// doorbell itself.
package protocol DoorbellRegistrar: AnyObject, Sendable {
  /// From now on the writes of `trigger` ring `doorbell`, and no device hears of them. `doorbell` must have a
  /// host handle. From any thread.
  func add(_ doorbell: any Doorbell, for trigger: DoorbellTrigger) throws(EngineError)
  func remove(_ doorbell: any Doorbell, for trigger: DoorbellTrigger) throws(EngineError)
}

/// Which bus an address is on.
package enum AddressSpace: Sendable, Hashable { case ports, registers }

/// The writes that ring a doorbell.
package struct DoorbellTrigger: Sendable, Hashable {
  package let space: AddressSpace
  package let address: UInt64
  /// Only writes of this width; `nil`: of any. An engine may be quickest with these, since it need not look at the
  /// instruction.
  package let width: AccessWidth?
  /// Only writes of this value; `nil`: of any.
  package let value: UInt64?

  /// - Precondition: who asks for a value says of which width.
  package init(
    _ space: AddressSpace, _ address: UInt64, _ width: AccessWidth?, value: UInt64? = nil
  ) {
    precondition(width != nil || value == nil, "a value without a width")
    self.space = space
    self.address = address
    self.width = width
    self.value = value
  }
}

/// Makes handles by which the host itself, or another process, sends a guest's processors messages.
package protocol MessageTriggers: AnyObject, Sendable {
  /// A trigger that signals nothing until its message is set. From any thread.
  func make() throws(EngineError) -> any MessageTrigger
}

/// Sends a message-signalled interrupt whenever its handle is written to. Ends with its last reference.
package protocol MessageTrigger: AnyObject, Sendable {
  /// The host's handle: an eventfd on Linux.
  var hostHandle: Int32 { get }
  /// Sets what is sent; `nil`: nothing, until there is a message again.
  func set(_ message: MSI?) throws(EngineError)
}

/// Gathers a guest's writes to registers whose device may hear of them a little later.
package protocol WriteCoalescer: AnyObject, Sendable {
  /// Writes in `range` may wait until the processor leaves the guest for another reason; their order is kept.
  func add(_ range: Range<UInt64>, in space: AddressSpace) throws(EngineError)
  func remove(_ range: Range<UInt64>, in space: AddressSpace) throws(EngineError)
}

/// The A20 gate of a PC, as the processors see it: the A20M# pin. An engine that has none leaves it open for good.
///
/// - SeeAlso: SDM Vol. 3B "8086/8088-compatible address wrap-around": A20M# masks bit 20 of physical addresses.
package protocol AddressLine20: AnyObject, Sendable {
  /// Opens the gate, as it is at first, or closes it: bit 20 of every physical address reads as zero. From any thread,
  /// while processors run: done at once for the processor whose thread calls, and soon for the others.
  func set(open: Bool)
}
