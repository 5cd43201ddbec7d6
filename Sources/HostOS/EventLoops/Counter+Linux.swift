import CHostOS
import Glibc

/// A count that a loop can watch: eventfd(2). Readable while it is not zero.
final class Counter: Sendable {
  private let descriptor: Descriptor
  var handle: Int32 { descriptor.handle }

  init() throws(HostError) {
    let handle = eventfd(0, Int32(EFD_CLOEXEC) | Int32(EFD_NONBLOCK))
    guard handle >= 0 else { throw .last("make an event handle") }
    descriptor = Descriptor(owning: handle)
  }

  func add() {
    var one: UInt64 = 1
    _ = write(handle, &one, 8)
  }
}
