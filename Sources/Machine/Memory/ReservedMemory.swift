import Glibc

/// Address space of this process for a run of guest physical addresses. The host supplies pages when they are first
/// touched; they read as zero.
///
/// The host is asked for large pages: a guest's memory is touched all over, and each small page costs a walk of the
/// host's page tables, in a virtual machine of two. For that, large pages of the guest lie on large pages of the host.
final class ReservedMemory: Sendable {
  // Written once; freed at the end.
  nonisolated(unsafe) let base: UnsafeMutableRawPointer
  private let count: Int

  static let largePage: UInt64 = 2 << 20

  init(start: UInt64, count: UInt64) throws(HostMemoryError) {
    // What lies before the first large page is as long here as in the guest.
    let lead = start % Self.largePage
    let (all, overflow) = count.addingReportingOverflow(Self.largePage + lead)
    guard !overflow, let size = Int(exactly: all) else {
      throw HostMemoryError(bytes: count, code: ENOMEM)
    }
    let reserved = mmap(
      nil, size, PROT_READ | PROT_WRITE,
      MAP_PRIVATE | MAP_ANONYMOUS | Int32(MAP_NORESERVE), -1, 0)
    guard let reserved, reserved != MAP_FAILED else {
      throw HostMemoryError(bytes: count, code: errno)
    }
    let alignment = Int(Self.largePage)
    let aligned = (Int(bitPattern: reserved) + alignment - 1) & ~(alignment - 1)
    let before = aligned + Int(lead) - Int(bitPattern: reserved)
    self.count = Int(count)
    base = reserved + before
    if before > 0 { munmap(reserved, before) }
    let behind = size - before - self.count
    if behind > 0 { munmap(base + self.count, behind) }
    madvise(base, self.count, MADV_DONTDUMP)
    madvise(base, self.count, MADV_HUGEPAGE)
  }

  deinit { munmap(base, count) }
}
