/// A message-signalled interrupt: the write a device makes instead of driving a wire.
package struct MSI: Sendable, Hashable, Codable {
  package var address: UInt64
  package var data: UInt32

  package init(address: UInt64, data: UInt32) {
    self.address = address
    self.data = data
  }
}

/// Where message-signalled interrupts go.
package protocol MSITarget: AnyObject, Sendable {
  /// Delivers a message. `requester` is the PCI requester ID, or that of an I/O APIC. From any thread.
  func signal(_ message: MSI, from requester: UInt16)
}

/// Hears that a processor ended a level-triggered interrupt: an I/O APIC, which then looks at its pin again.
package protocol EndOfInterruptListener: AnyObject, Sendable {
  func endOfInterrupt(vector: UInt8)
}

/// Names the vector of an external interrupt when a processor acknowledges it: the 8259 pair.
package protocol InterruptAcknowledger: AnyObject, Sendable {
  /// The INTA cycle. Without a pending request the answer is the spurious vector.
  func acknowledge() -> UInt8
}
