import CHostOS
import Glibc

extension HostDirectory {
  static func open(_ path: String) throws(HostError) -> (top: Descriptor, proc: Descriptor) {
    let top = try checked(roost_dir_open_root(path), "open the directory \"\(path)\"")
    let owned = Descriptor(owning: top)
    return (owned, Descriptor(owning: try checked(roost_dir_open_proc(), "use /proc/self/fd")))
  }

  /// The directory itself.
  package func root() throws(HostError) -> HostNode {
    let handle = try checked(
      roost_dir_reopen(proc.handle, top.handle, HostOpenOptions.pathOnly),
      "open the shared directory")
    return try HostNode.adopting(handle, in: self).node
  }
}

/// A result of ours that is 0 or more, or the error that it stands for.
@discardableResult
func checked<Result: FixedWidthInteger & SignedInteger>(
  _ result: Result, _ operation: @autoclosure () -> String
) throws(HostError) -> Result {
  if result < 0 { throw HostError(operation(), code: Int32(truncatingIfNeeded: 0 &- result)) }
  return result
}

extension HostError {
  static func readOnly(_ operation: String) -> HostError { HostError(operation, code: EROFS) }
  static func invalid(_ operation: String) -> HostError { HostError(operation, code: EINVAL) }
  static func badHandle(_ operation: String) -> HostError { HostError(operation, code: EBADF) }
  /// A special file was to be opened.
  static func special(_ operation: String) -> HostError { HostError(operation, code: ENXIO) }
}
