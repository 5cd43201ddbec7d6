import HostOS

/// The flags of Linux' `open`, as both protocols carry them.
///
/// - SeeAlso: Linux `include/uapi/asm-generic/fcntl.h`; for 9P `include/net/9p/9p.h`, `enum p9_open_mode_t` and
///   `P9_DOTL_…`, which have the same values.
struct LinuxOpenFlags: OptionSet {
  let rawValue: UInt32

  static let exclusive = LinuxOpenFlags(rawValue: 0o200)
  static let truncate = LinuxOpenFlags(rawValue: 0o1000)
  static let append = LinuxOpenFlags(rawValue: 0o2000)
  static let synchronousData = LinuxOpenFlags(rawValue: 0o10000)
  static let directory = LinuxOpenFlags(rawValue: 0o200000)
  static let synchronous = LinuxOpenFlags(rawValue: 0o4000000)

  /// What of it concerns the host. Direct I/O is the guest's affair: our buffers are not aligned for it.
  func options() throws(LinuxError) -> HostOpenOptions {
    var options: HostOpenOptions
    switch rawValue & 3 {
    case 0: options = .read
    case 1: options = .write
    case 2: options = [.read, .write]
    default: throw .invalid
    }
    if contains(.truncate) { options.insert(.truncate) }
    if contains(.append) { options.insert(.append) }
    if contains(.synchronousData) { options.insert(.synchronousData) }
    if contains(.synchronous) { options.insert(.synchronous) }
    return options
  }
}

/// The bits of Linux' `st_mode`.
///
/// - SeeAlso: Linux `include/uapi/linux/stat.h`.
enum LinuxMode {
  static let type: UInt32 = 0o170000
  static let permissions: UInt32 = 0o777
  static let setUser: UInt32 = 0o4000
  static let setGroup: UInt32 = 0o2000
  static let sticky: UInt32 = 0o1000

  /// The types that a guest may make with `mknod`: files, pipes and sockets, never devices.
  static func mayBeMade(_ mode: UInt32) -> Bool {
    [0, 0o100000, 0o010000, 0o140000].contains(mode & type)
  }
}

extension HostAttributes {
  /// A device's number in 32 bits, as both protocols and Linux' `new_encode_dev` have it.
  var specialNumber: UInt32 {
    specialMinor & 0xff | (specialMajor & 0xfff) << 8 | (specialMinor & 0xfff00) << 12
  }
}
