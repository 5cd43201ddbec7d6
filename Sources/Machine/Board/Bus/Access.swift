/// How many bytes an access moves.
package enum AccessWidth: UInt8, Sendable, CaseIterable {
  case byte = 1
  case word = 2
  case doubleword = 4
  case quadword = 8

  @inlinable package var bytes: UInt64 { UInt64(rawValue) }

  /// Ones in every bit that the access moves: what an empty bus reads as.
  @inlinable package var mask: UInt64 { ~0 &>> (64 &- UInt64(rawValue) &* 8) }
}

/// One access by a processor, as the addressed device sees it.
package struct Access: Sendable {
  /// Which of the device's register blocks; the number it was mapped with.
  package let region: UInt8
  package let width: AccessWidth
  /// From the start of that region. The whole access lies inside the region.
  package let offset: UInt64

  @inlinable
  package init(region: UInt8 = 0, width: AccessWidth, offset: UInt64) {
    self.region = region
    self.width = width
    self.offset = offset
  }
}

/// Why a device did not answer. The bus supplies all ones; the guest never sees it.
package enum IOError: Error, Sendable {
  case noSuchRegister, unsupportedWidth, misaligned, absent
}

/// A device that answers accesses to its registers, on whichever bus they were mapped.
///
/// Called on the threads of the guest's processors, several at once. A device may refuse a width: the
/// port bus then splits the access into bytes, as an ISA bus does; the memory bus does not.
package protocol IODevice: AnyObject, Sendable {
  func read(_ access: Access) throws(IOError) -> UInt64
  func write(_ value: UInt64, _ access: Access) throws(IOError)
  /// Where in a region writes only ring doorbells; the same whenever it is asked. Such a write has the same effect if
  /// the doorbell is rung and `write` not called.
  func doorbells(in region: UInt8) -> [DoorbellPlace]
}

extension IODevice {
  package func doorbells(in region: UInt8) -> [DoorbellPlace] { [] }
}
