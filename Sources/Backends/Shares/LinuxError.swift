import HostOS

/// An error as Linux guests number it. Both protocols carry it.
///
/// - SeeAlso: Linux `include/uapi/asm-generic/errno-base.h`, `errno.h`.
struct LinuxError: Error, RawRepresentable, Hashable, Sendable {
  let rawValue: UInt32
  init(rawValue: UInt32) { self.rawValue = rawValue }

  /// The host's error. Our one host so far numbers errors as the guest does. That *we* have no more descriptors is
  /// to the guest a full system, not a full process of its own.
  init(_ error: HostError) {
    let code = LinuxError(rawValue: UInt32(bitPattern: error.code))
    self = code == .tooManyOpenFiles ? .tableFull : code
  }

  static let notPermitted = LinuxError(rawValue: 1)
  static let noSuchFile = LinuxError(rawValue: 2)
  static let inputOutput = LinuxError(rawValue: 5)
  static let badHandle = LinuxError(rawValue: 9)
  static let wouldBlock = LinuxError(rawValue: 11)
  static let noMemory = LinuxError(rawValue: 12)
  static let exists = LinuxError(rawValue: 17)
  static let notDirectory = LinuxError(rawValue: 20)
  static let isDirectory = LinuxError(rawValue: 21)
  static let invalid = LinuxError(rawValue: 22)
  static let tableFull = LinuxError(rawValue: 23)
  static let tooManyOpenFiles = LinuxError(rawValue: 24)
  static let outOfRange = LinuxError(rawValue: 34)
  static let nameTooLong = LinuxError(rawValue: 36)
  static let noSuchCall = LinuxError(rawValue: 38)
  static let protocolError = LinuxError(rawValue: 71)
  static let notSupported = LinuxError(rawValue: 95)
  static let stale = LinuxError(rawValue: 116)
}

/// What the host does for us, with its errors as the guest knows them.
func onHost<Result>(_ body: @autoclosure () throws(HostError) -> Result) throws(LinuxError)
  -> Result
{
  do throws(HostError) {
    return try body()
  } catch {
    throw LinuxError(error)
  }
}
