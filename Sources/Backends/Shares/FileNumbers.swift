import HostOS
import Synchronization

/// Numbers a share's files for its guest, which sees one file system where the host may have several.
///
/// A file of the file system that the shared directory is on keeps its inode number. On the next 126 file systems the
/// number of the file system stands in the topmost byte. Numbers that do not fit so are mixed from both, with the
/// topmost bit set: two files can then meet in one number, at odds of one in 2^63.
final class FileNumbers: Sendable {
  private static let mostDevices = 127
  private let home: UInt64
  private let devices = Mutex<[UInt64: UInt64]>([:])

  init(home: UInt64) { self.home = home }

  func number(of file: HostIdentity) -> UInt64 {
    let fits = file.inode >> 56 == 0
    if file.device == home, fits { return file.inode }
    if fits, let index = index(of: file.device) { return index << 56 | file.inode }
    var mixed = file.inode ^ (file.device &* 0x9e37_79b9_7f4a_7c15)
    mixed = (mixed ^ mixed >> 30) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ mixed >> 27) &* 0x94d0_49bb_1331_11eb
    return mixed | 1 << 63
  }

  private func index(of device: UInt64) -> UInt64? {
    devices.withLock { devices in
      if let index = devices[device] { return index }
      guard devices.count < FileNumbers.mostDevices - 1 else { return nil }
      let index = UInt64(devices.count + 1)
      devices[device] = index
      return index
    }
  }
}
