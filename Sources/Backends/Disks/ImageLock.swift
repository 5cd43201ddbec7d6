package import HostOS

/// What keeps a second writer off an image, and readers off one that is being written, for as long as its file is
/// open.
///
/// QEMU's programs keep the same order, so that neither they nor we open what the other has: each opening of an image
/// takes shared locks on one byte for everything it does and on another for everything it does not suffer from
/// others, and then looks whether others' locks contradict it.
///
/// - SeeAlso: QEMU 7.2 `block/file-posix.c`, `raw_apply_lock_bytes` and `raw_check_lock_bytes`.
package enum ImageLock {
  package enum Sharing: Sendable {
    /// Many readers, or one writer.
    case guarded
    /// Whoever likes, at their own risk; to look at an image in use.
    case unguarded
  }

  /// Locks `file` the way in which it was opened. Who is in the way is named, where the host lets us see it.
  package static func take(on file: StorageFile) throws(ImageError) {
    do throws(HostError) {
      for attempt in 0..<attempts {
        if attempt > 0 { Event().wait(until: HostClock.now.advanced(by: pause)) }
        if try isFree(file) { return }
      }
    } catch {
      throw ImageError(error)
    }
    throw refusal(file)
  }

  /// A program that its holder starts has the lock too, from `fork` to `exec`: what is gone by then is not refused.
  private static let attempts = 10
  private static let pause: UInt64 = 10_000_000  // nanoseconds

  private static func isFree(_ file: StorageFile) throws(HostError) -> Bool {
    let all = [Use.read, .write, .resize]
    // Whoever reads while we write reads half of what we write.
    let (uses, refuses) = file.isWritable ? (all, all) : ([.read], [.write, .resize])
    for byte in uses.map(\.doneByte) + refuses.map(\.refusedByte) {
      guard try file.setLock(.shared, onByte: byte) else { return false }
    }
    for byte in uses.map(\.refusedByte) + refuses.map(\.doneByte) {
      // Our own lock, which this opening holds, is not another's.
      if try file.wouldMeetLock(.exclusive, onByte: byte) { return false }
    }
    return true
  }

  /// What an opening of an image does with it.
  private enum Use: UInt64 {
    case read = 0
    case write = 1
    case resize = 3

    /// The byte locked by those who do it.
    var doneByte: UInt64 { 100 + rawValue }
    /// The byte locked by those who will not have others do it.
    var refusedByte: UInt64 { 200 + rawValue }
  }

  private static func refusal(_ file: StorageFile) -> ImageError {
    let holders = file.lockHolders()
    let who =
      holders.isEmpty
      ? "another process" : holders.map(\.description).joined(separator: " and ")
    let what = file.isWritable ? "cannot be written while" : "cannot be read while"
    let use = file.isWritable ? "has it open" : "writes it"
    return .refused("The disk image \"\(file.path)\" \(what) \(who) \(use).")
  }
}
