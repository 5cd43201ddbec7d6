/// A function on a PCI bus, as the bus sees it.
///
/// Called on the threads of the guest's processors, several at once. A register is the offset of a
/// doubleword: a multiple of four below 4096.
package protocol PCIFunction: AnyObject, Sendable {
  func readConfiguration(_ register: UInt16) -> UInt32
  /// `mask` has ones in the bytes that the guest writes.
  func writeConfiguration(_ value: UInt32, mask: UInt32, _ register: UInt16)

  /// The pin that it drives; `nil`: none.
  var interruptPin: InterruptPin? { get }
  /// It has been plugged in there, its bus has, or it was pulled out (`nil`).
  func plugged(at place: PCIPlace?)
  /// Whether the bridges above let its requests pass. May send what waited for that.
  func setUpstream(isOpen: Bool)
  /// Where it would answer, were there no bridges above it.
  var decodes: [PCIDecode] { get }
  /// What is behind it; `nil`: it is not a bridge.
  var bridge: (any PCIBridge)? { get }
  /// The reset of the bus that it is on: to the state after power-on.
  func busReset()
}

extension PCIFunction {
  package var bridge: (any PCIBridge)? { nil }
}

/// A function with a bus behind it. It passes on to that what lies in its windows.
package protocol PCIBridge: AnyObject, Sendable {
  var secondary: PCIBus { get }
  /// The buses behind it, by their numbers; empty: the guest has given it none.
  var buses: Range<UInt16> { get }
  /// Whether requests of functions behind it pass: its own Bus Master Enable.
  var isMaster: Bool { get }
  /// Whether functions behind it may come and go.
  var isHotPlugSlot: Bool { get }
  /// Whether it passes accesses to that whole range on to its secondary bus.
  func forwards(_ range: Range<UInt64>, isMemory: Bool) -> Bool
}

/// What is behind a function, and is reset with it.
package protocol FunctionReset: AnyObject, Sendable {
  /// The guest has reset the function alone, or its bus. Its registers are reset already and its way to
  /// memory is shut; what it did for the guest ends. On a guest's processor, which does not wait.
  func functionReset()
}
