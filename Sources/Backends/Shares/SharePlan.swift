import HostOS

/// A share as its owner wants it.
package struct SharePlan: Sendable, Hashable {
  /// The directory that is shared, with all below it.
  package var path: String
  /// Every change is refused with EROFS.
  package var isReadOnly = false
  package var ownership = Ownership.host
  /// Whether a guest may make files that run with their owner's rights. On a host that others use, such a file is a
  /// door to whoever runs this machine.
  package var allowsSetID = false
  /// How long a guest may trust what it was told of names and attributes, in milliseconds. FUSE alone has this.
  package var trustMilliseconds: UInt32 = 1000
  /// Whether locks taken in the guest hold on the host too. With FUSE they are the guest's own otherwise; 9P always
  /// shares them.
  package var sharesLocks = false
  /// The most files that the guest may know or hold open at once: each is a descriptor of this process.
  package var limit: Int

  /// - Parameter limit: by default half of what the process may have, when this is called.
  package init(path: String, isReadOnly: Bool = false, limit: Int? = nil) {
    self.path = path
    self.isReadOnly = isReadOnly
    self.limit = limit ?? max(64, DescriptorLimit.current / 2)
  }

  /// Whose the files are, as the guest sees it.
  package enum Ownership: Sendable, Hashable {
    /// Whose they are on the host. What a guest makes belongs to its user if this process may arrange that, which is
    /// root's privilege, and else to whoever runs this process.
    case host
    /// This user's and group's, all of them. Giving a file to anybody else is refused.
    case fixed(user: UInt32, group: UInt32)
  }
}
