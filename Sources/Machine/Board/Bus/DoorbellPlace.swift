package import Work

/// Where writes do nothing but ring a doorbell: an engine that is told of it can ring without leaving the guest.
package struct DoorbellPlace: Sendable {
  /// From the start of the region.
  package let offset: UInt64
  /// Only writes of this width; `nil`: of any.
  package let width: AccessWidth?
  /// Only writes of this value; `nil`: of any.
  package let value: UInt64?
  package let doorbell: any Doorbell

  package init(
    offset: UInt64, width: AccessWidth? = nil, value: UInt64? = nil, doorbell: any Doorbell
  ) {
    self.offset = offset
    self.width = width
    self.value = value
    self.doorbell = doorbell
  }
}

/// Who hears of what comes to a bus and goes. Called under the bus's lock, on the thread that maps: it asks the bus
/// nothing.
package protocol BusWatcher: AnyObject, Sendable {
  func mapped(_ mapping: IOBus.Mapping)
  func unmapped(_ mapping: IOBus.Mapping)
}
