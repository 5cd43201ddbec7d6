import CHostOS
import Glibc

extension DescriptorLimit {
  /// The limit that holds now.
  package static var current: Int { limits.soft }

  /// Raises the limit as far as the host allows, for the whole process; answers what holds then. Shares need it:
  /// what a guest knows of a share is held by descriptors.
  @discardableResult
  package static func raise() -> Int {
    let (soft, hard) = limits
    if soft < hard { _ = roost_descriptors_set_limit(UInt64(hard)) }
    return current
  }

  private static var limits: (soft: Int, hard: Int) {
    var soft: UInt64 = 0
    var hard: UInt64 = 0
    guard roost_descriptors_limit(&soft, &hard) == 0 else { return (1024, 1024) }
    return (Int(clamping: soft), Int(clamping: hard))
  }
}

/// Who runs this process.
package enum HostUser {
  /// Whether this process may give files to anybody.
  package static var isPrivileged: Bool { geteuid() == 0 }
}
