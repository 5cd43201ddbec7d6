import HostOS
import Memory

/// Which way a transfer goes.
package enum TransferDirection: Sendable { case read, write }

/// A place in a file where the bytes of a transfer lie as they are, so that the host can move them alone.
package struct HostPlace: Sendable {
  let file: StorageFile
  let offset: UInt64
  /// Who keeps the place until the transfer has ended, and by which number.
  private let keeper: (any HostPlaceKeeper)?
  private let ticket: Int

  init(
    _ file: StorageFile, _ offset: UInt64, keptBy keeper: (any HostPlaceKeeper)? = nil,
    _ ticket: Int = 0
  ) {
    self.file = file
    self.offset = offset
    self.keeper = keeper
    self.ticket = ticket
  }

  /// To be called once, when the transfer has ended or is not made.
  func leave() { keeper?.leave(ticket) }
}

/// Does not give a place to something else while a transfer is under way there.
protocol HostPlaceKeeper: AnyObject, Sendable {
  func leave(_ ticket: Int)
}

extension StorageFile {
  /// Whether the host takes these parts at this place as they are.
  func takesDirectly(_ parts: [UnsafeMutableRawBufferPointer], at offset: UInt64) -> Bool {
    guard isDirect else { return true }
    guard offset % UInt64(offsetAlignment) == 0 else { return false }
    return parts.allSatisfy {
      UInt(bitPattern: $0.baseAddress) % UInt(memoryAlignment) == 0
        && $0.count % offsetAlignment == 0
    }
  }
}
